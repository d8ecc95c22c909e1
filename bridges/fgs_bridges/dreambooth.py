"""DreamBooth: a Stable Diffusion that learns functional texts from a few pictures, Eq. 2 and Eq. 13 of the paper.

Eq. 13 is written for predicted pictures, with weights w_t. With w_t the signal-to-noise ratio alpha_t^2 / sigma_t^2
it is the mean squared error of the predicted noise, which is what this trains. Both of its terms show the same text c;
the prior term has a class prompt here, as DreamBooth has it, since its pictures were made from that prompt.

Everything that step k draws is a function of the seed and k, so a run that goes on from a checkpoint has no state of
random numbers to restore.
"""

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image as Pictures

from fgs_bridges.dreambooth_config import KINDS, Dreambooth, check_config
from fgs_bridges.dreambooth_folder import checkpoint_folder, checkpoints, claim, last_checkpoint, steps_of
from fgs_bridges.dreambooth_trainer import Trainer
from fgs_bridges.pretrained import first_line
from fgs_bridges.progress import Progress
from fgs_bridges.text_to_image import Diffusers, write_provenance
from fgs_bridges.types import Image
from fgs_jax.errors import BridgeError, BridgeUnavailable, ConfigError
from fgs_jax.files import expanded, write_whole


def train(config: Dreambooth) -> Path:
    """Trains, and returns the folder of the result: `output`/model (full) or `output`/lora, with provenance.json.

    A run that was killed goes on from its last checkpoint, and ends with the same weights (to the bit on the CPU) as
    one that was not; a run that has ended returns at once. Only the UNet is trained.

    Raises ConfigError for what `check_config` refuses and where `output` holds another run; BridgeError for a model
    that cannot be loaded or is neither Stable Diffusion nor SDXL, and where the loss is not finite; BridgeUnavailable
    for what is not installed.
    """
    check_config(config)
    output = expanded(config.output).absolute()
    claim(config, output)
    result = output / ("model" if config.method == "full" else "lora")
    last = last_checkpoint(output)
    if steps_of(result) == config.steps:
        return result
    if max(last, steps_of(result)) > config.steps:
        done = max(last, steps_of(result))
        raise ConfigError(f"{output}: has {done} steps, more than {config.steps}; give more steps or another output")
    try:
        import accelerate  # noqa: F401
        import peft  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise BridgeUnavailable(f'dreambooth: {first_line(error)}: pip install "fgs-jax[bridges]"') from error
    with _one_line(output):
        prior = prior_pictures(config, output)
        trainer = Trainer(config, prior)
        if last:
            trainer.load(checkpoint_folder(output, last))
            print(f"dreambooth: goes on from step {last}", file=sys.stderr)
        _run(trainer, output)
        write_whole(result, trainer.write_result)
    return result


def prior_pictures(config: Dreambooth, output: Path) -> dict[str, list[Path]]:
    """x_pr of Eq. 13: pictures that the model makes of the class prompts before it is trained; those that are there
    already are kept. No safety checker looks at them. Empty lists where the prior weight is 0."""
    if not config.prior_weight:
        return {name: [] for name in KINDS}
    backend = Diffusers(
        model=config.model,
        revision=config.revision,
        steps=config.prior_steps,
        guidance=config.prior_guidance,
        height=config.resolution,
        width=config.resolution,
        device=config.device,
        safety_checker=False,
    )
    found: dict[str, list[Path]] = {}
    for name in KINDS:
        prompt = getattr(config, name).class_prompt
        folder = output / "prior" / name
        folder.mkdir(parents=True, exist_ok=True)
        progress = Progress(f"prior pictures, {name}", config.prior_images)
        found[name] = [folder / f"{k:05d}.png" for k in range(config.prior_images)]
        missing = [k for k, path in enumerate(found[name]) if not path.exists()]
        for k in missing:
            _write_png(backend(prompt, seed=config.seed + k)[0], found[name][k])
            progress.show(k + 1)
        if missing:
            write_provenance(folder, backend.provenance().as_dict() | {"prompt": prompt, "seed": config.seed})
    return found


def _run(trainer: Trainer, output: Path) -> None:
    config = trainer.config
    progress = Progress("dreambooth", config.steps, trainer.step)
    while trainer.step < config.steps:
        instance, prior = trainer.advance()
        progress.show(trainer.step, f"loss {instance:.4f}, prior {prior:.4f}")
        if config.sample_every and trainer.step % config.sample_every == 0:
            _write_png(trainer.samples(), output / "samples" / f"step-{trainer.step:06d}.png")
        if trainer.step % config.checkpoint_every == 0:
            trainer.save(checkpoint_folder(output, trainer.step))
            for old in checkpoints(output)[: -config.checkpoints_kept]:
                shutil.rmtree(checkpoint_folder(output, old))


@contextlib.contextmanager
def _one_line(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BridgeError(
            f"dreambooth: {output}: cannot be written ({error.strerror or first_line(error)}); free some space, or "
            "give another output"
        ) from error
    except RuntimeError as error:  # torch's, such as no memory
        raise BridgeError(
            f"dreambooth: {first_line(error)}; where memory is short: method: lora, gradient_checkpointing: true, "
            "mixed_precision, optimizer: adam-8bit, a smaller resolution"
        ) from error


def _write_png(picture: Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    Pictures.fromarray(picture).save(temporary, format="png")
    temporary.replace(path)
