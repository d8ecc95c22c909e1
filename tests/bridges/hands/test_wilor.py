"""WiLoR's results, and the pickles that it runs only where it is trusted."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fgs_bridges.hand_check import check_hand
from fgs_bridges.hands import HandFile
from fgs_bridges.types import HandEstimate
from fgs_bridges.wilor import Wilor, wilor_estimate
from fgs_jax.errors import ConfigError
from tests.bridges.hands.recorded_hands import HEIGHT, PICTURE, WIDTH, fails


def wilor_result(estimate: HandEstimate) -> dict[str, Any]:
    """The same hand as WiLoR-mini gives it: left hands un-mirrored, rotation vectors, vertices before translation."""
    assert estimate.pose is not None and estimate.rotation is not None and estimate.betas is not None
    assert estimate.K is not None and estimate.translation is not None and estimate.vertices is not None
    return {
        "hand_bbox": [1.0, 2.0, 3.0, 4.0],
        "is_right": float(estimate.side == "right"),
        "wilor_preds": {
            "global_orient": Rotation.from_matrix(estimate.rotation).as_rotvec().reshape(1, 1, 3),
            "hand_pose": Rotation.from_matrix(estimate.pose).as_rotvec()[None],
            "betas": estimate.betas[None],
            "pred_cam": np.ones((1, 3)),
            "pred_cam_t_full": estimate.translation[None],
            "scaled_focal_length": estimate.K[0, 0],
            "pred_vertices": (estimate.vertices - estimate.translation)[None],
            "pred_keypoints_2d": np.asarray(estimate.keypoints_2d)[None],
        },
    }


def test_wilors_result(estimates: list[HandEstimate], tmp_path: Path) -> None:
    for estimate in estimates:
        found = wilor_estimate(wilor_result(estimate), width=WIDTH, height=HEIGHT)
        assert found.side == estimate.side
        for name in ("pose", "rotation", "translation", "betas", "vertices", "K", "keypoints_2d"):
            np.testing.assert_allclose(getattr(found, name), getattr(estimate, name), atol=1e-5, err_msg=name)
    results = [wilor_result(estimate) for estimate in estimates]
    path = tmp_path / "wilor.json"
    path.write_text(json.dumps(results, default=lambda array: array.tolist()))
    read = HandFile(str(path))(PICTURE)
    assert [one.side for one in read] == ["right", "left"]
    assert check_hand(read[1]) < 0.05
    del results[0]["wilor_preds"]["pred_cam_t_full"]
    fails(
        "expected WiLoR-mini's result, got another .'pred_cam_t_full'",
        lambda: wilor_estimate(results[0], width=1, height=1),
    )


def test_wilor_runs_pickles_only_where_trusted(monkeypatch: pytest.MonkeyPatch, without: Callable[..., None]) -> None:
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))  # of which it asks nothing before WiLoR itself
    without("wilor_mini")
    with pytest.raises(
        ConfigError, match=r"runs wilor_final\.ckpt, detector\.pt, MANO_RIGHT\.pkl as pickles.*trust_pickle"
    ):
        Wilor()(PICTURE, ())
    fails(
        r"wilor: cannot be imported \(No module named 'wilor_mini.*\): see docs",
        Wilor(trust_pickle=True, folder="x"),
        PICTURE,
        (),
    )
