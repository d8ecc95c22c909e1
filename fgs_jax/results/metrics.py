"""How good a grasp is: penetration, shared volume, contact, and how well the hand and the object fit the picture.

Host side, numpy, float64, on the meshes as they are. Inside is where the generalised winding number is above one half
(`objects`), so a hand that overlaps itself, a mesh with holes and an object of overlapping parts have an inside too.
Hand and object stand in one frame, in metres. Works that measure "penetration" or "contact" mean different things by
it; the variants stand here side by side, each with the work that it comes from in its description.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int
from numpy import ndarray
from scipy.spatial import KDTree

from fgs_jax.errors import MeshError
from fgs_jax.hands import files as hand_files
from fgs_jax.hands.anatomy import FINGER_JOINTS, FINGERS
from fgs_jax.objects import voxels
from fgs_jax.objects.checks import checked_arrays, checked_number, checked_points, no_type_check
from fgs_jax.objects.mesh import _distance, is_balanced, is_inside
from fgs_jax.picture.render import depth_map, pixels_of
from fgs_jax.types import Camera

CONTACT = 0.01
"""Metres from the other surface within which the paper counts a vertex as in contact."""
FINGER_CONTACT = 0.003
"""Metres from the object within which a finger touches it."""
_MOST_POINTS = 10_000_000
SURFACE_POINTS = 2000
"""Points of the object's surface that stand for its area."""
VOXEL = 0.001
"""Side of the voxels of `voxel_intersection_volume`, metres."""
_SURFACE_VOXEL = 0.005
"""Side of GraspTTA's voxels, metres."""

GRASP_METRICS = {
    "mpd_mm": "maximal penetration depth: deepest hand vertex inside the object (the paper, GraspTTA)",
    "mpd_to_vertex_mm": "the same, to the object's nearest vertex (CPF, OakInk)",
    "object_depth_mm": "deepest point of the object's surface inside the hand",
    "siv_cm3": "solid intersection volume, exact; counts twice where the hand overlaps itself",
    "siv_voxels_cm3": "the same, by solid voxels, each counted once (CPF, OakInk)",
    "siv_surface_voxels_cm3": "voxels of 5 mm on the object's surface that are inside the hand (GraspTTA)",
    "contact_ratio": "share of the object's area within 10 mm of the hand",
    "contact_ratio_paper": "share of the object's vertices within 10 mm of the hand (the paper)",
    "contact_ratio_hand_over_object": "hand vertices within 10 mm of the object / all object vertices",
    "contact_5mm": "1 where a hand vertex is inside the object or within 5 mm of it, else 0 (GraspTTA)",
    "distance_mm": "least signed distance of a hand vertex to the object",
    "fingers_in_contact": "fingers less than 3 mm from the object",
}
"""What `grasp_metrics` returns, in this order."""

PICTURE_METRICS = {
    "masked_iou": "object: intersection over union with its mask, outside the hand's mask",
    "hand_iou": "hand: intersection over union with its mask, without the forearm and what the object hides",
    "keypoint_error_px": "mean distance of the hand's keypoints to the detected ones",
    "keypoint_error_share": "the same, as a share of the longer side of the detected ones' box",
    "occlusion_agreement": "where hand and object overlap, share of pixels whose nearer one is the one in the masks",
}
"""What `picture_metrics` returns, in this order."""


class Surface(NamedTuple):
    """A triangle mesh, wound outward. A hand is closed at the wrist: its `faces` and its `cap_faces`."""

    vertices: Float[Array | ndarray, "v 3"]
    """Metres."""
    faces: Int[Array | ndarray, "f 3"]


class SolidIntersection(NamedTuple):
    """A volume, or the reason why there is none."""

    volume: float | None
    """Cubic metres."""
    obstacle: str | None


