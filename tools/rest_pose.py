"""The rest pose of the open hand: where MANO's joints are in MakeHuman's hand, and every hand laid flat in MANO's axes.

Shape letters: `n` people, `v` vertices, `q` quads.
"""

from typing import NamedTuple

import numpy as np
from hand_poses import apply, skin
from jaxtyping import Float, Int
from makehuman import MakeHumanHand
from numpy import ndarray
from scipy.spatial.transform import Rotation

from fgs_jax.hands.anatomy import FINGER_JOINTS, FINGERS, unit

# --- Design, in MANO's axes: fingers along -x, dorsal +y, thumb side +z -----------------------------------------------


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


# --- Hands in it -----------------------------------------------------------------------------------------------------


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
