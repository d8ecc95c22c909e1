"""How good a grasp is: penetration, shared volume, contact, and how well the hand and the object fit the picture.

Host side, numpy, float64, on the meshes as they are. Inside is where the generalised winding number is above one half
(`objects`), so a hand that overlaps itself, a mesh with holes and an object of overlapping parts have an inside too.
Hand and object stand in one frame, in metres. Works that measure "penetration" or "contact" mean different things by
it; the variants stand here side by side, each with the work that it comes from in its description.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int
from numpy import ndarray
from scipy.spatial import KDTree

from fgs_jax import hand_files
from fgs_jax.errors import MeshError
from fgs_jax.hand_anatomy import FINGER_JOINTS, FINGERS
from fgs_jax.objects import ObjectMesh, _distance, _lid, _winding, is_balanced
from fgs_jax.render import _candidates, depth_map, pixels_of
from fgs_jax.types import Camera

CONTACT = 0.01
"""Metres from the other surface within which the paper counts a vertex as in contact."""
FINGER_CONTACT = 0.003
"""Metres from the object within which a finger touches it."""
SURFACE_POINTS = 2000
"""Points of the object's surface that stand for its area."""
VOXEL = 0.001
"""Side of the voxels of `voxel_intersection_volume`, metres."""
_MOST_VOXELS = 2_000_000
"""A box of more than this is cut into larger voxels; the overlap with a hand holds fewer."""
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


def grasp_metrics(
    hand: Surface, object: Surface, fingers: Int[ndarray, "v"] | None = None, pitch: float = VOXEL
) -> dict[str, float | None]:
    """All of `GRASP_METRICS`, in the units of their names; shares are from 0 to 1.

    `fingers`: of each hand vertex, see `fingers_of_vertices`. `fingers_in_contact` is None without, and `siv_cm3` is
    None where `solid_intersection_volume` gives a reason.

    Raises MeshError for a mesh without a face, with a vertex that is not finite, or closed and wound inside out.
    """
    for name, surface in (("hand", hand), ("object", object)):
        _check(surface, name)
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


def signed_distances(surface: Surface, points: Float[Array | ndarray, "p 3"]) -> Float64[ndarray, "p"]:
    """`objects.exact_signed_distance`, in metres, which asks for the inside only within the surface's box."""
    vertices, faces = _arrays(surface)
    points = np.asarray(points, np.float64)
    if not len(points):
        return np.zeros(0)
    distance = _distance(vertices, faces, points)
    return np.where(_inside(vertices, faces, points), -distance, distance)


def maximal_penetration_depth(hand: Surface, object: Surface) -> float:
    """MPD (Sec. 4.2), metres: how far the deepest hand vertex inside the object is from its surface; 0 without one.

    It cannot see an object that passes between the vertices: see `object_depth_in_hand`.
    """
    return _depth(signed_distances(object, hand.vertices))


def penetration_depth_to_vertex(hand: Surface, object: Surface) -> float:
    """`maximal_penetration_depth` to the object's nearest vertex (CPF, OakInk), which is never less; metres."""
    inside = signed_distances(object, hand.vertices) < 0
    return _depth_to_vertex(object, np.asarray(hand.vertices)[inside])


def object_depth_in_hand(hand: Surface, object: Surface, count: int = SURFACE_POINTS) -> float:
    """How far the deepest of `count` points of the object's surface lies inside the hand, metres; 0 without one."""
    return _depth(signed_distances(hand, sample_surface(object, count)))


def contact_ratio(hand: Surface, object: Surface, within: float = CONTACT) -> float:
    """Share of the object's area that is less than `within` metres from the hand, or inside it."""
    return float((signed_distances(hand, sample_surface(object)) < within).mean())


def contact_ratio_of_vertices(hand: Surface, object: Surface, within: float = CONTACT) -> float:
    """CR as the paper defines it (supplement C): `contact_ratio` over object vertices in place of area.

    Vertices crowd where a mesh is fine, so this depends on how the object is cut into triangles.
    """
    return float((signed_distances(hand, object.vertices) < within).mean())


def contact_ratio_hand_over_object(hand: Surface, object: Surface, within: float = CONTACT) -> float:
    """The other reading of the paper: hand vertices in contact over all object vertices; it may exceed 1."""
    return float((signed_distances(object, hand.vertices) < within).sum() / len(object.vertices))


def fingers_of_vertices(weights: Float[Array | ndarray, "v 16"]) -> Int[ndarray, "v"]:
    """The finger that moves each vertex most, as an index into `FINGERS`; -1 for the palm and the wrist.

    `weights`: `HandModel.weights`. A finger is all of its three joints, the ball of the thumb included.
    """
    finger_of_joint = np.full(16, -1)
    for finger, joints in enumerate(FINGER_JOINTS):
        finger_of_joint[list(joints)] = finger
    return finger_of_joint[np.argmax(np.asarray(weights), axis=1)]


