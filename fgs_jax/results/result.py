"""What the stages find: poses of the object, candidates, and the refined scene."""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from fgs_jax.config import RefineConfig
from fgs_jax.mirror import (
    mirrored_camera,
    mirrored_faces,
    mirrored_grasp,
    mirrored_matrices,
    mirrored_points,
)
from fgs_jax.picture.scene import Scene
from fgs_jax.types import Camera, Grasp

WHEN = ("before", "after")
"""The two grasps of a result, by number."""


class ObjectPoses(NamedTuple):
    """What `approximate` found, best first: `k` distinct poses T_camera_object of one object."""

    rotation: Float[ndarray, "k 3 3"]
    translation: Float[ndarray, "k 3"]
    """Metres."""
    scale: Float[ndarray, "k"]
    """p_camera = R (scale * p_object) + t; 1 where the size is known."""
    masked_iou: Float[ndarray, "k"]
    """Of the rendered object and its mask, outside the hand's pixels, at the picture's own resolution."""
    energy: Float[ndarray, "k"]
    """Eq. 11 before the polish."""
    terms: dict[str, Float[ndarray, "k"]]
    history: list[Float[ndarray, "k steps"]]
    """The energy at every step of each phase."""
    start: Int[ndarray, "k"]
    """Which start each pose came from."""
    lost: int
    """Starts that ended without a finite energy."""


class Candidate(NamedTuple):
    """One of the grasps that step two ended with."""

    pose: int
    """Which of OPA's poses it started from."""
    valley: int
    """Which of step one's two depths; where it found one only, 1 has started with the fingers half open."""
    factor: float
    """By which step one resized the hand, or an object of unknown size."""
    energy: float
    """Of Eq. 12, with w_dis times reach for each contact point out of reach."""
    masked_iou: float
    """Of the object's pose; where step one descends, of sampled pixels and a simplified mesh."""
    occlusion_agreement: float
    """Of sampled pixels and a simplified mesh."""
    score: float
    """Energy, silhouette, lean and order together; the lowest wins."""
    grasp: Grasp
    hand_vertices: Float[ndarray, "v 3"]
    """Metres, camera frame."""


@dataclass(frozen=True, eq=False)
class Result:
    """A refined scene. Everything stands in the frame of `scene`'s picture: a left hand is a left hand here."""

    scene: Scene
    """As it was given."""
    camera: Camera
    """The one that the grasp is seen by: the scene's, or an ordinary one."""
    config: RefineConfig
    before: Grasp
    """OPA's best pose with the hand as it was seen."""
    after: Grasp
    hand_vertices: tuple[Float[ndarray, "v 3"], Float[ndarray, "v 3"]]
    """Before and after, metres, camera frame."""
    hand_faces: Int[ndarray, "f 3"]
    """Closed at the wrist."""
    hand_keypoints: tuple[Float[ndarray, "21 3"], Float[ndarray, "21 3"]]
    metrics: tuple[dict[str, float | None], dict[str, float | None]]
    """Before and after."""
    scale: dict[str, float]
    """k2D, k3D and k_scale of Eq. 4-6."""
    poses: ObjectPoses
    """OPA's, of `scene.object` as it was given."""
    candidates: list[Candidate]
    """The best first."""
    rivals: tuple[int, ...]
    """Candidates, by number, that are another answer and cannot be told from the best by energy and picture."""
    history: Float[ndarray, "steps"]
    """Energy of the chosen candidate at each step of step two."""
    terms: dict[str, Float[ndarray, "rounds"]]
    """Its terms, unweighted, each `refresh` steps."""
    notes: tuple[str, ...]
    """What a user should know: mended meshes, a doubtful hand, another camera."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Per stage."""

    @property
    def ambiguous(self) -> bool:
        """Whether there are rivals: the answer may be one of them."""
        return bool(self.rivals)

    def object_vertices(self, when: int = 1) -> Float[ndarray, "w 3"]:
        """Of the object's mesh in the camera's frame, metres: 0 before, 1 after."""
        return object_at((self.before, self.after)[when], self.scene.object.vertices)


def object_at(grasp: Grasp, vertices: Float[ndarray, "v 3"]) -> Float[ndarray, "v 3"]:
    """Vertices of the object's mesh in the camera's frame, metres, in float64."""
    rotation, translation = np.asarray(grasp.rotation, float), np.asarray(grasp.translation, float)
    return float(grasp.scale) * vertices @ rotation.T + translation


def mirrored_result(result: Result, width: int) -> Result:
    """The result of a mirrored scene, whose picture is `width` pixels wide, in the frame of the scene itself.

    Its `scene` stays as it is.
    """
    return replace(
        result,
        camera=mirrored_camera(result.camera, width),
        before=mirrored_grasp(result.before),
        after=mirrored_grasp(result.after),
        hand_vertices=(mirrored_points(result.hand_vertices[0]), mirrored_points(result.hand_vertices[1])),
        hand_keypoints=(mirrored_points(result.hand_keypoints[0]), mirrored_points(result.hand_keypoints[1])),
        hand_faces=mirrored_faces(result.hand_faces),
        poses=result.poses._replace(
            rotation=mirrored_matrices(result.poses.rotation), translation=mirrored_points(result.poses.translation)
        ),
        candidates=[
            candidate._replace(
                grasp=mirrored_grasp(candidate.grasp), hand_vertices=mirrored_points(candidate.hand_vertices)
            )
            for candidate in result.candidates
        ],
    )
