"""A tool's parameters against its own mesh: the check names the likely cause."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from fgs_bridges.geometry import hand_transform, mirror_estimate, rotation_matrices, rotation_vectors
from fgs_bridges.hand_check import check_hand
from fgs_bridges.types import HandEstimate
from fgs_jax.hands.mano import wrist_at_rest
from fgs_jax.types import HandModel
from tests.bridges.hands.recorded_hands import WIDTH, fails, posed


def test_check_names_the_cause(estimates: list[HandEstimate], model: HandModel) -> None:
    right, left = estimates
    assert right.betas is not None and right.rotation is not None and right.translation is not None
    assert right.vertices is not None and left.vertices is not None and left.translation is not None
    assert right.pose is not None
    wrist = np.asarray(wrist_at_rest(model, jnp.asarray(right.betas, jnp.float32)), float)
    pivoted = hand_transform(right.rotation, right.translation, wrist)[1]
    gentle = replace(
        right, pose=rotation_matrices(rotation_vectors(right.pose) / 4)
    )  # an angle past pi is another one's vector
    gentle = replace(gentle, vertices=posed(model, gentle))
    assert gentle.pose is not None
    added = Rotation.from_rotvec(Rotation.from_matrix(gentle.pose).as_rotvec() + np.asarray(model.pose_mean))
    raw = mirror_estimate(left, WIDTH)
    cases = {
        "the side: it is a right hand": replace(right, side="left"),
        "the side: its parameters are those of the hand in a mirror": replace(
            left, pose=raw.pose, rotation=raw.rotation
        ),
        "the pose mean: it was added": replace(gentle, pose=added.as_matrix()),
        "the pivot: it turns about the origin": replace(right, translation=pivoted),
        "the pivot: its translation is the wrist's place": replace(right, translation=right.translation + wrist),
        "the translation": replace(right, translation=right.translation + [0.0, 0.02, 0.5]),
        "another hand model": replace(right, vertices=right.vertices * 1.1),
    }
    for words, wrong in cases.items():
        fails(f"expected our layer within 1 mm of the tool's own vertices, got .*{words}", check_hand, wrong)
    fails("some are missing", check_hand, replace(right, vertices=None))
    fails("778 vertices, got 700 vertices", check_hand, replace(right, vertices=right.vertices[:700]))
