"""The measures of a result."""

import numpy as np

from fgs_jax.hands.mano import skin_margins
from fgs_jax.picture.scene import confidence_of
from fgs_jax.results.metrics.contact import fingers_of_vertices
from fgs_jax.results.metrics.grasp import grasp_metrics
from fgs_jax.results.metrics.picture import picture_metrics
from fgs_jax.results.metrics.surface import Surface
from fgs_jax.results.result import Result
from fgs_jax.types import HandModel


def measure_result(result: Result, model: HandModel, when: int) -> dict[str, float | None]:
    """Geometry and picture measures of a right-handed result: 0 before, 1 after."""
    scene = result.scene
    hand_surface = Surface(result.hand_vertices[when], result.hand_faces)
    object_surface = Surface(result.object_vertices(when), scene.object.faces)
    detected = scene.keypoints_2d
    if detected is not None:
        detected = np.where(confidence_of(scene)[:, None] > 0, detected, np.nan)
    margin = skin_margins(model, float((result.before, result.after)[when].hand.scale))
    fingers = fingers_of_vertices(model.weights)
    return grasp_metrics(hand_surface, object_surface, fingers, margin=margin) | picture_metrics(
        result.camera,
        hand_surface,
        object_surface,
        hand_mask=scene.hand_mask,
        object_mask=scene.object_mask,
        keypoints=result.hand_keypoints[when],
        detected=detected,
    )
