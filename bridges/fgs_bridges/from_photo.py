"""From a photo to a scene: what is given is used, and what is not is made by the named back end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from fgs_bridges.detect import choose
from fgs_bridges.estimates import SIDES, compared, of_side, params_of, posed_hand
from fgs_bridges.geometry import camera_matrix, is_box, mask_box, points_box, reframe_camera
from fgs_bridges.images import check_mask
from fgs_bridges.provenance import sha256
from fgs_bridges.segment import silhouette_mask, visible_masks
from fgs_bridges.types import Box, Detection, HandEstimate, Image, Mask, Mesh
from fgs_jax.config import FAST
from fgs_jax.errors import BridgeError, ConfigError
from fgs_jax.objects.mesh import ObjectMesh, load_object
from fgs_jax.objects.sheets import SURFACES
from fgs_jax.picture.keypoints import counted
from fgs_jax.picture.scene import CALIBRATED, Scene, camera_from_matrix
from fgs_jax.picture.scene_checks import check_scene
from fgs_jax.picture.upright import read_direction

HAND_MASKS = ("segmenter", "silhouette")


@dataclass(frozen=True, eq=False)
class Masks:
    """Visible parts."""

    hand: Mask
    object: Mask
    provenance: dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """What is known of a photo; what is None a back end makes."""

    object_name: str
    object_mesh: Mesh | Path | None = None
    object_size: str = "unknown"
    """ "metric" where the mesh is in metres; "unknown" where it is right up to its scale."""
    object_surface: str = "auto"
    """Whether an open mesh is a "solid" or a "sheet", as `load_object` takes it."""
    object_image: Image | None = None
    object_up: str | Sequence[float] | None = None
    """Where the top of an object that stands is: an axis of its mesh, "x", "-z" and so on, or three numbers."""
    side: str | None = None
    """The user's word; without it the detector's or the hand's."""
    hand_box: Box | None = None
    object_box: Box | None = None
    hand_mask: Mask | None = None
    object_mask: Mask | None = None
    estimate: HandEstimate | None = None
    K: Float[ndarray, "3 3"] | None = None
    """Pixels, corner convention."""
    focal: float | None = None
    """Pixels, in place of K, with the principal point in the picture's middle."""
    prompt: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Of what is given, by "image", "boxes", "hand", "masks", "object"."""


def scene_from_photo(
    image: Image,
    known: Known,
    *,
    backends: Mapping[str, Any] | None = None,
    hand_mask_from: str = "segmenter",
    seed: int = 0,
) -> Scene:
    """A scene that `fgs refine` refines.

    What is not known is made by `backends` (by kind: "detector", "segmenter", "hand", "object"): boxes where masks or
    the hand need them, the hand, masks, and the object's mesh from the photo and its mask. The camera is the given one,
    else the hand's, else an ordinary one; the scene's provenance says which.

    Raises BridgeError where a back end fails or nobody tells the side, ConfigError for options that mean nothing,
    SceneError and MeshError for what no grasp can be found from.
    """
    _check_options(known, hand_mask_from)
    _check_places(known, image)
    up = None if known.object_up is None else read_direction("object up", known.object_up)
    tools, made, side = backends or {}, dict[str, Any](known.provenance), known.side
    made.setdefault("image", "given")

    hand, thing = _place(known.hand_box, known.hand_mask, known.estimate), _place(known.object_box, known.object_mask)
    boxes = known.hand_box, known.object_box
    if hand is None or thing is None:
        found = find_boxes(image, known.object_name, side, backend_of(tools, "detector", "boxes, or masks"))
        notes = ["one of two boxes is not its own"] if hand or thing else []
        made["boxes"] = noted(tools["detector"], notes)
        hand, thing = hand or found[0], thing or found[1]
        boxes = hand.box, thing.box
    elif known.hand_box is not None or known.object_box is not None:
        made.setdefault("boxes", "given")

    if known.estimate is None:
        estimate, notes = estimate_hand(image, hand, side, backend_of(tools, "hand", "a hand estimate"))
        notes += ["its box is that of the hand's mask"] if boxes[0] is None else []
        made["hand"] = noted(tools["hand"], notes)
    else:
        estimate, notes = of_side(known.estimate, side)
        made["hand"] = _with_notes(made.get("hand", "given"), notes)

    hand_mask, object_mask = known.hand_mask, known.object_mask
    if hand_mask is None or object_mask is None:
        masks = find_masks(
            image,
            hand.box,
            thing.box,
            estimate,
            backends=tools,
            hand_mask_from=hand_mask_from,
            hand_mask=hand_mask,
            object_mask=object_mask,
        )
        hand_mask, object_mask, made["masks"] = masks.hand, masks.object, masks.provenance
    made.setdefault("masks", "given")

    if known.object_mesh is None:
        maker = backend_of(tools, "object", "an object mesh")
        mesh = _mesh(maker(image, object_mask, seed=seed), known)
        made["object"] = noted(maker, [])
    else:
        mesh = _mesh(known.object_mesh, known)
        path = known.object_mesh if isinstance(known.object_mesh, Path) else None
        made.setdefault("object", {"file": path.name, "sha256": sha256(path)} if path else "given")

    made["hand"] = _with_notes(made["hand"], compared(estimate))
    K, estimate, made["camera"] = _camera(image, known.K, known.focal, estimate)
    if known.K is not None or known.focal is not None:
        made["K_source"] = CALIBRATED
    if up is not None:
        made["object_up"] = "given"
    scene = Scene(
        camera=camera_from_matrix(K),
        object_mask=object_mask,
        hand_mask=hand_mask,
        **_hand_fields(estimate),
        object=mesh,
        image=image,
        object_image=known.object_image,
        hand_box=boxes[0],
        object_box=boxes[1],
        object_up=up,
        prompt=known.prompt,
        provenance=made,
    )
    check_scene(scene)
    return scene


def backend_of(backends: Mapping[str, Any], kind: str, instead: str) -> Any:
    """The back end of a kind. Raises ConfigError where there is none, with what could be given in its place."""
    if kind not in backends:
        raise ConfigError(f"{kind}: expected a back end, got none; name one, or give {instead}")
    return backends[kind]


def find_boxes(image: Image, object_name: str, side: str | None, detector: Any) -> tuple[Detection, Detection]:
    """The hand and the object that belong together."""
    return choose(detector(image, object_name), side)


def estimate_hand(
    image: Image, hand: Detection, side: str | None, reconstructor: Any
) -> tuple[HandEstimate, list[str]]:
    """The hand in a box, and notes. Its side is the user's, else what detector and hand say together.

    Raises BridgeError where these two do not agree.
    """
    found = reconstructor(image, (replace(hand, side=side or hand.side),))
    if len(found) != 1:
        raise BridgeError(f"hand: expected one hand for one box, got {len(found)}; give a box about one hand")
    if side is None and hand.side not in (None, found[0].side):
        raise BridgeError(
            f"side: the detector says {hand.side}, the hand's tool {found[0].side}; look at the picture, and say "
            "--side right or --side left"
        )
    return of_side(found[0], side)


def find_masks(
    image: Image,
    hand_box: Box,
    object_box: Box,
    estimate: HandEstimate,
    *,
    backends: Mapping[str, Any],
    hand_mask_from: str = "segmenter",
    hand_mask: Mask | None = None,
    object_mask: Mask | None = None,
) -> Masks:
    """Masks of both, of which one may be given and then stays as it is.

    From back end "segmenter", for the object from "object_segmenter" where there is one; the hand's from the posed hand
    where `hand_mask_from` is "silhouette". GrabCut is shown the hand's keypoints, as what is the hand and what is not
    the object; they would mislead the others, which take a hidden fingertip for the object in front of it.
    """
    given = {name for name, mask in (("hand", hand_mask), ("object", object_mask)) if mask is not None}
    made: dict[str, Any] = dict.fromkeys(given, "given")
    silhouette = hand_mask is None and hand_mask_from == "silhouette"
    if silhouette:
        hand_mask, made["hand"] = _silhouette(estimate, image), "silhouette of the posed hand"
    for name, box in (("hand", hand_box), ("object", object_box)):
        if name in made:
            continue
        kind = "object_segmenter" if name == "object" and "object_segmenter" in backends else "segmenter"
        segmenter = backend_of(backends, kind, "masks")
        mask = segmenter(image, box=box, **_seeds(segmenter, estimate, inside=name == "hand"))
        made[name] = noted(segmenter, [])
        hand_mask, object_mask = (mask, object_mask) if name == "hand" else (hand_mask, mask)
    assert hand_mask is not None and object_mask is not None
    for name, mask in (("hand", hand_mask), ("object", object_mask)):
        check_mask(name, mask, image)
    if given:
        hand_mask, object_mask = (
            (hand_mask, object_mask & ~hand_mask) if "hand" in given else (hand_mask & ~object_mask, object_mask)
        )
    else:
        hand_mask, object_mask = visible_masks(hand_mask, object_mask, silhouette=silhouette)
    return Masks(hand_mask, object_mask, made)


def noted(backend: Any, notes: Sequence[str]) -> dict[str, Any]:
    """A back end's provenance with more notes, in values that JSON knows."""
    made = backend.provenance()
    return replace(made, notes=(*made.notes, *notes)).as_dict()


