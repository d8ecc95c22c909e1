"""What a hand mesh says about itself: bone frames, fingertips, contact regions, the wrist's opening, joint limits.

Host side, numpy, once per model. Everything is computed from the joints, the skinning weights and the surface, so that
it holds for the open hand and for MANO files alike; no vertex id is written down anywhere. The hand is in MANO's rest
frame, where dorsal is +y for both sides.
"""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

JOINT_NAMES = (
    *("wrist", "index1", "index2", "index3", "middle1", "middle2", "middle3", "pinky1", "pinky2", "pinky3"),
    *("ring1", "ring2", "ring3", "thumb1", "thumb2", "thumb3"),
)
PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
FINGERS = ("thumb", "index", "middle", "ring", "pinky")
FINGER_JOINTS = ((13, 14, 15), (1, 2, 3), (4, 5, 6), (10, 11, 12), (7, 8, 9))
"""The three joints of each finger, in the order of `FINGERS`."""
FINGER_OF_JOINT = np.array(
    [next((k for k, own in enumerate(FINGER_JOINTS) if joint in own), -1) for joint in range(16)]
)
"""The finger that a joint is of; -1 for the wrist."""
REGION_NAMES = (*FINGERS, "palm")
BONES = np.array([(0 if k % 4 == 1 else k - 1, k) for k in range(1, 21)])
"""Keypoints at the ends of each bone, in OpenPose's order."""

_DEGREES = {  # (twist, spread, bend), least and greatest
    "index": (
        ((-20, 20), (-25, 25), (-35, 100)),
        ((-10, 10), (-10, 10), (-15, 115)),
        ((-10, 10), (-10, 10), (-20, 90)),
    ),
    "middle": (
        ((-20, 20), (-25, 25), (-35, 100)),
        ((-10, 10), (-10, 10), (-15, 115)),
        ((-10, 10), (-10, 10), (-20, 90)),
    ),
    "ring": (((-20, 20), (-25, 30), (-35, 100)), ((-10, 10), (-10, 10), (-15, 115)), ((-10, 10), (-10, 10), (-20, 90))),
    "pinky": (
        ((-25, 45), (-25, 40), (-35, 100)),
        ((-10, 10), (-10, 10), (-15, 115)),
        ((-10, 10), (-10, 10), (-20, 90)),
    ),
    "thumb": (((-45, 75), (-45, 45), (-45, 70)), ((-20, 20), (-25, 25), (-35, 75)), ((-10, 10), (-10, 10), (-30, 90))),
}


def joint_limits(side: str = "right") -> Float[ndarray, "15 3 2"]:
    """Least and greatest (twist, spread, bend) of joints 1 to 15, in radians.

    Textbook ranges of motion, widened to hold the open hand's pose samples and the detected real hands that the tests
    use. A mirror turns the sign of twist and spread and keeps bend.
    """
    limits = np.zeros((15, 3, 2))
    for finger, joints in zip(FINGERS, FINGER_JOINTS, strict=True):
        limits[np.array(joints) - 1] = np.deg2rad(_DEGREES[finger])
    if side == "left":
        limits[:, :2] = -limits[:, :2, ::-1]
    return limits


def unit(vectors: Float[ndarray, "*n 3"]) -> Float[ndarray, "*n 3"]:
    """Vectors of length one, along the last axis."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def vertex_normals(vertices: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"]) -> Float[ndarray, "v 3"]:
    """Outward normals of length one, averaged over faces by area; zero for a vertex without a face."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    doubled_area = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(normals, faces[:, k], doubled_area)
    return normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-30)


def find_side(joints: Float[ndarray, "16 3"]) -> str:
    """ "right" or "left", from the rest joints: seen from above (+y) the thumb lies on one side of the fingers."""
    fingers, thumb = joints[4] - joints[0], joints[15] - joints[0]
    return "right" if np.cross(fingers, thumb)[1] > 0 else "left"


def find_tips(
    vertices: Float[ndarray, "v 3"], weights: Float[ndarray, "v 16"], joints: Float[ndarray, "16 3"]
) -> Int[ndarray, "5"]:
    """Per finger, the vertex bound to its last joint that lies farthest along the bone and close to the bone's line."""
    tips = []
    for _, middle, last in FINGER_JOINTS:
        bound = np.flatnonzero(weights[:, last] > 0.5)
        if not len(bound):
            raise ValueError(f"no vertex is bound to joint {JOINT_NAMES[last]} with a weight above 0.5")
        tip, end = 0, 2 * joints[last] - joints[middle]
        for _ in range(2):
            direction = unit(end - joints[last])
            offset = vertices[bound] - joints[last]
            along = offset @ direction
            across = np.linalg.norm(offset - along[:, None] * direction, axis=1)
            tip = bound[np.argmax(along - 0.3 * across)]
            end = vertices[tip]
        tips.append(tip)
    return np.array(tips)