@no_type_check
def grasp_metrics(
    hand: Surface, object: Surface, fingers: Int[ndarray, "v"] | None = None, pitch: float = VOXEL
) -> dict[str, float | None]:
    """All of `GRASP_METRICS`, in the units of their names; shares are from 0 to 1.

    `fingers`: of each hand vertex, see `fingers_of_vertices`. `fingers_in_contact` is None without, and `siv_cm3` is
    None where `solid_intersection_volume` gives a reason.

    Raises MeshError for a mesh without a face, with a vertex that is not finite, or closed and wound inside out.
    """
    check_surfaces(hand, object)
    for name, surface in (("hand", hand), ("object", object)):
        _check_winding(surface, name)
    of_hand = signed_distances(object, hand.vertices)
    of_surface = signed_distances(hand, sample_surface(object))
    of_vertices = signed_distances(hand, object.vertices)
    volume = solid_intersection_volume(hand, object).volume
    touching = None if fingers is None else fingers_in_contact(of_hand, fingers)
    return {
        "mpd_mm": 1e3 * _depth(of_hand),
        "mpd_to_vertex_mm": 1e3 * _depth_to_vertex(object, np.asarray(hand.vertices)[of_hand < 0]),
        "object_depth_mm": 1e3 * _depth(of_surface),
        "siv_cm3": None if volume is None else 1e6 * volume,
        "siv_voxels_cm3": 1e6 * voxel_intersection_volume(hand, object, pitch),
        "siv_surface_voxels_cm3": 1e6 * surface_voxel_intersection_volume(hand, object),
        "contact_ratio": float((of_surface < CONTACT).mean()),
        "contact_ratio_paper": float((of_vertices < CONTACT).mean()),
        "contact_ratio_hand_over_object": float((of_hand < CONTACT).sum() / len(of_vertices)),
        "contact_5mm": float(of_hand.min() < 0.005),
        "distance_mm": 1e3 * float(of_hand.min()),
        "fingers_in_contact": None if touching is None else float(touching.sum()),
    }


# --- penetration and contact


@no_type_check
def signed_distances(surface: Surface, points: Float[Array | ndarray, "p 3"]) -> Float64[ndarray, "p"]:
    """`objects.exact_signed_distance`, in metres, which asks for the inside only within the surface's box.

    Raises MeshError, as all measures here, for a surface or points of other shapes or types.
    """
    check_surface(surface)
    vertices, faces = _arrays(surface)
    points = checked_points(points)
    finite = np.isfinite(points).all(axis=1)
    signed, asked = np.full(len(points), np.nan), points[finite]
    if len(asked):
        distance = _distance(vertices, faces, asked)
        signed[finite] = np.where(_inside(vertices, faces, asked, distance), -distance, distance)
    return signed


@no_type_check
def maximal_penetration_depth(hand: Surface, object: Surface) -> float:
    """MPD (Sec. 4.2), metres: how far the deepest hand vertex inside the object is from its surface; 0 without one.

    It cannot see an object that passes between the vertices: see `object_depth_in_hand`.
    """
    check_surfaces(hand, object)
    return _depth(signed_distances(object, hand.vertices))


@no_type_check
def penetration_depth_to_vertex(hand: Surface, object: Surface) -> float:
    """`maximal_penetration_depth` to the object's nearest vertex (CPF, OakInk), which is never less; metres."""
    check_surfaces(hand, object)
    inside = signed_distances(object, hand.vertices) < 0
    return _depth_to_vertex(object, np.asarray(hand.vertices)[inside])


@no_type_check
def object_depth_in_hand(hand: Surface, object: Surface, count: int = SURFACE_POINTS) -> float:
    """How far the deepest of `count` points of the object's surface lies inside the hand, metres; 0 without one."""
    check_surfaces(hand, object)
    return _depth(signed_distances(hand, sample_surface(object, count)))


@no_type_check
def contact_ratio(hand: Surface, object: Surface, within: float = CONTACT) -> float:
    """Share of the object's area that is less than `within` metres from the hand, or inside it."""
    check_surfaces(hand, object)
    return float((signed_distances(hand, sample_surface(object)) < within).mean())


@no_type_check
def contact_ratio_of_vertices(hand: Surface, object: Surface, within: float = CONTACT) -> float:
    """CR as the paper defines it (supplement C): `contact_ratio` over object vertices in place of area.

    Vertices crowd where a mesh is fine, so this depends on how the object is cut into triangles.
    """
    check_surfaces(hand, object)
    return float((signed_distances(hand, object.vertices) < within).mean())