def fingers_of_hand_mesh(hand: Surface) -> Int[ndarray, "v"] | None:
    """`fingers_of_vertices` of a mesh that was made with an open hand model; None for any other mesh.

    Known by its faces: some file formats keep the number of vertices and not their order.
    """
    for name in ("open_hand", "open_hand_full"):
        arrays = hand_files.read_hand_file(hand_files.locate_hand_file(name)[1])
        if len(hand.vertices) == len(arrays["v_template"]):
            model, mesh = ({tuple(face) for face in np.sort(faces, axis=1)} for faces in (arrays["f"], hand.faces))
            if model <= mesh:
                return fingers_of_vertices(arrays["weights"])
    return None


def fingers_in_contact(
    distances: Float[ndarray, "v"], fingers: Int[ndarray, "v"], within: float = FINGER_CONTACT
) -> Bool[ndarray, "5"]:
    """Which of `FINGERS` have a vertex less than `within` from the object, or inside it.

    `distances`: `signed_distances` of the hand's vertices to the object. `fingers`: `fingers_of_vertices`.
    """
    return np.array([(distances[fingers == finger] < within).any() for finger in range(len(FINGERS))])


def sample_surface(surface: Surface, count: int = SURFACE_POINTS) -> Float64[ndarray, "{count} 3"]:
    """Points at equal steps of area over the faces, each face filled evenly; always the same ones."""
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


def solid_intersection_volume(hand: Surface, object: Surface) -> SolidIntersection:
    """SIV (Sec. 4.2): the volume of the exact boolean of both meshes (manifold3d).

    A boolean counts what a mesh overlaps itself in twice; `voxel_intersection_volume` counts it once. There is no
    volume where a mesh is open or not a manifold, and `obstacle` says which.
    """
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


def voxel_intersection_volume(hand: Surface, object: Surface, pitch: float = VOXEL) -> float:
    """Volume of the voxels whose centres lie inside both meshes, by winding number, in cubic metres.

    What lies inside a mesh twice counts once, and a mesh with holes has an inside. The box that both meshes share is
    cut into equal voxels of at most `pitch` metres a side: 2 million of them at most, else larger ones.

    For the open hand about a ball of 3 cm, voxels of 1 mm are off by 0.004 cm3 of 0.05, 0.01 of 0.4, and 0.03 of 6.3
    (root mean square over rotations).
    """
    meshes = [_arrays(hand), _arrays(object)]
    low = np.max([vertices.min(axis=0) for vertices, _ in meshes], axis=0)
    size = np.min([vertices.max(axis=0) for vertices, _ in meshes], axis=0) - low
    if (size <= 0).any():
        return 0.0
    while (shape := np.ceil(size / pitch)).prod() > _MOST_VOXELS:
        pitch *= 1.1
    side = size / shape
    nx, ny, nz = (int(count) for count in shape)
    inside = np.ones((nx, ny, nz), bool)
    for vertices, faces in meshes:
        # A lid makes the mesh closed; what it adds, for the few faces that it has, is then taken off again.
        lidded, lid = _lid(ObjectMesh(vertices, faces, "", "metric", (), False))
        winding = _grid_winding((lidded - low) / side, np.concatenate([faces, lid]), (nx, ny, nz))
        if len(lid) and inside.any():
            centres = low + (np.argwhere(inside) + 0.5) * side
            winding = winding.astype(float)
            winding[inside] -= _winding(lidded, lid, centres)
        inside &= winding > 0.5
    return float(inside.sum() * side.prod())


def surface_voxel_intersection_volume(hand: Surface, object: Surface, pitch: float = _SURFACE_VOXEL) -> float:
    """GraspTTA's volume: voxels on the object's SURFACE whose centres lie inside the hand, in cubic metres.

    For comparison only: a hand deep inside a large object meets none of them. A voxel is on the surface where it holds
    a corner of a face, once faces are split until no edge is longer than half a voxel, as trimesh does.
    """
    (hand_vertices, hand_faces), (vertices, faces) = _arrays(hand), _arrays(object)
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
    voxels = np.unravel_index(np.unique(np.concatenate(filled)), tuple(shape))
    centres = pitch * (origin + np.stack(voxels, axis=1))
    return float(_inside(hand_vertices, hand_faces, centres).sum() * pitch**3)


# --- the picture


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


