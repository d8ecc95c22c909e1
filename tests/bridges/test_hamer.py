"""HaMeR: what its output means, its checkpoint without pickles, and end to end where it is installed."""

import os
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy import ndarray

from fgs_bridges import hamer
from fgs_bridges.hand_check import check_hand
from fgs_bridges.registry import create
from fgs_bridges.types import Detection
from fgs_jax.errors import BridgeError, BridgeUnavailable
from fgs_jax.hands.files import load_hand_model
from fgs_jax.mirror import mirrored_points
from fgs_jax.testing import mirrored_mano as mirrored
from fgs_jax.testing import synthetic_mano
from fgs_jax.testing import write_mano_npz as write_npz
from tests.bridges import tiny_hamer

torch = pytest.importorskip("torch", reason='torch is not installed: pip install "fgs-jax[bridges]"')
WIDTH, HEIGHT = 640, 480
RIGHT = Detection(np.array([400.0, 100, 500, 220]), side="right", score=0.9)
LEFT = Detection(np.array([50.0, 60, 160, 190]), side="left", score=0.8)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def output(rng: np.random.Generator, count: int = 3) -> dict[str, ndarray]:
    """What HaMeR gives, with random numbers."""
    turns = np.linalg.qr(rng.normal(size=(count, 16, 3, 3)))[0]
    turns *= np.sign(np.linalg.det(turns))[..., None, None]
    return {
        "global_orient": turns[:, :1],
        "hand_pose": turns[:, 1:],
        "betas": rng.normal(size=(count, 10)),
        "pred_cam": np.column_stack([rng.uniform(4, 8, count), rng.normal(0, 0.03, (count, 2))]),
        "pred_vertices": rng.uniform(-0.06, 0.06, (count, 20, 3)),
        "pred_keypoints_3d": rng.uniform(-0.06, 0.06, (count, 21, 3)),
        "box_center": rng.uniform(150, 450, (count, 2)),
        "box_size": rng.uniform(100, 300, count),
        "right": np.array([1.0, 0.0, 1.0])[:count],
    }


def test_output_is_placed_as_hamers_demo_places_it(rng: np.random.Generator) -> None:
    """The demo's own lines: tx changes its sign for a left hand, and x of its vertices."""
    out = output(rng)
    found = hamer.hamer_estimates(out, width=WIDTH, height=HEIGHT)
    focal = 5000 / 256 * 640
    for k, estimate in enumerate(found):
        sign = 2 * out["right"][k] - 1
        s, tx, ty = out["pred_cam"][k] * [1, sign, 1]
        (cx, cy), b = out["box_center"][k], out["box_size"][k]
        place = [tx + 2 * (cx - 320) / (b * s), ty + 2 * (cy - 240) / (b * s), 2 * focal / (b * s)]
        assert estimate.translation is not None and estimate.vertices is not None and estimate.K is not None
        np.testing.assert_allclose(estimate.translation, place, rtol=1e-12)
        np.testing.assert_allclose(estimate.vertices, out["pred_vertices"][k] * [sign, 1, 1] + place, rtol=1e-12)
        np.testing.assert_array_equal(estimate.K, [[focal, 0, 320], [0, focal, 240], [0, 0, 1]])
    assert [estimate.side for estimate in found] == ["right", "left", "right"]
    left, mirror = found[1], np.diag([-1.0, 1, 1])
    assert left.rotation is not None and left.pose is not None
    np.testing.assert_allclose(left.rotation, mirror @ out["global_orient"][1, 0] @ mirror)
    np.testing.assert_allclose(left.pose, mirror @ out["hand_pose"][1] @ mirror)


def test_keypoints_fall_in_the_crop_they_were_seen_in(rng: np.random.Generator) -> None:
    """A hand of 20 pixels: the crop's camera and the whole picture's differ by their perspective alone."""
    out = output(rng)
    out["box_size"][:] = 40.0
    for k, estimate in enumerate(hamer.hamer_estimates(out, width=WIDTH, height=HEIGHT)):
        sign = 2 * out["right"][k] - 1
        place = np.append(out["pred_cam"][k, 1:], 2 * 5000 / (256 * out["pred_cam"][k, 0]))
        seen = out["pred_keypoints_3d"][k] + place
        in_crop = 5000 / 256 * seen[:, :2] / seen[:, 2:] * [sign, 1]
        assert estimate.keypoints_2d is not None
        apart = np.linalg.norm(out["box_center"][k] + 40.0 * in_crop - estimate.keypoints_2d, axis=1)
        assert apart.max() < 0.25


