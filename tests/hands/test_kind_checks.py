"""A hand of one's own whose functions do not fit: each mistake is one line, before anything is compiled."""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import pytest

from fgs_jax.errors import ArgumentError
from fgs_jax.hands.kind import HandKind, PosePrior
from fgs_jax.hands.kind_checks import check_kind
from fgs_jax.types import Hand, HandParams

PARAMS = HandParams(betas=jnp.zeros(0), pose=jnp.zeros(1))


def tetrahedron(data: Any, params: HandParams) -> Hand:
    vertices = params.scale * jnp.eye(4, 3) + params.translation[None]
    return Hand(vertices, vertices[:1], vertices[:2])


def closed_rather(data: Any, params: HandParams) -> PosePrior:
    return PosePrior(params.pose, jnp.zeros(1), jnp.ones(1))


def bends(data: Any, params: HandParams) -> float:
    return 1.0


def without_joints(data: Any, params: HandParams) -> Any:
    return tetrahedron(data, params).vertices


def flat(data: Any, params: HandParams) -> Hand:
    posed = tetrahedron(data, params)
    return posed._replace(vertices=posed.vertices[:, :2])


def small(data: Any, params: HandParams) -> Hand:
    posed = tetrahedron(data, params)
    return posed._replace(vertices=posed.vertices[:3])


def of_another(data: Any, params: Any) -> Hand:
    return params.opening


KIND = HandKind(
    data=(),
    faces=jnp.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]]),
    regions=jnp.array([0, 0, 1, -1]),
    finger_of_keypoint=jnp.array([0, 1]),
    finger_of_vertex=jnp.array([0, 0, 1, 1]),
    region_count=2,
    pose=tetrahedron,
    prior=closed_rather,
)


def test_a_kind_that_fits_passes():
    check_kind(KIND, PARAMS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pose": without_joints}, r"hand: pose: what it returns: expected a Hand, got float32 of shape \(4, 3\)"),
        ({"pose": flat}, r"hand: pose: what it returns.vertices: expected floats of shape \(v, 3\)"),
        ({"pose": small}, "hand: pose: expected 4 vertices, one for each of regions, got 3"),
        (
            {"pose": of_another},
            "hand: pose: expected a function .* no attribute 'opening' in test_kind_checks.py, line",
        ),
        (
            {"finger_of_keypoint": jnp.array([0])},
            "hand: pose: expected 1 keypoints, one for each of finger_of_keypoint, got 2",
        ),
        ({"faces": KIND.faces + 1}, "hand: faces: expected numbers below 4, got 4"),
        ({"rim": jnp.array([4])}, "hand: rim: expected numbers below 4, got 4"),
        ({"region_count": 1}, "hand: regions: expected numbers below 1, got 1"),
        ({"prior": bends}, "hand: prior: what it returns: expected a PosePrior, got float32"),
        ({"lengths": (False, True)}, "hand: lengths: expected the structure of the state, .*HandState"),
    ],
)
def test_what_does_not_fit_is_one_line(changes, message):
    with pytest.raises(ArgumentError, match=message) as error:
        check_kind(replace(KIND, **changes), PARAMS)
    assert "\n" not in str(error.value)
