"""Values as the files of a result hold them."""

import math
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

PACKAGES = ("fgs-jax", "jax", "jaxlib", "optax", "numpy", "scipy", "libigl", "manifold3d", "trimesh")
"""What a result follows from, beside the code and Python."""


def versions() -> dict[str, str]:
    """Of what a result follows from."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values under dotted names; the place in a sequence of mappings is part of the name."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, tuple | list) and value and isinstance(value[0], Mapping):
            flat |= flattened({str(k): item for k, item in enumerate(value)}, f"{prefix}{key}.")
        elif isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def finite(value: Any) -> Any:
    """The value, of dicts and lists, with None for each number in it that is not finite: JSON has none."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
