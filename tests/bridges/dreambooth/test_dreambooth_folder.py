"""A training goes on from the checkpoints in its folder, and only as itself."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from fgs_bridges.dreambooth import train
from fgs_bridges.dreambooth_config import Dreambooth
from fgs_bridges.dreambooth_trainer import Trainer
from fgs_bridges.text_to_image import read_picture
from fgs_jax.errors import BridgeError, ConfigError
from tests.bridges.dreambooth.training import CLASSES, ROOT, no_prior, small
from tests.bridges.tiny_diffusion import SIZE

torch = pytest.importorskip("torch", reason='pip install "fgs-jax[bridges]"')
for package in ("diffusers", "accelerate", "peft"):
    pytest.importorskip(package, reason='pip install "fgs-jax[bridges]"')


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def weights_of(folder: Path) -> dict[str, Any]:
    safetensors: Any = import_module("safetensors.torch")
    return safetensors.load_file(str(folder / "unet" / "diffusion_pytorch_model.safetensors"))


SCRIPT = """
import sys, torch
from fgs_bridges.dreambooth import train
from fgs_bridges.dreambooth_config import read_config
torch.set_num_threads(1)
train(read_config(sys.argv[1]))
"""


def test_a_killed_run_ends_with_the_same_weights(
    config: Dreambooth, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    killed = replace(config, steps=30, checkpoint_every=3, accumulation=2, learning_rate=1e-3, optimizer="adam")
    data = tmp_path / "data.yaml"
    data.write_text(yaml.safe_dump(json.loads(json.dumps(asdict(killed)))))
    output = Path(killed.output)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(data)], cwd=ROOT, env=environment)
    deadline = time.monotonic() + 120
    while not (output / "checkpoints" / "step-000006").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (output / "model").exists()
    half = output / "checkpoints" / ".step-000030.1.1.new"
    half.mkdir(exist_ok=True)

    samples = replace(killed, sample_every=15)  # a sample draws nothing that training draws
    resumed = train(samples)
    assert "dreambooth: goes on from step" in capsys.readouterr().err
    unbroken = train(replace(killed, output=str(tmp_path / "unbroken")))
    assert same(weights_of(resumed), weights_of(unbroken))
    assert not same(weights_of(resumed), weights_of(Path(config.model)))
    assert not half.exists()
    assert sorted(path.name for path in (output / "checkpoints").iterdir()) == ["step-000027", "step-000030"]
    assert read_picture(output / "samples" / "step-000030.png").shape == (4 * SIZE, 2 * SIZE, 3)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("sdxl", {"method": "full", "batch": 2}),
        ("sdxl", {"method": "lora", "mixed_precision": "bf16", "gradient_checkpointing": True}),
        ("sd", {"method": "full", "optimizer": "adam-8bit", "clip": 0.0, "weight_decay": 0.01}),
        ("sd", {"method": "full", "mixed_precision": "bf16", "accumulation": 2}),
    ],
)
def test_a_checkpoint_is_all_there_is(
    tiny: dict[str, str], pictures: dict[str, list[str]], tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    if "optimizer" in options:
        pytest.importorskip("bitsandbytes", reason="pip install bitsandbytes")
    config = small(tiny[kind], pictures["new"], tmp_path / "run", learning_rate=1e-2, **options)
    prior = {name: [Path(path) for path in pictures["known"]] for name in CLASSES}
    trainer = Trainer(config, prior)
    start = {name: weight.detach().clone() for name, weight in trainer.trained.items()}
    trainer.advance()
    trainer.save(tmp_path / "checkpoint")
    assert trainer.samples().shape == (4 * SIZE, 2 * SIZE, 3)
    expected = [trainer.advance(), trainer.advance()]
    again = Trainer(config, prior)
    again.load(tmp_path / "checkpoint")
    assert again.step == 1
    assert [again.advance(), again.advance()] == expected
    assert same(again.trained, trainer.trained)
    assert all(weight.dtype == torch.float32 for weight in trainer.trained.values())
    assert not same(trainer.trained, start)
    if options["method"] == "lora":
        assert all("lora_" in name for name in start)


def test_a_damaged_checkpoint(config: Dreambooth, tmp_path: Path) -> None:
    trainer = Trainer(replace(config, prior_weight=0.0), no_prior())
    trainer.save(tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "weights.safetensors").write_bytes(b"half")
    with pytest.raises(BridgeError, match=r"damaged checkpoint .*; delete it and run again"):
        trainer.load(tmp_path / "checkpoint")


def test_a_run_goes_on_only_as_itself(config: Dreambooth, capsys: pytest.CaptureFixture[str]) -> None:
    config = replace(config, checkpoint_every=1, prior_weight=0.0)
    result = train(config)
    weights = (result / "provenance.json").stat().st_mtime_ns
    assert train(config) == result
    assert (result / "provenance.json").stat().st_mtime_ns == weights
    with pytest.raises(ConfigError, match="holds a run with other learning_rate, seed; give another output"):
        train(replace(config, learning_rate=1.0, seed=5))
    with pytest.raises(ConfigError, match="has 2 steps, more than 1"):
        train(replace(config, steps=1))
    longer = train(replace(config, steps=3))
    assert json.loads((longer / "provenance.json").read_text())["options"]["steps"] == 3
    assert "goes on from step 2" in capsys.readouterr().err


def test_what_was_not_begun_may_be_changed(config: Dreambooth) -> None:
    """A wrong value costs no new output, and prior pictures serve any learning rate."""
    with pytest.raises(ConfigError, match="resolution"):
        train(replace(config, resolution=15, prior_weight=0.0))
    with pytest.raises(BridgeError, match="not finite"):
        train(replace(config, learning_rate=1e30, clip=0.0))
    drawn = Path(config.output) / "prior" / "object" / "00000.png"
    before = drawn.stat().st_mtime_ns
    with pytest.raises(ConfigError, match="holds a run with other seed, object; give another output"):
        train(replace(config, seed=1, object=replace(config.object, class_prompt="things")))
    train(config)
    assert drawn.stat().st_mtime_ns == before
