"""What is installed here, what is missing, and the line that installs it. Nothing heavy is imported, no GPU touched."""

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path

from fgs_bridges import registry
from fgs_bridges.provenance import versions
from fgs_bridges.registry import BACKENDS, Entry
from fgs_jax.errors import FgsError
from fgs_jax.files import expanded
from fgs_jax.shipped import shipped_path

PACKAGES = ("fgs-jax", "jax", "jaxlib", "torch", "torchvision", "transformers", "diffusers", "accelerate", "peft")
PLACES = {
    "FGS_MANO_DIR": "the folder of MANO_RIGHT.pkl, for hamer, wilor and MANO meshes",
    "FGS_MEDIAPIPE_PYTHON": "the interpreter of MediaPipe's environment, for mediapipe",
}
WEIGHTS = (".safetensors", ".bin", ".ckpt", ".pt", ".pth")


@dataclass(frozen=True)
class Row:
    """One back end."""

    kind: str
    name: str
    missing: tuple[str, ...] = ()
    """Modules that are not installed; empty where it can be made."""
    install: str = ""
    licence: str = ""
    needs: str = ""
    """What it wants as an option besides: files, or its program."""
    model: str = ""
    """The model that it takes unless told otherwise."""
    weights: str = ""
    """"here", "in part" or "not here", of that model's weights; empty where it takes none from the hub."""

    @property
    def installed(self) -> bool:
        return not self.missing


def doctor() -> list[Row]:
    """A row for each back end of the registry, those of other packages last in their kind."""
    return [
        _row(kind, name, BACKENDS[kind][name]) if name in BACKENDS[kind] else Row(kind, name, licence="its package's")
        for kind in BACKENDS
        for name in registry.names(kind)
    ]


def doctor_table() -> str:
    """The versions, then a line for each back end."""
    rows = [_cells(row) for row in doctor()]
    head = ("kind", "back end", "state", "weights", "licence", "to do")
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)]
    return "\n".join([*machine(), "", *(line.rstrip() for line in lines)])


def machine() -> list[str]:
    """Python, packages, GPUs and the places that the environment names, a line each."""
    found = versions(*PACKAGES)
    absent = [package for package in ("torch", "transformers", "diffusers") if package not in found]
    lines = [
        f"python {platform.python_version()} on {platform.system()} {platform.machine()}",
        ", ".join(f"{package} {version}" for package, version in found.items()),
        *([f"not installed: {', '.join(absent)}: {registry.EXTRA}"] if absent else []),
        f"GPU: {_gpus()}",
    ]
    plugins = versions("jax-cuda13-plugin", "jax-cuda12-plugin")
    on_gpu = ", ".join(f"{name} {version}" for name, version in plugins.items())
    lines.append(f"JAX runs on: {on_gpu or 'the CPU alone'}" + ("" if on_gpu else ': pip install "fgs-jax[cuda]"'))
    for name, what in PLACES.items():
        place = os.environ.get(name, "")
        there = f"{place}{'' if expanded(place).exists() else ', where there is nothing'}"
        lines.append(f"${name}: {there if place else f'not set; {what}'}")
    lines.append(f"a page for each stage: {shipped_path('docs/bridges')}")
    return lines


def _row(kind: str, name: str, entry: Entry) -> Row:
    missing = tuple(registry.missing(kind, name))
    module, _, attribute = entry.target.partition(":")
    try:
        backend = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        return Row(kind, name, missing or (" ".join(str(error).split()),), entry.install, entry.licence)
    needs = ""
    if not missing:
        try:
            backend()  # loads nothing: that is for the first call
        except FgsError as error:
            needs = str(error)
    model = next((item.default for item in fields(backend) if item.name == "model"), "")
    model = model if isinstance(model, str) else ""
    weights = _weights(model) if model else ""
    return Row(kind, name, missing, entry.install, entry.licence, needs, model, weights)


def _cells(row: Row) -> tuple[str, str, str, str, str, str]:
    if not row.installed:
        state, advice = "missing", f"needs {', '.join(row.missing)}: {row.install}"
    elif row.needs:
        state, advice = "by option", row.needs
    else:
        state, advice = "installed", ""
        if row.weights != "here" and row.model:
            advice = f"hf download {row.model}, or it is fetched at the first call"
    return row.kind, row.name, state, row.weights, row.licence, advice


def _weights(model: str) -> str:
    """Whether a model of the hub, or a folder, is on this machine: "here", "in part" or "not here"."""
    folder = expanded(model)
    if not folder.is_dir():
        home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
        cache = expanded(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")
        folder = cache / f"models--{model.replace('/', '--')}"
        if any(folder.glob("blobs/*.incomplete")):
            return "in part"
        folder = folder / "snapshots"
    files = (file for suffix in WEIGHTS for file in folder.glob(f"**/*{suffix}"))
    return "here" if any(file.exists() for file in files) else "not here"


def _gpus() -> str:
    """As the driver tells: neither JAX nor torch is asked, for both would take memory on it."""
    if not shutil.which("nvidia-smi"):
        return "none found (no nvidia-smi)"
    command = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return f"none found (nvidia-smi: {type(error).__name__})"
    return "; ".join(line.strip() for line in said.splitlines() if line.strip()) or "none found"
