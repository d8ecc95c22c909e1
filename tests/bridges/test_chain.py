"""Models of every kind, one after the other: real classes, tiny, with random weights.

What they make means nothing, so nothing of it is looked at: that each takes what the one before it gave, that its
result is valid, and that all is recorded.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from fgs_bridges.config import generate_config
from fgs_bridges.hands import write_hands
from fgs_bridges.run_folder import STAGES, Run
from fgs_bridges.text_to_grasp import text_to_grasp
from fgs_bridges.types import HandEstimate
from fgs_jax.picture.scene_checks import check_scene
from fgs_jax.picture.scene_files import load_scene
from tests.bridges import tiny_shap_e
from tests.bridges.tiny_diffusion import save_tiny
from tests.bridges.tiny_vision import save_grounding_dino, save_sam, save_sam2

torch = pytest.importorskip("torch", reason='pip install "fgs-jax[bridges]"')
for package in ("transformers", "diffusers"):
    pytest.importorskip(package, reason='pip install "fgs-jax[bridges]"')

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers
TUMBLER = Path(__file__).parents[2] / "examples" / "scenes" / "tumbler"


def test_from_a_text_to_a_scene(tmp_path):
    """Stable Diffusion, GroundingDINO, SAM 2.1, SAM and Shap-E; the hand is a recorded one, for no network is tiny
    and open here."""
    torch.set_num_threads(1)
    shipped = load_scene(TUMBLER)
    assert shipped.keypoints_2d is not None
    seen = shipped.keypoints_2d * [64 / 640, 48 / 480]
    write_hands(
        tmp_path / "hand.json", [HandEstimate("right", keypoints_2d=seen, world_landmarks=shipped.world_landmarks)]
    )
    text = {"model": save_tiny(tmp_path / "sd"), "steps": 2, "height": 48, "width": 64}
    shape = {"model": str(tiny_shap_e.save(tmp_path / "shap_e")), "steps": 1, "grid": 16}
    seed = 1  # of weights whose masks leave a border and something of both
    stack = {
        "text_to_image": {"backend": "diffusers"} | text,
        "detector": {"backend": "grounding-dino", "model": save_grounding_dino(tmp_path / "dino", 3), "threshold": 0.0},
        "segmenter": {"backend": "sam2", "model": save_sam2(tmp_path / "sam2", seed)},
        "object_segmenter": {"backend": "sam", "model": save_sam(tmp_path / "sam", seed)},
        "hand": {"backend": "file", "path": str(tmp_path / "hand.json")},
        "object": {"backend": "shap-e"} | shape,
        "focal": 60,
    }
    for kind in ("text_to_image", "detector", "segmenter", "object_segmenter", "object"):
        stack[kind]["device"] = "cpu"
    run = Run(tmp_path / "run", "a hand drinks water from a mug", "mug", "right", generate_config(stack))
    assert text_to_grasp([run], until="scene", in_process=True, tell=lambda _: None) == {}

    scene = load_scene(run.stage("scene"))
    check_scene(scene)
    assert scene.image is not None and scene.image.shape == (48, 64, 3)
    assert not (scene.hand_mask & scene.object_mask).any()
    assert scene.object.watertight and scene.object.size == "unknown" and scene.side == "right"
    np.testing.assert_allclose(np.asarray(scene.camera.focal), 60)
    made = {stage: json.loads(run.record(stage).read_text())["provenance"] for stage in STAGES[:5]}
    chosen = [
        *(made["images"][name]["backend"] for name in ("interaction", "object")),
        made["boxes"]["backend"],
        *(made["masks"][name]["backend"] for name in ("hand", "object")),
        made["object"]["backend"],
    ]
    assert chosen == ["diffusers", "diffusers", "grounding-dino", "sam2", "sam", "shap-e"]
    assert scene.provenance["object"] == made["object"] and scene.provenance["masks"] == made["masks"]
    parts = [made["images"]["interaction"], made["boxes"], *made["masks"].values(), made["object"]]
    for part in parts:
        assert part["weights"] and all(len(digest) == 64 for digest in part["weights"].values())
        assert part["versions"]["torch"] and part["options"]
