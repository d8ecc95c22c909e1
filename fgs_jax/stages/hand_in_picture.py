"""The hand in its picture: its parameters from whatever the scene has of it."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from numpy import ndarray

from fgs_jax.config import RefineConfig
from fgs_jax.errors import HandInputError, HandPoseWarning, HandShapeWarning, SceneError
from fgs_jax.hands.carry import axis_angle_params, carry_over, params_for
from fgs_jax.hands.files import hand_is_here, load_hand_model
from fgs_jax.hands.fit import fit_hand, warn_of_side
from fgs_jax.hands.kind import HandKind
from fgs_jax.hands.mano import hand_program, mano_kind
from fgs_jax.notes import heard, warn
from fgs_jax.picture.render import depth_map, pixels_of, sampled
from fgs_jax.picture.scene import Scene, confidence_of, mirrored, without_gaps
from fgs_jax.picture.scene_checks import check_scene, scene_notes
from fgs_jax.results.metrics.picture import hand_silhouette_iou
from fgs_jax.solve.ahead import jit_once
from fgs_jax.stages.reframing import reframe
from fgs_jax.stages.states import HandSeen
from fgs_jax.types import Camera, HandModel, HandParams, on_device

GROWTHS, GROWTH_VIEW = 21, 256
"""Sizes of the hand that are tried, and pixels along a side of the picture that they are compared in, at most."""


def see_hand(scene: Scene, config: RefineConfig, key: Key[Array, ""]) -> HandSeen:
    """A scene with a hand (parameters, keypoints or a posed mesh) to a posed right hand; nothing in it is random.

    Raises SceneError for a scene that `check_scene` refuses or that tells no hand, HandFileError and HandFitError.
    """
    check_scene(scene)
    notes, given, scene = scene_notes(scene), scene, right_handed(scene)
    model = load_hand_model(config.hand_model)
    with heard(lambda warning: notes.append(str(warning))):
        params = pose_hand(scene, model, given.side)
    scene, params, reframed = reframe(scene, model, params, config)
    notes += reframed
    growth = 1.0
    is_given = scene.hand_params is not None and hand_is_here(scene.hand_model)
    if not is_given and scene.keypoints_2d is not None:
        params, growth = grow_hand(scene, model, params, config.growth)
    if abs(growth - 1) > 0.005:
        larger = "larger" if growth > 1 else "smaller"
        notes.append(f"hand: {100 * abs(growth - 1):.0f} % {larger} than its keypoints alone say, to fill its mask")
    keypoints = keypoints_of_grown(scene, growth)
    grown = replace(with_hand(scene, model, params), keypoints_2d=keypoints)
    return HandSeen(given, grown, model, tuple(notes), growth)


def right_handed(scene: Scene) -> Scene:
    """The scene, or its mirror image where the hand is a left one, without gaps in its keypoints."""
    return without_gaps(mirrored(scene) if scene.side == "left" else scene)


def pose_hand(scene: Scene, model: HandModel, side: str | None = None) -> HandParams:
    """The scene's hand for `model`: its parameters, else a fit to its keypoints, else one to its mesh.

    Warns where the keypoints hardly speak for the side; `side` is the user's word for it, where the scene is a mirror
    image. Raises SceneError where the scene has none of the three.
    """
    if isinstance(note := scene.provenance.get("hand_pose"), str):
        warn(HandPoseWarning(f"hand: {note}"))
    has_mesh = _has_topology(model, scene)
    if scene.hand_params is not None:
        if hand_is_here(scene.hand_model):
            return _given(scene, scene.hand_params, model)
        if scene.keypoints_2d is None and not has_mesh:
            return axis_angle_params(carry_over(model, scene.hand_params))
        given = "its mesh" if scene.keypoints_2d is None else "its keypoints"
        warn(HandShapeWarning(f"hand: parameters of {scene.hand_model}, which is not here: fitted to {given} instead"))
    if scene.keypoints_2d is not None:
        params, cost = _fitted(scene, model)
        if scene.world_landmarks is not None:
            warn_of_side(model, float(_fitted(mirrored(scene), model)[1]) / float(cost), side=side or scene.side)
        return params
    if has_mesh:
        return _fit_to_mesh(model, jnp.asarray(scene.hand_vertices, jnp.float32))
    raise SceneError(
        "hand: expected its parameters, 21 keypoints, or a mesh of the model's own topology, got none of them: "
        "add keypoints_2d to the scene"
    )


def grow_hand(scene: Scene, model: HandModel, params: HandParams, most: float) -> tuple[HandParams, float]:
    """The hand larger or smaller about the middle of its keypoints, by up to a share `most`, and by what factor.

    The factor is that of the best silhouette, the one nearest to 1 where several are. Detectors put knuckles and tips
    within the flesh, so that a hand on its keypoints alone covers too little of the picture.
    """
    confidence = confidence_of(scene)
    if not (most and confidence.any()):
        return params, 1.0
    posed = hand_program(model, params)
    vertices, keypoints = np.asarray(posed.vertices, float), np.asarray(posed.keypoints, float)
    middle, faces = np.average(keypoints, axis=0, weights=confidence), np.asarray(model.closed_faces)

    def resized(points: Float[ndarray, "n 3"], factor: float) -> Float[ndarray, "n 3"]:
        return middle + factor * (points - middle)

    height, width = scene.object_mask.shape
    outline = np.clip(pixels_of(scene.camera, resized(vertices, 1 + most)), 0, [width, height]).astype(int)
    (left, top), (right, bottom) = outline.min(axis=0), outline.max(axis=0) + 1
    stride = max(1, -(-int(max(right - left, bottom - top)) // GROWTH_VIEW))
    hand_mask, object_mask = (
        mask[top:bottom:stride, left:right:stride] for mask in (scene.hand_mask, scene.object_mask)
    )
    if not hand_mask.any():
        return params, 1.0
    of_view = sampled(scene.camera, np.array([left, top]) + 0.5, stride)

    def silhouette_iou(factor: float) -> float:
        drawn = np.isfinite(depth_map(of_view, hand_mask.shape[::-1], resized(vertices, factor), faces))
        points = pixels_of(of_view, resized(keypoints, factor))
        return hand_silhouette_iou(drawn, hand_mask, object_mask, points)

    steps = sorted(np.linspace(-1.0, 1.0, GROWTHS), key=abs)
    factors = [float((1 + most) ** step) for step in steps]
    factor = factors[int(np.argmax([silhouette_iou(factor) for factor in factors]))]
    shift = (factor - 1) * (np.asarray(posed.joints, float)[0] - middle)
    scale, translation = factor * np.asarray(params.scale), np.asarray(params.translation) + shift
    return replace(params, scale=on_device(scale), translation=on_device(translation)), factor


def hand_of_own_size(state: HandSeen) -> HandParams:
    """The hand as large in the picture as it is seen, and as it was before it grew, so that it is nearer.

    How large it is, contact has to find. Beside an object of unknown size it stays, since that is as large as the hand.
    """
    if state.growth == 1 or state.scene.object.size == "unknown":
        return state.params
    return _similar(mano_kind(state.model), state.params, on_device(1 / state.growth))


def keypoints_of_grown(scene: Scene, growth: float) -> Float[ndarray, "21 2"] | None:
    """Where the keypoints of a hand are that has grown about their middle: what E_keypoint asks of it."""
    if scene.keypoints_2d is None or growth == 1:
        return scene.keypoints_2d
    confidence = confidence_of(scene)
    middle = np.average(np.where(confidence[:, None] > 0, scene.keypoints_2d, 0.0), axis=0, weights=confidence)
    return middle + growth * (scene.keypoints_2d - middle)


def with_hand(scene: Scene, model: HandModel, params: HandParams) -> Scene:
    """The scene with its hand posed by parameters of `model`, closed at the wrist."""
    params = axis_angle_params(params)
    vertices = np.asarray(hand_program(model, params).vertices, float)
    return replace(scene, hand_vertices=vertices, hand_faces=np.asarray(model.closed_faces), hand_params=params)


def _given(scene: Scene, params: HandParams, model: HandModel) -> HandParams:
    """The scene's parameters, for `model`."""
    try:
        return params_for(model, params, scene.hand_model, refits=scene.hand_vertices is not None)
    except HandInputError as error:
        raise SceneError(f"hand_{error}".replace(", came ", ", got ")) from error


