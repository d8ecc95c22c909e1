"""A short training on a tiny pipeline, and its two kinds of pictures."""

from pathlib import Path
from typing import Any

from fgs_bridges.dreambooth_config import Dreambooth, Kind, Pair
from tests.bridges.tiny_diffusion import SIZE

ROOT = Path(__file__).parents[3]
CLASSES = {"interaction": "a hand", "object": "an object"}
TEXTS = {"interaction": "a hand drinks", "object": "a mug"}


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
