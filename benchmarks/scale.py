"""How wrong the factor of Eq. 4-6 is on rendered scenes whose object has its true size, so that it should be 1.

python -m benchmarks.scale [--poses 4]
"""

from collections import defaultdict
from collections.abc import Iterator
from itertools import islice

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array, Float
from numpy import ndarray

from benchmarks.scenes import RenderedScene, make_scene, transformed
from benchmarks.shapes import SHAPES
from fgs_jax.objects.solid import convex_hull
from fgs_jax.picture.camera import project
from fgs_jax.picture.scene import mask_box
from fgs_jax.stages.scale import box_ratio, hull_volume, volume_ratio
from fgs_jax.types import Camera

WHOLE, VISIBLE = "whole boxes", "object's box: visible mask"
CUT, SEEN_CUT = "cut by the border, nothing hidden", "cut by the border, visible mask"
BOTH_MASKS, HAMER = "both boxes: visible masks", "whole boxes, HaMeR's focal length"
BINS = {"over 80 %": (0.8, 1.0), "60 to 80 %": (0.6, 0.8), "under 60 %": (0.0, 0.6)}
"""Shares of the object's silhouette that are seen."""

_volume = jax.jit(hull_volume)


def scenes(shape: str, count: int, *, cut: bool) -> Iterator[RenderedScene]:
    """Those of the first seeds that have one."""

    def found() -> Iterator[RenderedScene]:
        for seed in range(10 * count):
            try:
                yield make_scene(shape, seed, cut=cut)
            except ValueError:
                continue

    return islice(found(), count)


def mesh_box(camera: Camera, vertices: Float[ndarray, "v 3"]) -> Float[ndarray, "4"]:
    """(left, top, right, bottom) of the whole mesh, beyond the picture too."""
    pixels = np.asarray(project(camera, jnp.asarray(vertices)))
    return np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])


def factors(scene: RenderedScene, *, cut: bool) -> tuple[float, dict[str, float]]:
    """k_scale from the whole boxes, and from the boxes of each row of the table."""
    thing = transformed(scene.object_vertices, scene.T_camera_object)
    k3D = volume_ratio(_hull_volume(scene.hand_vertices), _hull_volume(thing))

    def k_scale(hand_box: Float[ndarray, "4"], object_box: Float[ndarray, "4"]) -> float:
        return float(k3D / box_ratio(jnp.asarray(hand_box), jnp.asarray(object_box)))

    def whole(camera: Camera, farther: float = 0.0) -> tuple[Float[ndarray, "4"], Float[ndarray, "4"]]:
        away = np.array([0, 0, farther])
        return mesh_box(camera, scene.hand_vertices + away), mesh_box(camera, thing + away)

    hand_box = whole(scene.camera)[0]
    seen, silhouette = (np.array(mask_box(m), float) for m in (scene.object_mask, np.isfinite(scene.object_depth)))
    k_whole = k_scale(*whole(scene.camera))
    if cut:
        return k_whole, {CUT: k_scale(hand_box, silhouette), SEEN_CUT: k_scale(hand_box, seen)}
    zoom = 5000 / 256 * max(scene.size) / float(scene.camera.focal[0])
    hamer = Camera(scene.camera.focal * zoom, scene.camera.principal)
    k_seen = k_scale(hand_box, seen)
    by_share = {f"- {name} seen": k_seen for name, (low, high) in BINS.items() if low < scene.object_visible <= high}
    return k_whole, {
        WHOLE: k_whole,
        HAMER: k_scale(*whole(hamer, (zoom - 1) * scene.T_camera_object[2, 3])),
        VISIBLE: k_seen,
        **by_share,
        BOTH_MASKS: k_scale(np.array(mask_box(scene.hand_mask), float), seen),
    }


def summary(row: str, k: Float[ndarray, "n"], k_whole: Float[ndarray, "n"]) -> str:
    """Errors are natural logarithms in percent: 10 is a factor of 1.105."""
    error, added = 100 * np.abs(np.log(k)), 100 * np.abs(np.log(k / k_whole))
    return (
        f"| {row} | {len(k)} | {np.median(k):.2f} | {np.median(error):.0f} | {np.percentile(error, 90):.0f} "
        f"| {np.median(added):.0f} | {np.percentile(added, 90):.0f} |"
    )


def main(poses: int = 4) -> None:
    """Prints a table, and the factor by shape. `poses`: scenes of each shape, and as many again cut by the border."""
    rows: dict[str, list[tuple[float, float]]] = defaultdict(list)
    by_shape: dict[str, list[float]] = defaultdict(list)
    for cut in (False, True):
        for shape in SHAPES:
            for scene in scenes(shape, poses, cut=cut):
                k_whole, found = factors(scene, cut=cut)
                by_shape[shape].append(k_whole)
                for row, k in found.items():
                    rows[row].append((k, k_whole))
    order = [WHOLE, HAMER, VISIBLE, *(f"- {name} seen" for name in BINS), CUT, SEEN_CUT, BOTH_MASKS]
    print(
        "| boxes | scenes | k_scale, median | error, %, median | 90th | against whole boxes, %, median | 90th |\n"
        "|---|--:|--:|--:|--:|--:|--:|"
    )
    for row in order:
        if rows[row]:
            print(summary(row, *np.array(rows[row]).T))
    medians = sorted((float(np.median(k)), shape) for shape, k in by_shape.items())
    print("\nMedian by shape, whole boxes:", ", ".join(f"{shape} {k:.2f}" for k, shape in medians))


def _hull_volume(vertices: Float[ndarray, "v 3"]) -> Float[Array, ""]:
    faces = convex_hull(vertices)
    # Faces of no area fill up the number, so that all scenes of a shape share one compiled program.
    padded = np.pad(faces, ((0, 2 * len(vertices) - len(faces)), (0, 0)))
    return _volume(jnp.asarray(vertices), jnp.asarray(padded))


if __name__ == "__main__":
    tyro.cli(main)