def test_output_that_means_nothing(rng: np.random.Generator) -> None:
    cases = {
        "missing pred_cam": {"pred_cam": None},
        "finite numbers in betas": {"betas": np.full((3, 10), np.nan)},
        "before the camera": {"pred_cam": np.tile([-1.0, 0, 0], (3, 1))},
        "crops with a size": {"box_size": np.zeros(3)},
    }
    for words, change in cases.items():
        out = {name: value for name, value in (output(rng) | change).items() if value is not None}
        with pytest.raises(BridgeError, match=words) as caught:
            hamer.hamer_estimates(out, width=WIDTH, height=HEIGHT)
        assert "\n" not in str(caught.value)


# --- the checkpoint


@contextmanager
def named_classes(**bases: type):
    """Classes of these dotted names, for as long as they are pickled; not importable afterwards."""
    made, before = {}, {}
    for dotted, base in bases.items():
        module, _, name = dotted.rpartition(".")
        for part in (module.partition(".")[0], module):
            before.setdefault(part, sys.modules.get(part))
            sys.modules[part] = sys.modules.get(part) or ModuleType(part)
        made[name] = type(name, (base,), {"__module__": module})
        setattr(sys.modules[module], name, made[name])
    try:
        yield made
    finally:
        for part, module in before.items():
            del sys.modules[part]
            if module is not None:
                sys.modules[part] = module


def save_with_configuration(path: Path) -> None:
    """A Lightning checkpoint with a configuration of yacs and one of omegaconf, as HaMeR's training makes both."""
    names = {"yacs.config.CfgNode": dict, "omegaconf.dictconfig.DictConfig": object}
    with named_classes(**names) as classes:
        cfg = classes["CfgNode"]({"MODEL": classes["CfgNode"]({"IMAGE_SIZE": 256})})
        cfg.__dict__["__immutable__"] = True
        other = classes["DictConfig"]()
        other.__dict__ |= {"_content": {"a": 1}, "_metadata": {"ref_type": dict}}
        weights = OrderedDict({"backbone.weight": torch.arange(6.0).reshape(2, 3)})
        torch.save({"state_dict": weights, "hyper_parameters": {"cfg": cfg, "other": other}}, path)


def test_checkpoint_is_read_without_its_classes(tmp_path: Path) -> None:
    path = tmp_path / "hamer.ckpt"
    save_with_configuration(path)
    with pytest.raises(Exception, match="weights"):
        torch.load(path, weights_only=True)  # as load_hamer does from torch 2.6 on
    weights = hamer.read_checkpoint(path)
    assert list(weights) == ["backbone.weight"]
    torch.testing.assert_close(weights["backbone.weight"], torch.arange(6.0).reshape(2, 3))


