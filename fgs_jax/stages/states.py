"""What flows through `refine`: a scene as it was given, then the states below, each with all that came before, then a
`Result`.

Everything is a right hand's: a scene with a left hand goes through the stages as its mirror image. Arrays are on the
host. A stage of one's own takes the state of its place and returns one of the same type, by `dataclasses.replace`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float, Key
from numpy import ndarray

from fgs_jax.config import RefineConfig
from fgs_jax.errors import SceneError
from fgs_jax.picture.scene import Scene
from fgs_jax.results.result import Candidate, ObjectPoses
from fgs_jax.types import HandModel, HandParams

Stage = Callable[[Any, RefineConfig, Key[Array, ""]], Any]
"""A function of a scene or a state, the configuration and the run's key, to the next state; the last one's is a
`Result`. The key is the same for all: the stages draw from its `stage_keys`, others from a `fold_in` of their own."""


class StageKeys(NamedTuple):
    """Where the random numbers of a run come from."""

    object_pose: Key[Array, ""]
    """Rotations that OPA starts from, and its samples."""
    object_points: Key[Array, ""]
    """Samples of the object's surface for the contact stage."""
    contact: Key[Array, ""]
    """Noise of depth and contact points, where they are drawn at random."""


def stage_keys(key: Key[Array, ""]) -> StageKeys:
    """The keys of the stages, of the run's."""
    return StageKeys(*jax.random.split(key, 3))


@dataclass(frozen=True, eq=False)
class HandSeen:
    """After `see_hand`: the hand stands in the picture, and the camera is one that can see depth."""

    given: Scene
    """As the user has it: its own side, camera and keypoints."""
    scene: Scene
    """With `hand_params` of `model`, and `hand_vertices` and `hand_faces` posed by them, closed at the wrist. Where the
    hand has grown to fill its mask, so have its keypoints. Another hand comes in by `with_hand`."""
    model: HandModel
    notes: tuple[str, ...]
    """What a user should know so far."""
    growth: float
    """By which factor the hand has grown to fill its mask; 1 for a hand of another making. That is how large it is in
    the picture: how large it is, contact finds, from the size that it had before."""

    @property
    def params(self) -> HandParams:
        """Of the hand, axis-angle, camera frame. Raises SceneError where the scene has none."""
        if self.scene.hand_params is None:
            raise SceneError("hand_params: expected a posed hand, got none: pose the hand first (with_hand)")
        return self.scene.hand_params


@dataclass(frozen=True, eq=False)
class Sized(HandSeen):
    """After `size_object`: the mesh of `scene.object` has the size, in metres, that the next stages start from."""

    alignment: dict[str, float]
    """k2D, k3D and k_scale of Eq. 4-6."""
    factor: float
    """Of the mesh's size over that of the given one: k_scale where the size is unknown, else 1."""


@dataclass(frozen=True, eq=False)
class Posed(Sized):
    """After `pose_object`: where the object may be."""

    poses: ObjectPoses
    """Of the mesh of `scene.object`, the best first."""


@dataclass(frozen=True, eq=False)
class Touching(Posed):
    """After `grasp_object`: grasps of the mesh of `scene.object`."""

    candidates: list[Candidate]
    """The best first."""
    history: Float[ndarray, "steps"]
    """Energy of the best at each step of step two."""
    terms: dict[str, Float[ndarray, "rounds"]]
    """Its terms by their names, unweighted, each `refresh` steps."""