def _has_topology(model: HandModel, scene: Scene) -> bool:
    """Whether the scene's mesh is one of this model: its vertices, and its faces, wherever each of them begins."""
    if scene.hand_vertices is None or scene.hand_vertices.shape != model.v_template.shape:
        return False
    ours, given = (
        {tuple(np.roll(face, -np.argmin(face))) for face in np.asarray(faces).tolist()}
        for faces in (model.faces, scene.posed_hand()[1])
    )
    return ours <= given


def _fitted(scene: Scene, model: HandModel) -> tuple[HandParams, Float[Array, ""]]:
    """Parameters and cost of a fit to the scene's keypoints, whatever its side."""
    given = (scene.keypoints_2d, confidence_of(scene), scene.world_landmarks)
    return _fit_to_keypoints(model, scene.camera, *(None if x is None else on_device(x) for x in given))


@jit_once
def _fit_to_keypoints(
    model: HandModel,
    camera: Camera,
    keypoints: Float[Array, "21 2"],
    confidence: Float[Array, "21"],
    landmarks: Float[Array, "21 3"] | None,
) -> tuple[HandParams, Float[Array, ""]]:
    fit = fit_hand(model, keypoints_2d=keypoints, camera=camera, world_landmarks=landmarks, confidence=confidence)
    missing = model.joint_shapedirs.shape[-1] - fit.params.betas.shape[0]
    return replace(fit.params, betas=jnp.pad(fit.params.betas, (0, missing))), fit.cost


@jit_once
def _similar(kind: HandKind, params: HandParams, factor: Float[Array, ""]) -> HandParams:
    return kind.similarity(kind.data, params, factor)


@jit_once
def _fit_to_mesh(model: HandModel, vertices: Float[Array, "v 3"]) -> HandParams:
    return fit_hand(model, vertices=vertices).params
