"""DreamBooth on tiny random pipelines of the real classes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image as Pictures

from fgs_bridges.dreambooth import train
from fgs_bridges.dreambooth_config import Dreambooth, Kind, Pair, read_config
from fgs_bridges.dreambooth_data import draw, fitted
from fgs_bridges.dreambooth_trainer import Trainer
from fgs_bridges.text_to_image import Diffusers, read_picture
from fgs_jax.errors import BridgeError, BridgeUnavailable, ConfigError, FgsError
from tests.bridges.tiny_diffusion import SIZE, picture, save_tiny

torch = pytest.importorskip("torch", reason='pip install "fgs-jax[bridges]"')
for package in ("diffusers", "accelerate", "peft"):
    pytest.importorskip(package, reason='pip install "fgs-jax[bridges]"')

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "configs" / "dreambooth.yaml"
CLASSES = {"interaction": "a hand", "object": "an object"}
TEXTS = {"interaction": "a hand drinks", "object": "a mug"}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("tiny")
    return {kind: save_tiny(folder / kind, kind) for kind in ("sd", "sdxl")}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Two of each kind: known ones, bright, and new ones, dark."""
    folder = tmp_path_factory.mktemp("pictures")
    paths: dict[str, list[str]] = {}
    for name, dark in (("known", False), ("new", True)):
        for k in range(4):
            path = folder / f"{name}{k}.png"
            Pictures.fromarray(picture(k, dark=dark)).save(path)
            paths.setdefault(name, []).append(str(path))
    return paths


@pytest.fixture
def config(tiny: dict[str, str], pictures: dict[str, list[str]], tmp_path: Path) -> Dreambooth:
    return small(tiny["sd"], pictures["new"], tmp_path / "run")


def small(model: str, paths: list[str], output: Path, texts: dict[str, str] = TEXTS, **options: Any) -> Dreambooth:
    kinds: dict[str, Any] = {
        name: Kind(CLASSES[name], tuple(Pair(path, texts[name]) for path in paths[2 * k : 2 * k + 2]))
        for k, name in enumerate(CLASSES)
    }
    values: dict[str, Any] = {"resolution": SIZE, "prior_images": 2, "prior_steps": 2, "sample_every": 0, "steps": 2}
    values |= kinds | options
    return Dreambooth(model=model, output=str(output), **values)


def no_prior() -> dict[str, list[Path]]:
    return {name: [] for name in CLASSES}


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def weights_of(folder: Path) -> dict[str, Any]:
    safetensors: Any = import_module("safetensors.torch")
    return safetensors.load_file(str(folder / "unet" / "diffusion_pytorch_model.safetensors"))


# The file


