"""What `fgs dreambooth` trains on what, and how: one YAML file."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fgs_bridges.registry import MOST_NUMBER
from fgs_bridges.text_to_image import SD15
from fgs_jax.checked_values import Bounds, Rules, check_numbers, from_values
from fgs_jax.config_files import read_yaml_file
from fgs_jax.errors import ConfigError
from fgs_jax.files import expanded, is_name
from fgs_jax.shipped import shipped


@dataclass(frozen=True)
class Pair:
    """A picture and its functional text."""

    image: str
    text: str


@dataclass(frozen=True)
class Kind:
    """Pictures of one kind, and the prompt whose pictures the model must not forget."""

    class_prompt: str
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class Dreambooth:
    """What is trained on what, and how. Eq. 13's values are those of the paper's supplement."""

    interaction: Kind
    object: Kind
    output: str = "out/dreambooth"
    model: str = SD15
    """Stable Diffusion 1 or 2, or SDXL: id on the hub, or folder."""
    revision: str = ""
    method: Literal["full", "lora"] = "full"
    rank: int = 4
    """Of the LoRA."""
    resolution: int = 512
    """Pixels; pictures are scaled to it by their shorter side and cut about their middle, never flipped."""
    steps: int = 2000
    """Optimiser steps. The paper: "2000 epochs", read as steps."""
    learning_rate: float = 1e-6
    """Constant. Supplement A: 1e-6; section 4.1: 1e-5."""
    prior_weight: float = 1.0
    """Lambda of Eq. 13; 0 leaves the prior term out."""
    prior_images: int = 200
    """Made with each class prompt by the model before training."""
    prior_steps: int | None = None
    """Of denoising; None is the model's own default, as for the next."""
    prior_guidance: float | None = None
    batch: int = 1
    """Pictures a step, and as many prior ones."""
    accumulation: int = 1
    """Batches a step."""
    optimizer: Literal["adam", "adam-8bit"] = "adam"
    weight_decay: float = 0.0
    """Decoupled (AdamW); 0 is Adam, the paper's."""
    clip: float = 1.0
    """Largest norm of the gradient; 0 is any."""
    gradient_checkpointing: bool = False
    mixed_precision: Literal["no", "fp16", "bf16"] = "no"
    checkpoint_every: int = 500
    """Steps."""
    checkpoints_kept: int = 2
    sample_every: int = 500
    """Steps; 0 makes no samples."""
    sample_prompts: tuple[str, ...] = ()
    """By default the first text and the class prompt of each kind."""
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"


FREE = ("steps", "output", "checkpoint_every", "checkpoints_kept", "sample_every", "sample_prompts", "device")
"""What a run that goes on may have otherwise."""
PRIOR = ("model", "revision", "resolution", "prior_steps", "prior_guidance", "seed")
"""What prior pictures depend on, class prompts apart."""
KINDS = ("interaction", "object")


_RULES = Rules(
    {
        **dict.fromkeys(("steps", "checkpoint_every"), Bounds(1, MOST_NUMBER)),
        **dict.fromkeys(("prior_images", "checkpoints_kept"), Bounds(1, 1_000_000)),
        **dict.fromkeys(("rank", "accumulation"), Bounds(1, 4096)),
        "resolution": Bounds(1, 8192),
        "batch": Bounds(1, 1024),
        "prior_steps": Bounds(1, 10_000),
        "learning_rate": Bounds(0, 1e30),
        "seed": Bounds(0, 2**32 - 1),
    },
    otherwise=Bounds(0, MOST_NUMBER),
    example=shipped("configs/dreambooth.yaml"),
)


def read_config(path: str | Path) -> Dreambooth:
    """A configuration from YAML; pictures are found from the file's folder.

    Raises ConfigError for a file that there is not, an unknown key, a wrong type, a value that means nothing, an empty
    list and a picture that there is not.
    """
    path = expanded(path)
    config = from_values(Dreambooth, read_yaml_file(path), _RULES, str(path))
    config = replace(config, **{name: _placed(getattr(config, name), path.parent) for name in KINDS})
    check_config(config, str(path))
    return config


def check_config(config: Dreambooth, where: str = "dreambooth") -> None:
    """Raises ConfigError for a value that means nothing, an empty list or text, and a picture that there is not."""
    check_numbers(config, _RULES, where)
    for name in KINDS:
        kind: Kind = getattr(config, name)
        if not kind.class_prompt.strip():
            raise ConfigError(f"{where}: {name}: class_prompt: expected a text, got an empty one; name the class")
        if not kind.pairs:
            raise ConfigError(f"{where}: {name}: pairs: expected pictures with their texts, got none; add some")
        for k, pair in enumerate(kind.pairs):
            pair_name = f"{where}: {name}: pairs[{k}]"
            if not pair.text.strip():
                raise ConfigError(f"{pair_name}: text: expected a text, got an empty one; describe it")
            if not is_name(pair.image) or not Path(pair.image).is_file():
                raise ConfigError(f"{pair_name}: image: {pair.image}: there is no such picture; check it")


def _placed(kind: Kind, folder: Path) -> Kind:
    pairs = (replace(pair, image=str(folder.absolute() / expanded(pair.image))) for pair in kind.pairs)
    return replace(kind, pairs=tuple(pairs))