@no_type_check
def contact_ratio_hand_over_object(hand: Surface, object: Surface, within: float = CONTACT) -> float:
    """The other reading of the paper: hand vertices in contact over all object vertices; it may exceed 1."""
    check_surfaces(hand, object)
    return float((signed_distances(object, hand.vertices) < within).sum() / len(object.vertices))


@no_type_check
def fingers_of_vertices(weights: Float[Array | ndarray, "v 16"]) -> Int[ndarray, "v"]:
    """The finger that moves each vertex most, as an index into `FINGERS`; -1 for the palm and the wrist.

    `weights`: `HandModel.weights`. A finger is all of its three joints, the ball of the thumb included.
    """
    if np.ndim(weights) != 2 or np.shape(weights)[1] != 16:
        raise MeshError(f"weights: expected an array of shape (v, 16), came {np.shape(weights)}; use HandModel.weights")
    finger_of_joint = np.full(16, -1)
    for finger, joints in enumerate(FINGER_JOINTS):
        finger_of_joint[list(joints)] = finger
    return finger_of_joint[np.argmax(np.asarray(weights), axis=1)]


@no_type_check
def fingers_of_hand_mesh(hand: Surface) -> Int[ndarray, "v"] | None:
    """`fingers_of_vertices` of a mesh that was made with an open hand model; None for any other mesh.

    Known by its faces: some file formats keep the number of vertices and not their order.
    """
    check_surface(hand, "hand")
    for name in ("open_hand", "open_hand_full"):
        arrays = hand_files.read_hand_file(hand_files.locate_hand_file(name)[1])
        if len(hand.vertices) == len(arrays["v_template"]):
            model, mesh = ({tuple(face) for face in np.sort(faces, axis=1)} for faces in (arrays["f"], hand.faces))
            if model <= mesh:
                return fingers_of_vertices(arrays["weights"])
    return None


@no_type_check
def fingers_in_contact(
    distances: Float[ndarray, "v"], fingers: Int[ndarray, "v"], within: float = FINGER_CONTACT
) -> Bool[ndarray, "5"]:
    """Which of `FINGERS` have a vertex less than `within` from the object, or inside it.

    `distances`: `signed_distances` of the hand's vertices to the object. `fingers`: `fingers_of_vertices`.
    """
    if np.ndim(distances) != 1 or np.shape(distances) != np.shape(fingers):
        raise MeshError(
            f"distances and fingers: expected one of each per vertex, came {np.shape(distances)} and "
            f"{np.shape(fingers)}; take both of one hand"
        )
    distances, fingers = np.asarray(distances), np.asarray(fingers)
    return np.array([(distances[fingers == finger] < within).any() for finger in range(len(FINGERS))])


@no_type_check
def sample_surface(surface: Surface, count: int = SURFACE_POINTS) -> Float64[ndarray, "{count} 3"]:
    """Points at equal steps of area over the faces, each face filled evenly; always the same ones."""
    check_surface(surface)
    count = checked_number(count, 1, _MOST_POINTS, "count")
    vertices, faces = _arrays(surface)
    corners = vertices[faces]
    a, ab, ac = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    up_to = np.cumsum(np.linalg.norm(np.cross(ab, ac), axis=1))
    face = np.searchsorted(up_to, (np.arange(count) + 0.5) / count * up_to[-1])
    # Roberts' R2 sequence: neighbours in it are far apart in the square, which is folded to a triangle.
    plastic = 1.324717957244746
    u, v = (np.arange(1, count + 1) / plastic**power % 1 for power in (1, 2))
    u, v = np.where(u + v > 1, (1 - u, 1 - v), (u, v))
    return a[face] + u[:, None] * ab[face] + v[:, None] * ac[face]


# --- shared volume