def bone_frames(
    joints: Float[ndarray, "16 3"], tips: Float[ndarray, "5 3"], side: str = "right"
) -> Float[ndarray, "15 3 3"]:
    """Axes of joints 1 to 15 at rest, as rows: along the bone towards the parent, dorsal, and flexion.

    Flexion = bone x dorsal: a positive turn about it closes the finger, on either hand. Dorsal is +y made orthogonal
    to the bone; (1, 1, 1) for the thumb, mirrored on a left hand (manotorch's convention).
    """
    frames = np.zeros((15, 3, 3))
    for finger, chain, tip in zip(FINGERS, FINGER_JOINTS, tips, strict=True):
        up = np.array([1.0 if side == "right" else -1.0, 1.0, 1.0] if finger == "thumb" else [0.0, 1.0, 0.0])
        for joint, end in zip(chain, [*joints[list(chain[1:])], tip], strict=True):
            bone = unit(joints[joint] - end)
            flexion = unit(np.cross(bone, up))
            frames[joint - 1] = bone, np.cross(flexion, bone), flexion
    return frames


def joint_angles(frames: Float[ndarray, "15 3 3"], rotations: Float[ndarray, "15 3 3"]) -> Float[ndarray, "15 3"]:
    """(twist, spread, bend) of joints 1 to 15 about their `bone_frames`, radians: `hand.joint_angles` on the host."""
    local = frames @ rotations @ frames.transpose(0, 2, 1)
    twist = np.arctan2(local[:, 2, 1], local[:, 2, 2])
    spread = np.arctan2(-local[:, 2, 0], np.hypot(local[:, 0, 0], local[:, 1, 0]))
    return np.stack([twist, spread, np.arctan2(local[:, 1, 0], local[:, 0, 0])], axis=-1)


def contact_regions(
    vertices: Float[ndarray, "v 3"],
    faces: Int[ndarray, "f 3"],
    weights: Float[ndarray, "v 16"],
    joints: Float[ndarray, "16 3"],
    frames: Float[ndarray, "15 3 3"],
) -> Int[ndarray, "v"]:
    """Label of each vertex: 0 to 4 the pad of a finger, 5 the palm, -1 neither (`REGION_NAMES`).

    A pad is the skin of a last phalanx that faces away from the nail, tip included. The palm is the skin of wrist,
    metacarpals and thumb base that faces away from the back of the hand, from a fifth of the way to the knuckles on.
    """
    normals = vertex_normals(vertices, faces)
    owner = np.argmax(weights, axis=1)
    labels = np.full(len(vertices), -1)
    for label, (_, _, last) in enumerate(FINGER_JOINTS):
        bone, dorsal, _ = frames[last - 1]
        # At the very tip the skin faces along the bone, so a share of the bone axis counts as palmar.
        palmar = unit(-dorsal - 0.5 * bone)
        labels[(owner == last) & (normals @ palmar > 0.5)] = label
    along = unit(joints[4] - joints[0])
    across = joints[1] - joints[7]
    dorsal = unit(np.cross(across, along))
    dorsal = dorsal * np.sign(dorsal[1])
    reach = (vertices - joints[0]) @ along / np.linalg.norm(joints[4] - joints[0])
    palm = np.isin(owner, (0, 13)) & (normals @ -dorsal > 0.5) & (reach > 0.2)
    labels[palm] = len(FINGERS)
    return labels


def find_wrist_loop(faces: Int[ndarray, "f 3"]) -> Int[ndarray, "l"]:
    """Vertices of the mesh's one open edge, in the order in which its faces run along it.

    Raises ValueError where the mesh is closed, has several openings, or where its open edges form no loop.
    """
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    half_edges = {(int(a), int(b)) for a, b in edges}
    following = {a: b for a, b in half_edges if (b, a) not in half_edges}
    if not following:
        raise ValueError("the mesh is closed; a hand is open at the wrist")
    loop = [min(following)]
    while (vertex := following.get(loop[-1])) != loop[0]:
        if vertex is None or len(loop) > len(following):
            raise ValueError("the open edges of the mesh form no loop")
        loop.append(vertex)
    if len(loop) != len(following):
        raise ValueError(
            f"expected one opening (the wrist), found more: {len(following)} open edges, {len(loop)} in one loop"
        )
    return np.array(loop)


def close_wrist(loop: Int[ndarray, "l"]) -> Int[ndarray, "k 3"]:
    """Faces that close the wrist, a zig-zag strip over the loop: no new vertex, wound like the mesh.

    `np.concatenate([faces, close_wrist(find_wrist_loop(faces))])` is watertight.
    """
    strip, low, high = [], 0, len(loop) - 1
    ring = loop[::-1]  # the cap runs along each open edge the other way
    while high - low > 1:
        if len(strip) % 2 == 0:
            strip.append((ring[high], ring[low], ring[low + 1]))
            low += 1
        else:
            strip.append((ring[high - 1], ring[high], ring[low]))
            high -= 1
    return np.array(strip)
