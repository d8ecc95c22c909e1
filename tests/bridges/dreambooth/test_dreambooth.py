"""DreamBooth on tiny random pipelines of the real classes: prior preservation, provenance, what cannot be trained."""

import json
import shutil
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fgs_bridges.dreambooth import train
from fgs_bridges.dreambooth_config import Dreambooth, Kind, Pair
from fgs_bridges.dreambooth_data import draw
from fgs_bridges.dreambooth_trainer import Trainer
from fgs_bridges.text_to_image import Diffusers, read_picture
from fgs_jax.errors import BridgeError, BridgeUnavailable, ConfigError, FgsError
from tests.bridges.dreambooth.training import CLASSES, small
from tests.bridges.tiny_diffusion import SIZE

torch = pytest.importorskip("torch", reason='pip install "fgs-jax[bridges]"')
for package in ("diffusers", "accelerate", "peft"):
    pytest.importorskip(package, reason='pip install "fgs-jax[bridges]"')


def test_prior_preservation(tiny: dict[str, str], pictures: dict[str, list[str]], tmp_path: Path) -> None:
    """From a model that knows the class, lambda = 0 forgets it and lambda = 1 does not.

    A random VAE cannot draw what it reads, so the prior pictures are those the base was fitted to, not drawn by it.
    """
    options = {"learning_rate": 3e-3, "checkpoint_every": 1000}
    of_class = small(
        tiny["sd"], pictures["known"], tmp_path / "base", CLASSES, steps=100, batch=4, prior_weight=0.0, **options
    )
    base = train(of_class)
    options["learning_rate"] = 2e-3
    keeps = small(str(base), pictures["new"], tmp_path / "1", steps=60, batch=2, **options)
    prior = {name: [tmp_path / "1" / "prior" / name / f"{j:05d}.png" for j in range(2)] for name in CLASSES}
    for path, known in zip([path for paths in prior.values() for path in paths], pictures["known"], strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(known, path)
    forgets = replace(keeps, prior_weight=0.0, output=str(tmp_path / "0"))
    before, after_1, after_0 = (
        losses(replace(keeps, model=str(model)), prior) for model in (base, train(keeps), train(forgets))
    )
    assert after_0[0] < 0.6 * before[0] and after_1[0] < 0.6 * before[0]
    assert after_0[1] > 1.3 * before[1]
    assert after_1[1] < 1.05 * before[1]


def losses(config: Dreambooth, prior: dict[str, list[Path]]) -> list[float]:
    """Of the user's pictures and of the prior's, on one grid of times and noises."""
    trainer = Trainer(config, prior)
    result = []
    for batch in (
        [example for _, example in trainer.examples],
        [item for items in trainer.prior.values() for item in items],
    ):
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            errors = []
            for _ in range(8):
                errors.append(float(trainer.errors(batch, *draw(batch, 1000, generator)).mean()))
        result.append(float(np.mean(errors)))
    return result


def test_without_lambda_no_prior_picture_is_made(config: Dreambooth) -> None:
    train(replace(config, prior_weight=0.0))
    assert not (Path(config.output) / "prior").exists()


def test_prior_pictures_are_the_models_own(config: Dreambooth, capsys: pytest.CaptureFixture[str]) -> None:
    train(config)
    folder = Path(config.output) / "prior" / "object"
    expected = Diffusers(model=config.model, steps=2, height=SIZE, width=SIZE)("an object", seed=0, n=2)
    for k in range(2):
        assert np.array_equal(read_picture(folder / f"{k:05d}.png"), expected[k])
    assert json.loads((folder / "provenance.json").read_text())["prompt"] == "an object"
    assert "prior pictures, object: 2/2" in capsys.readouterr().err


def test_provenance(config: Dreambooth) -> None:
    made = json.loads((train(replace(config, prior_weight=0.0)) / "provenance.json").read_text())
    assert (made["backend"], made["model"], made["seed"]) == ("dreambooth", config.model, 0)
    assert made["options"]["learning_rate"] == 1e-6
    assert made["options"]["object"]["pairs"][0]["text"] == "a mug"
    assert len(made["options"]["pictures"]) == 4 and len(made["options"]["pictures"][0]) == 64
    assert "unet/diffusion_pytorch_model.safetensors" in made["weights"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resolution": 15}, r"resolution: expected a multiple of \d+, got 15"),
        ({"mixed_precision": "fp16", "device": "cpu"}, r"mixed_precision: expected no or bf16 on the CPU, got fp16"),
        ({"model": "nobody/nothing"}, r"nobody/nothing: expected a diffusers model's id or folder"),
        ({"learning_rate": 1e30, "clip": 0.0}, r"step \d: the loss is not finite; take a smaller learning_rate"),
    ],
)
def test_errors_are_one_line(config: Dreambooth, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FgsError, match=message) as caught:
        train(replace(config, prior_weight=0.0, **changes))
    assert "\n" not in str(caught.value)
    assert not (Path(config.output) / "model").exists()


def test_a_text_that_would_be_cut(config: Dreambooth) -> None:
    longer = Kind("an object", (Pair(config.object.pairs[0].image, "x" * 90),))
    with pytest.raises(ConfigError, match="expected at most 77 tokens, got 92; shorten it"):
        train(replace(config, object=longer, prior_weight=0.0))


def test_another_kind_of_model(config: Dreambooth, tmp_path: Path) -> None:
    diffusers: Any = import_module("diffusers")
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(config.model)
    diffusers.DDIMPipeline(unet=pipe.unet, scheduler=pipe.scheduler).save_pretrained(tmp_path / "other")
    with pytest.raises(BridgeError, match=r"expected StableDiffusionPipeline or .*, got DDIMPipeline, which Eq. 13"):
        train(replace(config, model=str(tmp_path / "other"), prior_weight=0.0))


def test_8_bit_adam_that_is_not_installed(config: Dreambooth, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(BridgeUnavailable, match=r"needs bitsandbytes, not installed here: pip install bitsandbytes"):
        train(replace(config, optimizer="adam-8bit", prior_weight=0.0))
