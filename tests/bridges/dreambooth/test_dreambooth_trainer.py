"""The steps of a training on tiny random pipelines of the real classes: Eq. 13, and what its result draws."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fgs_bridges.dreambooth_config import Dreambooth
from fgs_bridges.dreambooth_data import draw
from fgs_bridges.dreambooth_trainer import Trainer
from fgs_bridges.text_to_image import Diffusers
from fgs_jax.errors import BridgeError
from tests.bridges.dreambooth.training import CLASSES, no_prior, small
from tests.bridges.tiny_diffusion import save_tiny

torch = pytest.importorskip("torch", reason='pip install "fgs-jax[bridges]"')
for package in ("diffusers", "accelerate", "peft"):
    pytest.importorskip(package, reason='pip install "fgs-jax[bridges]"')


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


def test_gradient_checkpointing_changes_no_loss(config: Dreambooth) -> None:
    with_it = replace(config, prior_weight=0.0, gradient_checkpointing=True)
    plain = replace(with_it, gradient_checkpointing=False)
    first, second = (Trainer(one, no_prior()) for one in (with_it, plain))
    for _ in range(2):
        assert first.advance() == pytest.approx(second.advance(), rel=1e-5)


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
