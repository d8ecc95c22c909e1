"""A stage of one's own in `refine`: before contact the fingers close by a few degrees more than the picture says.

python examples/own_stage.py
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Array, Key

from fgs_jax.config import FAST, RefineConfig
from fgs_jax.hands.mano import joint_angles, pose_from_joint_angles
from fgs_jax.picture.scene_files import load_scene
from fgs_jax.results.result import Result
from fgs_jax.solve.ahead import start_up
from fgs_jax.stages.hand_in_picture import with_hand
from fgs_jax.stages.refine import refine, stages_with
from fgs_jax.stages.states import Posed

SCENE = Path(__file__).parent / "scenes" / "tumbler"
BEND = np.radians(6.0)
PHASE = replace(FAST.opa.phases[0], steps=80)
QUICK = replace(
    FAST,
    opa=replace(FAST.opa, phases=(PHASE,), candidates=8, polish_evaluations=60),
    contact=replace(FAST.contact, steps=300, object_points=500),
    restarts=32,
    candidates=1,
    grid=32,
)
"""Less thorough than the default: it takes seconds."""


def close_fingers(state: Posed, config: RefineConfig, key: Key[Array, ""]) -> Posed:
    """Each joint but the thumb's bends by `BEND` more; contact starts from there, and E_h holds the hand to it."""
    angles = joint_angles(state.model, state.params.pose)
    closed = angles.at[:12, 2].add(BEND)
    params = replace(state.params, pose=pose_from_joint_angles(state.model, closed))
    return replace(state, scene=with_hand(state.scene, state.model, params), notes=(*state.notes, "fingers: closed"))


def main() -> dict[str, Result]:
    """The scene refined without the stage and with it."""
    scene, stages = load_scene(SCENE), stages_with("close fingers", close_fingers, after="object pose")
    results = {"without": refine(scene, QUICK), "with": refine(scene, QUICK, stages=stages)}
    moved = np.linalg.norm(np.subtract(*(result.hand_keypoints[0] for result in results.values())), axis=1)
    print(f"the stage moves the fingertips by {1e3 * moved[[8, 12, 16, 20]].mean():.1f} mm before contact")
    for name, result in results.items():
        measures = ", ".join(f"{key} {result.metrics[1][key]:.2f}" for key in ("mpd_mm", "fingers_in_contact"))
        print(f"{name:<8} {measures}, energy {result.candidates[0].energy:.1f}; notes: {'; '.join(result.notes)}")
    return results


if __name__ == "__main__":
    start_up()
    main()
