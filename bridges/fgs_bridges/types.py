"""What the generators give each other, in numpy alone, and one protocol for each kind of generator.

| what     | convention                                                                                       |
|----------|--------------------------------------------------------------------------------------------------|
| pictures | uint8 RGB (h, w, 3)                                                                              |
| masks    | booleans (h, w), visible parts                                                                   |
| boxes    | (left, top, right, bottom), pixels, from the picture's top-left CORNER                           |
| points   | pixels, from the top-left corner                                                                 |
| hands    | as the scene has them (`fgs_jax.types`): OpenCV camera, metres, pose zero is the flat hand,      |
|          | turned about joint 0, and of the side they are said to have: never a mirrored right hand         |
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

Image = UInt8[ndarray, "h w 3"]
Mask = Bool[ndarray, "h w"]
Box = Float[ndarray, "4"]


@dataclass(frozen=True)
class Provenance:
    """What made a result: enough to make it again."""

    backend: str
    """Name in the registry."""
    model: str = ""
    """Model id, program or file."""
    revision: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    """Of the packages that ran."""
    weights: dict[str, str] = field(default_factory=dict)
    """sha256 of each weight file, by file name."""
    options: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    licence: str = ""
    """Of the model; of the code where it differs."""
    notes: tuple[str, ...] = ()
    """Choices made on the way, such as what `auto` chose."""

    def as_dict(self) -> dict[str, Any]:
        """In values that JSON knows; what is empty is left out."""
        values = asdict(self) | {"notes": list(self.notes)}
        return {key: value for key, value in values.items() if value not in ("", None, {}, [])}


@dataclass(frozen=True, eq=False)
class Detection:
    """A box that a detector gave."""

    box: Box
    score: float = 1.0
    label: str = ""
    side: str | None = None
    """"right" or "left" of a hand; None where the detector does not tell."""
    contact: int | None = None
    """100DOH's state of a hand: 0 none, 1 self, 2 other person, 3 portable object, 4 stationary object."""
    offset: Float[ndarray, "2"] | None = None
    """100DOH: from the hand's centre to that of the object it touches, pixels."""


@dataclass(frozen=True, eq=False)
class Detected:
    """All hands and objects of a picture, best first."""

    hands: tuple[Detection, ...]
    objects: tuple[Detection, ...]


@dataclass(frozen=True, eq=False)
class HandEstimate:
    """One hand. What its tool does not give is None; parameters come together or not at all."""

    side: str
    """"right" or "left"."""
    K: Float[ndarray, "3 3"] | None = None
    """The camera that `translation` and `vertices` are for: pixels, corner convention."""
    keypoints_2d: Float[ndarray, "21 2"] | None = None
    """Pixels, OpenPose's order."""
    keypoint_confidence: Float[ndarray, "21"] | None = None
    world_landmarks: Float[ndarray, "21 3"] | None = None
    """Metres, about the hand's middle, along the camera's axes."""
    pose: Float[ndarray, "15 3 3"] | None = None
    rotation: Float[ndarray, "3 3"] | None = None
    translation: Float[ndarray, "3"] | None = None
    """v = R (v_c - J0) + J0 + translation."""
    betas: Float[ndarray, "n"] | None = None
    vertices: Float[ndarray, "v 3"] | None = None
    """The tool's own, camera frame; `check_hand` compares them with our layer's."""
    faces: Int[ndarray, "f 3"] | None = None
    hand_model: str = "mano"
    """Whose parameters they are, as `load_hand_model` takes it."""
    score: float = 1.0


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh, in its tool's own units."""

    vertices: Float[ndarray, "v 3"]
    faces: Int[ndarray, "f 3"]


class Backend(Protocol):
    """What all back ends have. They are dataclasses: their fields are their options."""

    def provenance(self) -> Provenance:
        """Of the last call; of the back end as it stands where there was none."""
        ...


class TextToImage(Backend, Protocol):
    def __call__(self, prompt: str, *, seed: int, n: int = 1) -> list[Image]:
        """n pictures of a text; the same seed gives the same pictures."""
        ...


class Detector(Backend, Protocol):
    def __call__(self, image: Image, object_name: str) -> Detected:
        """Hands, and objects of a name. BridgeError where it finds no hand or no object."""
        ...


class Segmenter(Backend, Protocol):
    def __call__(
        self,
        image: Image,
        *,
        box: Box,
        points: Float[ndarray, "n 2"] | None = None,
        point_labels: Int[ndarray, "n"] | None = None,
    ) -> Mask:
        """Mask of what is in a box. `point_labels`: 1 inside, 0 outside. BridgeError for an empty mask."""
        ...


class HandReconstructor(Backend, Protocol):
    def __call__(self, image: Image, hands: tuple[Detection, ...]) -> list[HandEstimate]:
        """One estimate for each box, in its order; a tool with a detector of its own takes none.

        BridgeError where there is no hand, and where the tool needs a side that a box does not have.
        """
        ...


class ObjectReconstructor(Backend, Protocol):
    def __call__(self, image: Image, mask: Mask | None = None, *, seed: int) -> Mesh:
        """Mesh of the object in a picture, masked where a mask is given. BridgeError where it has no surface."""
        ...
