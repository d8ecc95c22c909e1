"""The benchmark of truth: its halves, its rows in files, and its medians."""

from collections import Counter
from zlib import crc32

import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose

from benchmarks.truth import COLUMNS, falls, row, seeds_of
from benchmarks.truth_scenes import of_row, row_of, similarity
from fgs_jax.types import HandParams


def test_the_halves_share_no_scene_and_have_all_numbers_of_fingers():
    choose, report = (seeds_of(half, 64) for half in ("choose", "report"))
    assert not set(choose) & set(report) and len(set(choose)) == len(set(report)) == 64
    for half in (choose, report):
        assert Counter((crc32(name.encode()) + seed) % 4 for name, seed in half) == dict.fromkeys(range(4), 16)


def test_a_row_holds_a_hand_and_a_pose():
    params = HandParams(
        *(jnp.arange(np.prod(shape) * 1.0).reshape(shape) for shape in ((10,), (15, 3), (3,), (3,), ()))
    )
    T = similarity(np.eye(3), np.array([1.0, 2.0, 3.0]), 1.5)
    back, pose = of_row(row_of(params, T))
    jax.tree.map(assert_allclose, back, params)
    assert_allclose(pose, T)


def values(before, after):
    return {"before": dict.fromkeys(COLUMNS.values(), before), "after": dict.fromkeys(COLUMNS.values(), after)}


def test_medians_leave_out_what_ended_in_an_error():
    scenes = [{**values(k, 2 * k), "seconds": k} for k in (1.0, 5.0, 2.0)] + [{"error": "no hand"}]
    cells = [cell.strip() for cell in row("case", scenes).split("|")]
    assert cells[1:4] == ["case", "3 of 4", "2.0 → 4.0"]
    assert cells[-2] == "2.0"


def test_what_falls_is_counted():
    """Keypoints fall in two of four, penetration in three, where it may also stay next to nothing; both in one."""
    pairs = [((4, 2), (5.9, 3.4)), ((4, 2), (3, 4)), ((4, 8), (3, 0.2)), ((4, 8), (0.1, 0.4))]
    results = [
        {when: {"object_mm": mm[k], "penetration_mm": deep[k]} for k, when in enumerate(("before", "after"))}
        for mm, deep in pairs
    ]
    assert falls("disturbed", results) == "| disturbed | 4 | 4.0 → 5.0 | 3.0 → 2.0 | 50 % | 75 % | 25 % |"
