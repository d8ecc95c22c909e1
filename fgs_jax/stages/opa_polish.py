"""The polish: Nelder-Mead on the rendered masked IoU, which counts pixels and has no gradient."""

from collections.abc import Sequence

import numpy as np
import scipy.optimize
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from fgs_jax.journal import Entry, Journal, recorded
from fgs_jax.picture.masks import iou
from fgs_jax.picture.scene import Scene
from fgs_jax.picture.view import PictureView, Similarity, of_each, silhouette_in

ROUGH_REACHES, REACHES = (6.0,), (-4.0, 3.0, -2.0)
"""Of the rounds of Nelder-Mead before distinct poses are chosen, and after; a negative one steps the other way."""
TURN, SHIFT, GROWTH = 0.05, 1.5, 0.015
"""First steps of a round of reach 1: radians, about three degrees; pixels; the logarithm of size and depth."""


def polished(
    poses: Similarity,
    view: PictureView,
    *,
    scene: Scene,
    reaches: Sequence[float],
    evaluations: int,
    journal: Journal | None,
) -> Similarity:
    """Each with a better rendered masked IoU, after a round of Nelder-Mead for each reach."""
    if not evaluations:
        return poses

    def polish(pose: Similarity) -> Similarity:
        for reach in reaches:
            pose = nelder_mead(pose, view, scene, reach, evaluations)
        return pose

    def all_polished() -> Entry:
        done = of_each(polish, poses)
        return {name: np.stack([getattr(pose, name) for pose in done]) for name in Similarity._fields}

    return Similarity(**recorded(journal, all_polished))


def nelder_mead(pose: Similarity, view: PictureView, scene: Scene, reach: float, evaluations: int) -> Similarity:
    """The best pose found from steps of `reach` times three degrees, 1.5 pixels and 1.5 percent of size and depth.

    The masked IoU counts pixels: it has flat places, on which a small simplex stays.
    """
    depth = float(pose.translation[2])
    pixel = depth / float(np.mean(np.asarray(scene.camera.focal)))
    steps = np.array([TURN, TURN, TURN, SHIFT * pixel, SHIFT * pixel, GROWTH])
    centre = scene.object.vertices.mean(axis=0) * float(np.exp(pose.log_scale))

    def moved(x: Float[ndarray, "6"]) -> Similarity:
        turn = Rotation.from_rotvec(steps[:3] * x[:3]).as_matrix()
        rotation = pose.rotation @ turn
        middle = pose.rotation @ centre + pose.translation
        middle = (middle + [*(steps[3:5] * x[3:5]), 0.0]) * np.exp(steps[5] * x[5])
        return Similarity(rotation, middle - rotation @ centre, pose.log_scale)

    in_mask = np.asarray(view.in_mask)

    def cost(x: Float[ndarray, "6"]) -> float:
        return 1.0 - iou(silhouette_in(view, moved(x)), in_mask)

    simplex = reach * np.concatenate([np.zeros((1, 6)), np.eye(6)])
    options = {"maxfev": evaluations, "initial_simplex": simplex, "xatol": 1e-3, "fatol": 1e-5}
    return moved(scipy.optimize.minimize(cost, np.zeros(6), method="Nelder-Mead", options=options).x)