def check_box(name: str, box: Any) -> None:
    """Raises BridgeError for what is not (left, top, right, bottom)."""
    if not is_box(box):
        came = np.asarray(box).tolist()
        raise BridgeError(f"{name}: expected left top right bottom with left < right, top < bottom, got {came}")


def _check_options(known: Known, hand_mask_from: str) -> None:
    if known.side not in (None, *SIDES):
        raise ConfigError(f"side: expected right or left, got {known.side}")
    if known.object_size not in ("metric", "unknown"):
        raise ConfigError(f"object size: expected metric or unknown, got {known.object_size}")
    if known.object_surface not in SURFACES:
        raise ConfigError(f"object surface: expected auto, solid or sheet, got {known.object_surface}")
    if hand_mask_from not in HAND_MASKS:
        raise ConfigError(f"hand mask: expected it from {' or '.join(HAND_MASKS)}, got {hand_mask_from}")
    if known.K is not None and known.focal is not None:
        raise ConfigError("camera: expected K or a focal length, got both; leave one out")
    if known.focal is not None and not (np.isfinite(known.focal) and known.focal > 0):
        raise ConfigError(f"focal: expected a positive number of pixels, got {known.focal}; correct it")


def _check_places(known: Known, image: Image) -> None:
    for name, box in (("hand box", known.hand_box), ("object box", known.object_box)):
        if box is not None:
            check_box(name, box)
    for name, mask in (("hand", known.hand_mask), ("object", known.object_mask)):
        if mask is not None:
            check_mask(name, mask, image)


