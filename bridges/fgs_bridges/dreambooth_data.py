"""Pictures and their texts as a UNet is trained on them, and what is drawn for a step."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image as Pictures

from fgs_jax.errors import ConfigError


class Encoded(NamedTuple):
    """A picture and its text as the UNet takes them, on the CPU."""

    mean: Any
    """Of the latent, scaled: (1, c, h, w)."""
    std: Any
    text: Any
    """(1, tokens, width)."""
    pooled: Any = None
    """SDXL: (1, width)."""
    time_ids: Any = None
    """SDXL: (1, 6): size of the picture, what was cut off at its top and left, size it is trained at."""


def draw(batch: Sequence[Encoded], times: int, generator: Any) -> tuple[Any, Any, Any]:
    """Latents of a batch, noise and times, drawn on the CPU."""
    torch: Any = import_module("torch")
    mean, std = torch.cat([item.mean for item in batch]), torch.cat([item.std for item in batch])
    latents = mean + std * torch.randn(mean.shape, generator=generator)
    noise = torch.randn(mean.shape, generator=generator)
    return latents, noise, torch.randint(times, (len(batch),), generator=generator)


def encode_text(pipe: Any, text: str, device: Any) -> tuple[Any, ...]:
    """(embeddings,), or (embeddings, pooled) of SDXL. Raises ConfigError for a text that the model would cut."""
    torch: Any = import_module("torch")
    for tokenizer in (pipe.tokenizer, getattr(pipe, "tokenizer_2", None)):
        if tokenizer is not None and (count := len(tokenizer(text).input_ids)) > tokenizer.model_max_length:
            most = tokenizer.model_max_length
            raise ConfigError(f"text {text!r}: expected at most {most} tokens, got {count}; shorten it")
    with torch.no_grad():
        made = pipe.encode_prompt(text, device=device, num_images_per_prompt=1, do_classifier_free_guidance=False)
    return tuple(made[k].cpu() for k in (0, 2) if k < len(made) and made[k] is not None)


def fitted(
    picture: UInt8[ndarray, "h w 3"], resolution: int
) -> tuple[Float[ndarray, "r r 3"], tuple[int, int], tuple[int, int]]:
    """A picture scaled by its shorter side and cut about its middle, -1 to 1; its size, and (top, left) of the cut."""
    height, width = picture.shape[:2]
    factor = resolution / min(height, width)
    scaled = round(width * factor), round(height * factor)
    left, top = (scaled[0] - resolution) // 2, (scaled[1] - resolution) // 2
    resized = Pictures.fromarray(picture).resize(scaled, Pictures.Resampling.LANCZOS)
    cut = np.asarray(resized.crop((left, top, left + resolution, top + resolution)), np.float32)
    return cut / 127.5 - 1, (height, width), (top, left)