@no_type_check
def solid_intersection_volume(hand: Surface, object: Surface) -> SolidIntersection:
    """SIV (Sec. 4.2): the volume of the exact boolean of both meshes (manifold3d).

    A boolean counts what a mesh overlaps itself in twice; `voxel_intersection_volume` counts it once. There is no
    volume where a mesh is open or not a manifold, and `obstacle` says which.
    """
    check_surfaces(hand, object)
    import manifold3d  # noqa: PLC0415

    solids = []
    for name, surface in (("hand", hand), ("object", object)):
        vertices, faces = _arrays(surface)
        arrays = np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(faces, np.uint32)
        solid = manifold3d.Manifold(manifold3d.Mesh(*arrays))
        if solid.status() != manifold3d.Error.NoError:
            defect = "not a manifold" if is_balanced(faces) else "open"
            return SolidIntersection(None, f"the {name}'s mesh is {defect}, so it has no exact boolean")
        solids.append(solid)
    return SolidIntersection(float((solids[0] ^ solids[1]).volume()), None)


@no_type_check
def voxel_intersection_volume(hand: Surface, object: Surface, pitch: float = VOXEL) -> float:
    """Volume of the voxels whose centres lie inside both meshes, by winding number, in cubic metres.

    What lies inside a mesh twice counts once, and a mesh with holes has an inside. The box that both meshes share is
    cut into equal voxels of at most `pitch` metres a side: 2 million of them at most, else larger ones. Where the
    overlap is only a few of them thick, voxels of a half, a quarter and an eighth of that follow.

    For the open hand about a ball of 3 cm, voxels of 1 mm are off by 0.004 cm3 of 0.05, 0.01 of 0.4, and 0.03 of 6.3
    (root mean square over rotations). A lens, a cap or a turned slab of 0.2 mm to 5 mm is off by less than 3 %.

    Raises MeshError for meshes of other shapes than a `Surface` has, and for a pitch that is no length.
    """
    check_surfaces(hand, object)
    _check_pitch(pitch)
    return voxels.shared_volume(_arrays(hand), _arrays(object), pitch)


@no_type_check
def surface_voxel_intersection_volume(hand: Surface, object: Surface, pitch: float = _SURFACE_VOXEL) -> float:
    """GraspTTA's volume: voxels on the object's SURFACE whose centres lie inside the hand, in cubic metres.

    For comparison only: a hand deep inside a large object meets none of them. A voxel is on the surface where it holds
    a corner of a face, once faces are split until no edge is longer than half a voxel, as trimesh does.
    """
    check_surfaces(hand, object)
    _check_pitch(pitch)
    hand_vertices, (vertices, faces) = _arrays(hand)[0], _arrays(object)
    low, high = hand_vertices.min(axis=0) - pitch, hand_vertices.max(axis=0) + pitch
    corners, shape = vertices[faces], np.ceil((high - low) / pitch).astype(int) + 2
    origin = np.floor(low / pitch).astype(int)  # centres lie at whole multiples of the pitch, as in trimesh
    filled = []
    while len(corners):
        a, b, c = np.moveaxis(corners, 1, 0)
        near = (np.maximum(np.maximum(a, b), c) >= low) & (np.minimum(np.minimum(a, b), c) <= high)
        corners = corners[near[:, 0] & near[:, 1] & near[:, 2]]
        lengths = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2)
        long = (lengths > pitch / 2) @ np.ones(3)
        done = np.rint(corners[long == 0].reshape(-1, 3) / pitch).astype(int) - origin
        done = done[((done >= 0) & (done < shape)).all(axis=1)]
        filled.append(np.unique(np.ravel_multi_index(tuple(done.T), tuple(shape))))
        # In four where all edges are long, else in two at the longest one.
        a, b, c = np.moveaxis(corners[long == 3], 1, 0)
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        pieces = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        halved = (long == 1) | (long == 2)
        turn = (np.argmax(lengths[halved], axis=1)[:, None] + np.arange(3)) % 3
        a, b, c = np.moveaxis(np.take_along_axis(corners[halved], turn[:, :, None], axis=1), 1, 0)
        pieces += [(a, (a + b) / 2, c), ((a + b) / 2, b, c)]
        corners = np.concatenate([np.stack(piece, axis=1) for piece in pieces])
    places = np.unravel_index(np.unique(np.concatenate(filled)), tuple(shape))
    centres = pitch * (origin + np.stack(places, axis=1))
    return float(np.count_nonzero(signed_distances(hand, centres) < 0) * pitch**3)


