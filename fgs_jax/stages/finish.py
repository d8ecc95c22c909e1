"""The last stage: the best candidate as a result, measured, in the frame that the scene was given in."""

from collections.abc import Sequence
from dataclasses import replace

import jax
import numpy as np
from jaxtyping import Array, Key

from fgs_jax.checks import check_value
from fgs_jax.config import RefineConfig
from fgs_jax.hands.mano import hand_program
from fgs_jax.results.measure import measure_result
from fgs_jax.results.result import Candidate, Result, mirrored_result
from fgs_jax.results.rivals import rivals
from fgs_jax.stages.contact import starts_of
from fgs_jax.stages.hand_in_picture import right_handed
from fgs_jax.stages.states import Touching
from fgs_jax.types import Grasp


def finish_grasp(state: Touching, config: RefineConfig, key: Key[Array, ""]) -> Result:
    """Sizes are of the given mesh again, and a left hand is a left hand; nothing in it is random."""
    check_value("finish: state", state, Touching)
    scene = replace(right_handed(state.given), camera=state.scene.camera)
    seen: Grasp = jax.tree.map(lambda x: np.asarray(x[0]), starts_of(state.poses, state.params, 1))
    candidates = [c._replace(grasp=_of_given_mesh(c.grasp, state.factor)) for c in state.candidates]
    before, after = _of_given_mesh(seen, state.factor), candidates[0].grasp
    hands = [hand_program(state.model, grasp.hand) for grasp in (before, after)]
    found = rivals(candidates, scene.object.vertices, config.rival_margin)
    result = Result(
        scene=scene,
        camera=scene.camera,
        config=config,
        before=before,
        after=after,
        hand_vertices=(np.asarray(hands[0].vertices, float), np.asarray(hands[1].vertices, float)),
        hand_faces=np.asarray(state.model.closed_faces),
        hand_keypoints=(np.asarray(hands[0].keypoints, float), np.asarray(hands[1].keypoints, float)),
        metrics=({}, {}),
        scale=state.alignment,
        poses=state.poses._replace(scale=state.factor * state.poses.scale),
        candidates=candidates,
        rivals=found,
        history=state.history,
        terms=state.terms,
        notes=state.notes + _rivals_note(candidates, found),
    )
    result = replace(result, metrics=(measure_result(result, state.model, 0), measure_result(result, state.model, 1)))
    if state.given.side == "left":
        result = mirrored_result(result, scene.object_mask.shape[1])
    return replace(result, scene=state.given)


def _rivals_note(candidates: Sequence[Candidate], found: Sequence[int]) -> tuple[str, ...]:
    if not found:
        return ()
    scores = ", ".join(f"{candidates[k].score:.1f} (candidate {k + 1})" for k in found)
    return (
        f"ambiguous: energy and picture cannot tell the grasp, of score {candidates[0].score:.1f}, from others, of "
        f"{scores}: look at them in the report",
    )


def _of_given_mesh(grasp: Grasp, factor: float) -> Grasp:
    """The grasp of a mesh that is `factor` times the given one as one of that."""
    return replace(grasp, scale=np.float32(factor) * grasp.scale)
