"""Who made what: package versions and hashes of weights."""

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fgs_jax.files import expanded


def versions(*packages: str) -> dict[str, str]:
    """Of the packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def sha256(path: Path) -> str:
    """Of a file's bytes, read in pieces; a large file is read again only when it has changed."""
    status = path.stat()
    return _sha256(path.resolve(), status.st_size, status.st_mtime_ns)


def weight_hashes(files: Iterable[Path]) -> dict[str, str]:
    """sha256 of each file, by its name; of files of one name, by as much of their path as tells them apart."""
    files = sorted(set(files))
    short = [file.name for file in files]
    names = short if len(set(short)) == len(short) else [str(Path(file.parent.name) / file.name) for file in files]
    return {name: sha256(file) for name, file in zip(names, files, strict=True)}


def model_files(model: str, revision: str | None = None) -> tuple[str, list[Path]]:
    """Revision and weight files of a model that was loaded, by its id on the hub or its folder."""
    folder = expanded(model)
    if not folder.is_dir():
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.constants import HF_HUB_CACHE

        for name in ("config.json", "model_index.json"):
            file = try_to_load_from_cache(model, name, cache_dir=HF_HUB_CACHE, revision=revision)
            if isinstance(file, str):
                folder = Path(file).parent
                break
        else:
            return revision or "", []
        revision = folder.name
    patterns = ("**/*.safetensors", "**/*.bin", "**/*.pt", "**/*.pth", "**/*.ckpt")
    return revision or "", [file for pattern in patterns for file in folder.glob(pattern)]


@cache
def _sha256(path: Path, size: int, time: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