# --- the picture


@no_type_check
def picture_metrics(
    camera: Camera,
    hand: Surface,
    object: Surface,
    *,
    hand_mask: Bool[ndarray, "h w"],
    object_mask: Bool[ndarray, "h w"],
    keypoints: Float[Array | ndarray, "21 3"],
    detected: Float[Array | ndarray, "21 2"] | None = None,
) -> dict[str, float | None]:
    """All of `PICTURE_METRICS`; shares are from 0 to 1.

    Meshes and `keypoints` (`Hand.keypoints`) in the camera's frame, in metres; masks of what is visible, the hand's
    with or without the forearm; `detected` keypoints in pixels, of nan where one was not found. The keypoint errors are
    None without, and `occlusion_agreement` is None where no pixel tells.
    """
    _check_pictures(hand_mask=hand_mask, object_mask=object_mask)
    check_surfaces(hand, object)
    height, width = hand_mask.shape
    hand_depth, object_depth = (depth_map(camera, (width, height), *surface) for surface in (hand, object))
    projected = pixels_of(camera, keypoints)
    pixels, share = (None, None) if detected is None else keypoint_error(projected, np.asarray(detected))
    return {
        "masked_iou": masked_iou(np.isfinite(object_depth), object_mask, hand_mask),
        "hand_iou": hand_silhouette_iou(np.isfinite(hand_depth), hand_mask, object_mask, projected),
        "keypoint_error_px": pixels,
        "keypoint_error_share": share,
        "occlusion_agreement": occlusion_agreement(hand_depth, object_depth, hand_mask, object_mask),
    }


@no_type_check
def masked_iou(
    drawn: Bool[ndarray, "h w"], object_mask: Bool[ndarray, "h w"], hand_mask: Bool[ndarray, "h w"]
) -> float:
    """Intersection over union of the drawn object and its mask over the pixels outside the hand's mask.

    0 where both are empty there.
    """
    _check_pictures(drawn=drawn, object_mask=object_mask, hand_mask=hand_mask)
    return _iou(drawn & ~hand_mask, object_mask & ~hand_mask)


@no_type_check
def hand_silhouette_iou(
    drawn: Bool[ndarray, "h w"],
    hand_mask: Bool[ndarray, "h w"],
    object_mask: Bool[ndarray, "h w"],
    keypoints: Float[ndarray, "21 2"],
) -> float:
    """Intersection over union of the drawn hand and its mask, without the forearm, which only the mask may hold.

    The forearm is taken to run on from the hand, in the direction from the base of the middle finger to the wrist
    (`keypoints` 9 and 0, in pixels). Pixels of the mask beyond the line through the wrist, at right angles to that,
    count only where a hand is drawn. Pixels of `object_mask` do not count: the object may hide the hand there. A hand
    that points at the camera, its bases within a pixel of the wrist, has no forearm to leave out. 0 where both are
    empty.
    """
    _check_pictures(drawn=drawn, hand_mask=hand_mask, object_mask=object_mask)
    _check_keypoints(keypoints, keypoints)
    if len(keypoints) != 21:
        raise MeshError(f"keypoints: expected 21 of them, came {len(keypoints)}; give OpenPose's")
    wrist, away = keypoints[0], keypoints[0] - keypoints[9]
    row, column = np.indices(hand_mask.shape) + 0.5
    beyond = (column - wrist[0]) * away[0] + (row - wrist[1]) * away[1] > 0
    forearm = beyond & ~drawn & (np.linalg.norm(away) > 1)
    return _iou(drawn & ~object_mask, hand_mask & ~forearm & ~object_mask)


@no_type_check
def keypoint_error(
    projected: Float[ndarray, "k 2"], detected: Float[ndarray, "k 2"]
) -> tuple[float | None, float | None]:
    """Mean distance in pixels, and as a share of the longer side of the detected keypoints' box.

    Detected keypoints that are not finite do not count. None without any, and no share where the box has no size.
    """
    _check_keypoints(projected, detected)
    found = np.isfinite(detected).all(axis=1)
    if not found.any():
        return None, None
    error = float(np.linalg.norm(projected[found] - detected[found], axis=1).mean())
    side = float(np.ptp(detected[found], axis=0).max())
    return error, error / side if side else None