def test_example_holds_every_setting_at_its_default(tmp_path: Path) -> None:
    values = yaml.safe_load(EXAMPLE.read_text())
    assert list(values) == [item.name for item in fields(Dreambooth)]
    for name in CLASSES:
        for pair in values[name]["pairs"]:
            (tmp_path / pair["image"]).parent.mkdir(exist_ok=True)
            Pictures.fromarray(picture(0)).save(tmp_path / pair["image"])
    shutil.copy(EXAMPLE, tmp_path / "data.yaml")
    config = read_config(tmp_path / "data.yaml")
    assert config == Dreambooth(config.interaction, config.object)
    assert (config.steps, config.learning_rate, config.prior_weight) == (2000, 1e-6, 1.0)
    assert config.interaction.pairs[2].text == "a hand cuts bread with a knife"
    assert config.object.pairs[0].image == str(tmp_path / "pictures" / "mug.jpg")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rat": 1e-4}, r"unknown key learning_rat; did you mean learning_rate\?"),
        ({"steps": "many"}, r"steps: expected a whole number, got 'many'"),
        ({"steps": True}, r"steps: expected a whole number, got True"),
        ({"steps": 0}, r"steps: expected at least 1, got 0"),
        ({"prior_weight": -1.0}, r"prior_weight: expected a number that is not negative, got -1\.0"),
        ({"method": "lore"}, r"method: expected one of full, lora, got 'lore'"),
        ({"sample_prompts": "a mug"}, r"sample_prompts: expected a list, got 'a mug'"),
        ({"object": None}, "object: expected names and values, got None"),
        ({"object": {"class_prompt": "an object"}}, "object: expected all of class_prompt, pairs, missing pairs"),
        ({"object": {"class_prompt": "an object", "pairs": []}}, r"object: pairs: expected pictures .*, got none"),
        ({"object": {"class_prompt": " ", "pairs": []}}, r"object: class_prompt: expected a text, got an empty one"),
        (
            {"object": {"class_prompt": "an object", "pairs": [{"image": "gone.png", "text": "a mug"}]}},
            r"object: pairs\[0\]: image: .*gone\.png: there is no such picture",
        ),
        (
            {"object": {"class_prompt": "an object", "pairs": [{"image": "a.png", "texts": "a mug"}]}},
            r"object: pairs\[0\]: unknown key texts; did you mean text\?",
        ),
        (
            {"object": {"class_prompt": "an object", "pairs": [{"image": "a.png", "text": ""}]}},
            r"object: pairs\[0\]: text: expected a text, got an empty one",
        ),
    ],
)
def test_bad_files(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    Pictures.fromarray(picture(0)).save(tmp_path / "a.png")
    kind = {"class_prompt": "x", "pairs": [{"image": "a.png", "text": "y"}]}
    path = tmp_path / "data.yaml"
    path.write_text(yaml.safe_dump({"interaction": kind, "object": kind}))
    assert read_config(path).steps == 2000
    path.write_text(yaml.safe_dump({"interaction": kind, "object": kind} | changes))
    with pytest.raises(ConfigError, match=message) as caught:
        read_config(path)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(f"{path}: ")


def test_files_that_are_no_yaml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a YAML file, there is none"):
        read_config(tmp_path / "gone.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1\nb: 2")
    with pytest.raises(ConfigError, match="expected YAML") as caught:
        read_config(tmp_path / "bad.yaml")
    assert "\n" not in str(caught.value)


def test_a_picture_is_cut_about_its_middle() -> None:
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = 255
    pixels, size, corner = fitted(wide, 4)
    assert (size, corner) == ((4, 12), (0, 4))
    assert pixels.dtype == np.float32 and (pixels == 1).all()
    pixels, size, corner = fitted(np.zeros((20, 10, 3), np.uint8), 16)
    assert (pixels.shape, size, corner) == ((16, 16, 3), (20, 10), (8, 0))
    assert (pixels == -1).all()


# Eq. 13


@pytest.mark.parametrize(("kind", "extra"), [("epsilon", 0.0), ("v_prediction", 1.0)])
def test_eq_13_is_the_error_of_the_noise_at_snr_weights(
    config: Dreambooth, tmp_path: Path, kind: str, extra: float
) -> None:
    """w |x^ - x|^2 + lambda w' |x^_pr - x_pr|^2 with x^ = (x_t - sigma e^) / alpha and w = alpha^2 / sigma^2."""
    config = replace(config, model=save_tiny(tmp_path / kind, prediction_type=kind), prior_weight=0.7, batch=2)
    trainer = Trainer(config, {name: [Path(path) for path in config_paths(config)] for name in CLASSES})
    training: Any = import_module("diffusers.training_utils")
    batch = [example for _, example in trainer.examples]
    latents, noise, times = draw(batch, 1000, torch.Generator().manual_seed(0))
    noisy = trainer.noise.add_noise(latents, noise, times)
    with torch.no_grad():
        predicted, errors = trainer.predict(noisy, times, batch), trainer.errors(batch, latents, noise, times)
    alpha = (trainer.noise.alphas_cumprod[times] ** 0.5)[:, None, None, None]
    sigma = (1 - alpha**2) ** 0.5
    x_hat = (noisy - sigma * predicted) / alpha if kind == "epsilon" else alpha * noisy - sigma * predicted
    weights = training.compute_snr(trainer.noise, times) + extra
    expected = weights * ((x_hat - latents) ** 2).mean(dim=(1, 2, 3))
    assert times.unique().numel() == 4 and float(weights.max() / weights.min()) > 2
    np.testing.assert_allclose(errors, expected, rtol=1e-4)

    seen: list[Any] = []
    own = trainer.errors

    def recorded(batch: Any, latents: Any, noise: Any, times: Any) -> Any:
        seen.append(own(batch, latents, noise, times))
        return seen[-1]

    trainer.errors = recorded
    instance, prior = trainer.advance()
    assert instance == pytest.approx(float(seen[0][:2].detach().mean()), rel=1e-6)
    assert prior == pytest.approx(float(seen[0][2:].detach().mean()), rel=1e-6)


def config_paths(config: Dreambooth) -> list[str]:
    return [pair.image for kind in (config.interaction, config.object) for pair in kind.pairs]


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


# Checkpoints

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


def test_gradient_checkpointing_changes_no_loss(config: Dreambooth) -> None:
    with_it = replace(config, prior_weight=0.0, gradient_checkpointing=True)
    plain = replace(with_it, gradient_checkpointing=False)
    first, second = (Trainer(one, no_prior()) for one in (with_it, plain))
    for _ in range(2):
        assert first.advance() == pytest.approx(second.advance(), rel=1e-5)


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


# Results


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_result_draws_what_the_trained_model_draws(
    tiny: dict[str, str], pictures: dict[str, list[str]], tmp_path: Path, kind: str, method: Any
) -> None:
    config = small(tiny[kind], pictures["new"], tmp_path / "run", method=method, learning_rate=0.02, prior_weight=0.0)
    trainer = Trainer(config, no_prior())
    for _ in range(2):
        trainer.advance()
    trainer.write_result(tmp_path / "result")
    options: dict[str, Any] = {"generator": torch.Generator().manual_seed(0), "num_inference_steps": 2}
    expected = np.asarray(trainer.pipe("a mug", **options).images[0])
    result = str(tmp_path / "result")
    made: dict[str, Any] = {"model": result} if method == "full" else {"model": tiny[kind], "lora": result}
    assert np.array_equal(Diffusers(**made, steps=2)("a mug", seed=0)[0], expected)
    assert not np.array_equal(Diffusers(model=tiny[kind], steps=2)("a mug", seed=0)[0], expected)
    if method == "lora":
        other = tiny["sd" if kind == "sdxl" else "sdxl"]
        with pytest.raises(BridgeError, match="expected a LoRA of this model") as caught:
            Diffusers(model=other, lora=result, steps=2)("a mug", seed=0)
        assert "\n" not in str(caught.value)


def test_provenance(config: Dreambooth) -> None:
    made = json.loads((train(replace(config, prior_weight=0.0)) / "provenance.json").read_text())
    assert (made["backend"], made["model"], made["seed"]) == ("dreambooth", config.model, 0)
    assert made["options"]["learning_rate"] == 1e-6
    assert made["options"]["object"]["pairs"][0]["text"] == "a mug"
    assert len(made["options"]["pictures"]) == 4 and len(made["options"]["pictures"][0]) == 64
    assert "unet/diffusion_pytorch_model.safetensors" in made["weights"]


# What cannot be trained


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