def _place(box: Box | None, mask: Mask | None, estimate: HandEstimate | None = None) -> Detection | None:
    """Where a thing is: its given box, else the one about its given mask or, wider by a tenth, about its keypoints."""
    if box is not None:
        return Detection(np.asarray(box, float))
    if mask is not None and mask.any():
        return Detection(mask_box(mask))
    if estimate is None or estimate.keypoints_2d is None or not counted(estimate.keypoint_confidence).any():
        return None
    around = points_box(estimate.keypoints_2d[counted(estimate.keypoint_confidence)])
    return Detection(around + 0.1 * (around[2:] - around[:2]).max() * np.array([-1, -1, 1, 1]))


def _with_notes(made: Any, notes: Sequence[str]) -> Any:
    if not notes:
        return made
    return made | {"notes": [*made.get("notes", []), *notes]} if isinstance(made, dict) else "; ".join([made, *notes])


def _seeds(segmenter: Any, estimate: HandEstimate, *, inside: bool) -> dict[str, Any]:
    if getattr(segmenter, "BACKEND", "") != "grabcut" or estimate.keypoints_2d is None:
        return {}
    if not np.isfinite(estimate.keypoints_2d).all():  # of those that were not found; a skeleton needs all
        return {}
    return {"points": estimate.keypoints_2d, "point_labels": np.full(21, int(inside))}


