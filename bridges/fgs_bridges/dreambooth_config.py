"""What `fgs dreambooth` trains on what, and how: one YAML file."""

import math
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from fgs_bridges.config import hint, read_yaml
from fgs_bridges.registry import MOST_NUMBER
from fgs_bridges.text_to_image import SD15
from fgs_jax.config import plain_value
from fgs_jax.errors import ConfigError
from fgs_jax.files import expanded, is_name
from fgs_jax.shipped import shipped

EXAMPLE = shipped("configs/dreambooth.yaml")


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


def read_config(path: str | Path) -> Dreambooth:
    """A configuration from YAML; pictures are found from the file's folder.

    Raises ConfigError for a file that there is not, an unknown key, a wrong type, a value that means nothing, an empty
    list and a picture that there is not.
    """
    path = expanded(path)
    config: Dreambooth = _from_values(Dreambooth, read_yaml(path), str(path))
    config = replace(config, **{name: _placed(getattr(config, name), path.parent) for name in KINDS})
    check_config(config, f"{path}: ")
    return config


def check_config(config: Dreambooth, where: str = "") -> None:
    """Raises ConfigError for a value that means nothing, an empty list or text, and a picture that there is not."""
    for item in fields(config):
        value, name = getattr(config, item.name), where + item.name
        if isinstance(value, int | float) and not (value >= 0 and value != math.inf):
            raise ConfigError(f"{name}: expected a number that is not negative, got {value}; change it")
        if item.name in _COUNTS and value is not None and value < 1:
            raise ConfigError(f"{name}: expected at least 1, got {value}; change it")
        if isinstance(value, int | float) and value > _MOST.get(item.name, MOST_NUMBER):
            raise ConfigError(f"{name}: expected at most {_MOST.get(item.name, MOST_NUMBER):g}, got {value}; change it")
    for name in KINDS:
        kind: Kind = getattr(config, name)
        if not kind.class_prompt.strip():
            raise ConfigError(f"{where}{name}.class_prompt: expected a text, got an empty one; name the class")
        if not kind.pairs:
            raise ConfigError(f"{where}{name}.pairs: expected pictures with their texts, got none; add some")
        for k, pair in enumerate(kind.pairs):
            if not pair.text.strip():
                raise ConfigError(f"{where}{name}.pairs[{k}].text: expected a text, got an empty one; describe it")
            if not is_name(pair.image) or not Path(pair.image).is_file():
                raise ConfigError(f"{where}{name}.pairs[{k}].image: {pair.image}: there is no such picture; check it")


_COUNTS = (
    *("steps", "rank", "resolution", "prior_images", "prior_steps", "batch", "accumulation"),
    *("checkpoint_every", "checkpoints_kept"),
)


_MOST = {
    **{"seed": 2**32 - 1, "resolution": 8192, "batch": 1024, "accumulation": 4096, "rank": 4096, "learning_rate": 1e30},
    **{"prior_images": 1_000_000, "prior_steps": 10_000, "checkpoints_kept": 1_000_000},
}
"""What a number may be; MOST_NUMBER where it is not named."""


def _placed(kind: Kind, folder: Path) -> Kind:
    pairs = (replace(pair, image=str(folder.absolute() / expanded(pair.image))) for pair in kind.pairs)
    return replace(kind, pairs=tuple(pairs))


def _from_values(kind: type, values: Any, where: str, separator: str = ": ") -> Any:
    known = {item.name: item for item in fields(kind)}
    types = get_type_hints(kind)
    if not isinstance(values, dict):
        came = "nothing" if values is None else f"{values!r}"[:80]
        raise ConfigError(f"{where}: expected {', '.join(known)}, got {came}; see {EXAMPLE}")
    for name in values:
        if name not in known:
            raise ConfigError(f"{where}: unknown key {name}; {hint(name, list(known))}")
    if missing := [name for name, item in known.items() if item.default is MISSING and name not in values]:
        raise ConfigError(f"{where}: expected {', '.join(missing)}, got none; see {EXAMPLE}")
    return kind(**{name: _typed(types[name], value, where + separator + name) for name, value in values.items()})


def _typed(kind: Any, value: Any, where: str) -> Any:
    if isinstance(kind, UnionType):
        if value is None:
            return None
        kind = next(part for part in get_args(kind) if part is not NoneType)
    if is_dataclass(kind):
        return _from_values(kind, value, where, ".")  # pyright: ignore[reportArgumentType]
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise ConfigError(f"{where}: expected a list, got {value!r}; change it")
        return tuple(_typed(get_args(kind)[0], item, f"{where}[{k}]") for k, item in enumerate(value))
    if get_origin(kind) is Literal:
        value = "no" if value is False else value
        if value in get_args(kind):
            return value
        raise ConfigError(f"{where}: expected one of {', '.join(get_args(kind))}, got {value!r}; change it")
    try:
        return plain_value(kind, value)
    except TypeError:
        expected = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}[kind]
        raise ConfigError(f"{where}: expected {expected}, got {value!r}; change it") from None