@no_type_check
def occlusion_agreement(
    hand_depth: Float[ndarray, "h w"],
    object_depth: Float[ndarray, "h w"],
    hand_mask: Bool[ndarray, "h w"],
    object_mask: Bool[ndarray, "h w"],
) -> float | None:
    """Where hand and object are both drawn: the share of pixels whose nearer one is the one that the masks show.

    Depths as of `render.depth_map`. Pixels in neither mask, or in both, do not count. None where none is left.
    """
    _check_pictures(hand_depth=hand_depth, object_depth=object_depth, hand_mask=hand_mask, object_mask=object_mask)
    told = np.isfinite(hand_depth) & np.isfinite(object_depth) & (hand_mask != object_mask)
    if not told.any():
        return None
    return float(((hand_depth < object_depth) == hand_mask)[told].mean())


# --- parts


def check_surfaces(hand: Any, object: Any) -> None:
    """Raises MeshError, in one line, where one has not the shapes and the numbers that a `Surface` has."""
    for name, surface in (("hand", hand), ("object", object)):
        check_surface(surface, name)


def check_surface(surface: Any, name: str = "surface") -> None:
    """As `check_surfaces`, of one."""
    if not isinstance(surface, tuple) or len(surface) != 2:
        raise MeshError(f"{name}: expected a Surface(vertices, faces), came {type(surface).__name__}; make one of it")
    checked_arrays(*surface, name)


def _check_pitch(pitch: float) -> None:
    if not (isinstance(pitch, int | float | np.number) and np.isfinite(pitch) and pitch > 0):
        raise MeshError(f"pitch: expected a length in metres above 0, came {pitch}; use {VOXEL}")


def _check_pictures(**pictures: ndarray) -> None:
    """Raises MeshError where they are not of one size."""
    shapes = {name: np.shape(picture) for name, picture in pictures.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 2 for shape in shapes.values()):
        raise MeshError(f"expected pictures of one height and width, came {shapes}; take all of one scene")


def _check_keypoints(projected: ndarray, detected: ndarray) -> None:
    if np.ndim(projected) != 2 or np.shape(projected)[1] != 2 or np.shape(projected) != np.shape(detected):
        raise MeshError(
            f"keypoints: expected two arrays of shape (k, 2), came {np.shape(projected)} and {np.shape(detected)}; "
            "give pixels"
        )


def _check_winding(surface: Surface, name: str) -> None:
    vertices, faces = _arrays(surface)
    a, b, c = np.moveaxis((vertices - vertices.mean(axis=0))[faces], 1, 0)
    if is_balanced(faces) and (a * np.cross(b, c)).sum() < 0:
        raise MeshError(f"{name}: expected faces wound outward, came inward ones; reverse them (a mirror turns them)")


def _arrays(surface: Surface) -> tuple[Float64[ndarray, "v 3"], Int[ndarray, "f 3"]]:
    return np.asarray(surface.vertices, np.float64), np.asarray(surface.faces, np.int64)


def _iou(a: Bool[ndarray, "h w"], b: Bool[ndarray, "h w"]) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


def _depth(distances: Float[ndarray, "p"]) -> float:
    return max(0.0, -float(distances.min()))


def _depth_to_vertex(object: Surface, inside: Float[ndarray, "p 3"]) -> float:
    return float(KDTree(np.asarray(object.vertices)).query(inside)[0].max(initial=0.0))


def _inside(
    vertices: Float[ndarray, "v 3"],
    faces: Int[ndarray, "f 3"],
    points: Float[ndarray, "p 3"],
    distance: Float[ndarray, "p"],
) -> Bool[ndarray, "p"]:
    """Winding number above one half, asked within the mesh's box alone."""
    inside = ((points >= vertices.min(axis=0)) & (points <= vertices.max(axis=0))).all(axis=1)
    if inside.any():
        inside[inside] = is_inside(vertices, faces, points[inside], distance[inside])
    return inside
