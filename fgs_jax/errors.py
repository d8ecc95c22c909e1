"""Errors that reach people: one line that says what was expected, what came, where, and what to do."""


class FgsError(Exception):
    """Base of every error this package raises for its users."""


class ArgumentError(FgsError, ValueError):
    """An argument whose type, shape or value is not what the function takes."""


class HandFileError(FgsError):
    """A hand model file is missing, damaged, unsafe or not of MANO's structure."""


class HandInputError(FgsError, ValueError):
    """Arrays of a shape or a type that the hand layer does not take."""


class HandFitError(FgsError):
    """Keypoints, a mesh or a camera that a hand cannot be fitted to."""


class MeshError(FgsError):
    """A mesh that is missing, damaged, empty or of an absurd size."""


class HandFileWarning(UserWarning):
    """A hand model file has a known defect, which was repaired while reading."""


class HandednessWarning(UserWarning):
    """Little, or nothing, speaks for the side that a hand was said to have."""


class HandShapeWarning(UserWarning):
    """Shape coefficients that were made for another hand model were refitted or dropped."""


class HandPoseWarning(UserWarning):
    """Nothing says what the numbers of a pose are, and it was assumed."""


class SceneError(FgsError):
    """A picture, its masks, its camera or its hand that an object's pose cannot be found from."""


class ConfigError(FgsError):
    """A configuration with a name or a value that means nothing."""


class ResultError(FgsError):
    """A folder that a result cannot be written to."""


class BridgeError(FgsError):
    """An outside tool that failed, or whose result means nothing."""


class BridgeUnavailable(BridgeError):  # noqa: N818
    """A back end that is not installed here; the line says what installs it."""