def _silhouette(estimate: HandEstimate, image: Image) -> Mask:
    posed = posed_hand(estimate)
    if posed is None or estimate.K is None:
        raise BridgeError(
            "hand mask: expected a posed hand for its silhouette, got none; take a back end that gives one, such as "
            "hamer, or hand_mask: segmenter"
        )
    return silhouette_mask(*posed, estimate.K, image.shape[:2])


def _mesh(mesh: Mesh | Path, known: Known) -> ObjectMesh:
    source = mesh if isinstance(mesh, Path) else (mesh.vertices, mesh.faces)
    advice = "give --object-size unknown (object_size in Python)"
    return load_object(source, known.object_size, known.object_name, surface=known.object_surface, advice=advice)


def _camera(
    image: Image, K: Float[ndarray, "3 3"] | None, focal: float | None, estimate: HandEstimate
) -> tuple[Float[ndarray, "3 3"], HandEstimate, str]:
    """The scene's camera, the hand before it, and where it is from."""
    height, width = image.shape[:2]
    if K is None and focal is None and estimate.K is not None:
        return estimate.K, estimate, "that of the hand's tool"
    if K is not None:
        said = "given"
    elif focal is not None:
        said = f"focal length of {focal:g} px given; the principal point is assumed in the middle"
    else:
        focal = FAST.ordinary_focal * max(height, width)
        said = (
            f"assumed: focal length of {focal:g} px, {FAST.ordinary_focal:g} longer sides; the photo's own is not known"
        )
        if estimate.translation is not None or estimate.vertices is not None:
            raise BridgeError("camera: expected the one that the hand is posed for, got none; give --focal or --camera")
    K = np.asarray(camera_matrix(float(focal or 0), width, height) if K is None else K, float)
    return K, _before(estimate, K), said


def _before(estimate: HandEstimate, K: Float[ndarray, "3 3"]) -> HandEstimate:
    """The hand as another camera sees it: where it was in the picture, at the depth that gives it the same size."""
    posed = estimate.translation is not None or estimate.vertices is not None
    if not posed or estimate.K is None or np.allclose(estimate.K, K):
        return replace(estimate, K=K)
    nearer = reframe_camera(estimate, float(K[[0, 1], [0, 1]].mean())).estimate
    assert nearer.translation is not None and nearer.K is not None
    depth = nearer.translation[2]
    moved = np.append((nearer.K[:2, 2] - K[:2, 2]) * depth / K[[0, 1], [0, 1]], 0.0)
    vertices = None if nearer.vertices is None else nearer.vertices + moved
    return replace(nearer, K=K, translation=nearer.translation + moved, vertices=vertices)


def _hand_fields(estimate: HandEstimate) -> dict[str, Any]:
    posed, params = posed_hand(estimate), params_of(estimate)
    vertices, faces = (None, None) if posed is None else posed
    return {
        "side": estimate.side,
        "hand_vertices": vertices,
        "hand_faces": faces,
        "hand_params": params,
        "hand_model": Scene.hand_model if params is None else estimate.hand_model,
        "keypoints_2d": estimate.keypoints_2d,
        "keypoint_confidence": estimate.keypoint_confidence,
        "world_landmarks": estimate.world_landmarks,
    }