def masked_iou(
    drawn: Bool[ndarray, "h w"], object_mask: Bool[ndarray, "h w"], hand_mask: Bool[ndarray, "h w"]
) -> float:
    """Intersection over union of the drawn object and its mask over the pixels outside the hand's mask.

    0 where both are empty there.
    """
    return _iou(drawn & ~hand_mask, object_mask & ~hand_mask)


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
    wrist, away = keypoints[0], keypoints[0] - keypoints[9]
    row, column = np.indices(hand_mask.shape) + 0.5
    beyond = (column - wrist[0]) * away[0] + (row - wrist[1]) * away[1] > 0
    forearm = beyond & ~drawn & (np.linalg.norm(away) > 1)
    return _iou(drawn & ~object_mask, hand_mask & ~forearm & ~object_mask)


def keypoint_error(
    projected: Float[ndarray, "k 2"], detected: Float[ndarray, "k 2"]
) -> tuple[float | None, float | None]:
    """Mean distance in pixels, and as a share of the longer side of the detected keypoints' box.

    Detected keypoints that are not finite do not count. None without any, and no share where the box has no size.
    """
    found = np.isfinite(detected).all(axis=1)
    if not found.any():
        return None, None
    error = float(np.linalg.norm(projected[found] - detected[found], axis=1).mean())
    side = float(np.ptp(detected[found], axis=0).max())
    return error, error / side if side else None


def occlusion_agreement(
    hand_depth: Float[ndarray, "h w"],
    object_depth: Float[ndarray, "h w"],
    hand_mask: Bool[ndarray, "h w"],
    object_mask: Bool[ndarray, "h w"],
) -> float | None:
    """Where hand and object are both drawn: the share of pixels whose nearer one is the one that the masks show.

    Depths as of `render.depth_map`. Pixels in neither mask, or in both, do not count. None where none is left.
    """
    told = np.isfinite(hand_depth) & np.isfinite(object_depth) & (hand_mask != object_mask)
    if not told.any():
        return None
    return float(((hand_depth < object_depth) == hand_mask)[told].mean())


# --- parts


def _check(surface: Surface, name: str) -> None:
    vertices, faces = _arrays(surface)
    if not len(faces) or not np.isfinite(vertices).all():
        raise MeshError(f"{name}: expected a mesh of finite vertices, came nan, infinity or no face; check its pose")
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
    vertices: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"], points: Float[ndarray, "p 3"]
) -> Bool[ndarray, "p"]:
    """Winding number above one half, asked within the mesh's box alone."""
    inside = ((points >= vertices.min(axis=0)) & (points <= vertices.max(axis=0))).all(axis=1)
    if inside.any():
        inside[inside] = _winding(vertices, faces, points[inside]) > 0.5
    return inside


def _grid_winding(
    vertices: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"], shape: tuple[int, int, int]
) -> Int[ndarray, "x y z"]:
    """Winding numbers of a closed mesh at the centres of a grid's unit cells.

    A line up through a column of cells leaves the mesh wherever a face looks up, and enters it where one looks down.
    Each face adds its sign to all centres below it. Exact, as every edge decides the same way for both of its faces.
    """
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    change = np.zeros((shape[0], shape[1], shape[2] + 1), np.int16)
    for face, x, y in _candidates(corners[:, :, :2], np.ones(len(faces), bool), shape[:2]):
        px, py = x + 0.5, y + 0.5
        sign = np.zeros(len(face), np.int16)
        for a, b in ((0, 1), (1, 2), (2, 0)):
            start, end = corners[face, a], corners[face, b]
            rises = (start[:, 1] <= py).astype(np.int16) - (end[:, 1] <= py)
            lower, upper = np.where(rises[:, None] > 0, (start, end), (end, start))
            crosses = (px - lower[:, 0]) * (upper[:, 1] - lower[:, 1]) < (upper[:, 0] - lower[:, 0]) * (
                py - lower[:, 1]
            )
            sign += np.where(crosses, rises, 0).astype(np.int16)
        hit = np.flatnonzero(sign)
        normal, corner = normals[face[hit]], corners[face[hit]]
        offset = (px[hit] - corner[:, 0, 0]) * normal[:, 0] + (py[hit] - corner[:, 0, 1]) * normal[:, 1]
        steep = np.divide(offset, normal[:, 2], out=np.zeros(len(hit)), where=normal[:, 2] != 0)
        z = np.clip(corner[:, 0, 2] - steep, corner[:, :, 2].min(axis=1), corner[:, :, 2].max(axis=1))
        cells_below = np.clip(np.ceil(z - 0.5), 0, shape[2]).astype(int)
        np.add.at(change, (x[hit], y[hit], cells_below), sign[hit])
    # change[k] counts for the cells before k.
    return np.cumsum(change[:, :, ::-1], axis=2, dtype=np.int16)[:, :, -2::-1]
