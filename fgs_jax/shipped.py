"""Files of the repository that messages and options name, wherever the package is installed."""

from pathlib import Path

_INSTALLED = Path(__file__).parent / "assets"
"""Where a wheel holds them (pyproject.toml); a clone has them beside the package."""


def shipped_path(name: str) -> Path:
    """Where a file or folder of the repository is here, by its name there, such as "configs/generate/open.yaml"."""
    installed = _INSTALLED / name
    return installed if installed.exists() else Path(__file__).parents[1] / name


def shipped(name: str) -> str:
    """The same for messages: in a clone as it is named there, else the whole path."""
    return str(_INSTALLED / name) if (_INSTALLED / name).exists() else name
