"""Errors that reach people: one line that says what was expected, what came, where, and what to do."""

import re

_MOST = 1500
"""Characters that are shown of a line."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")
"""What no line holds: ends of lines, a terminal's commands, turns of the direction, halves of characters."""


class FgsError(Exception):
    """Base of every error this package raises for its users: one line, whatever the file that it cites holds."""

    def __str__(self) -> str:
        line = _CONTROL.sub(" ", super().__str__())
        return line if len(line) <= _MOST else f"{line[: _MOST - 400]} [...] {line[-400:]}"


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