class Program:
    """Pickled, it is a program that makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_checkpoint_with_a_program_runs_only_where_trusted(tmp_path: Path) -> None:
    path, made = tmp_path / "hamer.ckpt", tmp_path / "made"
    torch.save({"state_dict": {"w": torch.ones(1)}, "extra": Program(made)}, path)
    with pytest.raises(BridgeError, match=r"asks for (posix|nt)\.mkdir; nothing was run: set trust_pickle"):
        hamer.read_checkpoint(path)
    assert not made.exists()
    assert list(hamer.read_checkpoint(path, trust_pickle=True)) == ["w"]
    assert made.is_dir()


def test_damaged_and_empty_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "hamer.ckpt"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(BridgeError, match=r"cannot be read as a checkpoint .*download it again"):
        hamer.read_checkpoint(path)
    torch.save({"weights": {}}, path)
    with pytest.raises(BridgeError, match="expected weights under state_dict, got none"):
        hamer.read_checkpoint(path)


def test_random_weights_are_never_kept() -> None:
    model = torch.nn.ModuleDict({"backbone": torch.nn.Linear(2, 3), "mano": torch.nn.Linear(1, 1)})
    whole = {name: torch.full_like(value, 2.0) for name, value in model.state_dict().items()}
    part = {name: value for name, value in whole.items() if name != "mano.bias"}
    hamer.load_weights(model, part, Path("x.ckpt"))
    assert float(model.state_dict()["backbone.weight"].mean()) == 2.0
    with pytest.raises(BridgeError, match=r"1 are missing, backbone\.bias among them"):
        hamer.load_weights(model, {k: v for k, v in whole.items() if k != "backbone.bias"}, Path("x.ckpt"))
    with pytest.raises(BridgeError, match="expected the weights of this configuration"):
        hamer.load_weights(model, whole | {"backbone.bias": torch.ones(5)}, Path("x.ckpt"))


# --- the back end


def test_side_is_never_guessed() -> None:
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    with pytest.raises(BridgeError, match="expected boxes of hands, got none"):
        hamer.Hamer()(picture, ())
    with pytest.raises(BridgeError, match="got None for box 1"):
        hamer.Hamer()(picture, (RIGHT, Detection(LEFT.box)))


def test_files_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FGS_MANO_DIR", raising=False)
    picture, checkpoint = np.zeros((HEIGHT, WIDTH, 3), np.uint8), tmp_path / "_DATA/hamer_ckpts/checkpoints/hamer.ckpt"
    tool = hamer.Hamer(checkpoint=str(checkpoint))
    with pytest.raises(BridgeError, match=r"hamer\.ckpt: expected HaMeR's checkpoint.*fetch_demo_data"):
        tool(picture, (RIGHT,))
    tiny_hamer.write_files(tmp_path / "_DATA")
    checkpoint.write_bytes(b"")
    (tmp_path / "_DATA/data/mano/MANO_RIGHT.pkl").unlink()
    with pytest.raises(BridgeError, match=r"MANO_RIGHT\.pkl: expected MANO's right hand, there is none"):
        tool(picture, (RIGHT,))
    (tmp_path / "_DATA/hamer_ckpts/model_config.yaml").unlink()
    with pytest.raises(BridgeError, match=r"model_config\.yaml: expected HaMeR's configuration"):
        tool(picture, (RIGHT,))


def test_left_mano_file_is_refused(tmp_path: Path) -> None:
    write_npz(tmp_path / "MANO_RIGHT.npz", mirrored(synthetic_mano()))
    with pytest.raises(BridgeError, match="expected MANO's right hand, which is all that HaMeR takes, came a left one"):
        hamer.mano_arrays(tmp_path / "MANO_RIGHT.npz")


def test_without_hamer_the_line_says_where_it_is_from(tmp_path: Path, without: Callable[..., None]) -> None:
    without("hamer")
    with pytest.raises(BridgeUnavailable, match=r"hand\.hamer: needs hamer, not installed here: see docs"):
        create("hand", "hamer")
    checkpoint = tiny_hamer.write_files(tmp_path / "_DATA")
    checkpoint.write_bytes(b"")
    with pytest.raises(BridgeUnavailable, match="hamer: cannot be imported"):
        hamer.Hamer(checkpoint=str(checkpoint))(np.zeros((HEIGHT, WIDTH, 3), np.uint8), (RIGHT,))


@pytest.mark.skipif(
    find_spec("hamer") is None, reason="HaMeR is not installed: docs/bridges/hands.md says how to run this test"
)
def test_tiny_random_hamer_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """HaMeR's own crops, network and MANO layer, the last against ours; weights are random, so poses mean nothing."""
    checkpoint = tiny_hamer.write_files(tmp_path / "_DATA")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import hamer.models.hamer as network

        monkeypatch.setattr(network, "create_backbone", tiny_hamer.tiny_backbone)
        tiny_hamer.write_checkpoint(checkpoint)
    tool = create("hand", "hamer", checkpoint=str(checkpoint), device="cpu")
    picture = rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    right, left = tool(picture, (RIGHT, LEFT))
    assert (right.side, left.side, right.score, left.score) == ("right", "left", 0.9, 0.8)
    model = load_hand_model(tmp_path / "_DATA/data/mano/MANO_RIGHT.pkl")
    assert max(check_hand(right, model), check_hand(left, model)) < 0.05

    again = tool(picture, (RIGHT, LEFT))
    np.testing.assert_array_equal(again[1].vertices, left.vertices)
    # HaMeR flips a picture about the middle of its pixels, W - 1, and looks at the same crop from one pixel beside.
    flipped = Detection(np.array([WIDTH - 1 - 160.0, 60, WIDTH - 1 - 50, 190]), side="right")
    seen = tool(np.ascontiguousarray(picture[:, ::-1]), (flipped,))[0]
    np.testing.assert_allclose(WIDTH - 1 - seen.keypoints_2d[:, 0], left.keypoints_2d[:, 0], atol=0.01)
    np.testing.assert_allclose(
        mirrored_points(seen.vertices - seen.translation), left.vertices - left.translation, atol=1e-5
    )
    made = tool.provenance()
    assert set(made.weights) == {"hamer.ckpt", "MANO_RIGHT.pkl"}
    assert made.options["trust_pickle"] is False
