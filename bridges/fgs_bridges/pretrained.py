"""What back ends share: loading that leaves no weight random, one-line failures, provenance."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from fgs_bridges.provenance import model_files, versions, weight_hashes
from fgs_bridges.types import Provenance
from fgs_jax.errors import BridgeError, BridgeUnavailable, ConfigError, FgsError
from fgs_jax.files import expanded


def check_picture(image: Any, backend: str) -> None:
    """Raises BridgeError for what is not a picture of bytes, (h, w, 3)."""
    if not isinstance(image, np.ndarray):
        raise BridgeError(f"{backend}: image: expected an array, got {type(image).__name__}: use np.asarray")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        came = f"{image.dtype} {image.shape}"
        raise BridgeError(f"{backend}: image: expected bytes of shape (h, w, 3), got {came}: convert it to RGB bytes")


def torch_device(device: str, backend: str) -> Any:
    """The torch device of a name; "auto" is the GPU where there is one, else the CPU.

    Raises ConfigError for a name that is none, BridgeError for a GPU that there is not.
    """
    import torch

    there = torch.cuda.is_available()
    try:
        found = torch.device(("cuda" if there else "cpu") if device == "auto" else device)
    except RuntimeError as error:
        raise ConfigError(f"{backend}: device: expected auto, cpu, cuda or cuda:N, got {device}") from error
    if found.type == "cuda" and not there:
        raise BridgeError(
            f"{backend}: device: expected a GPU that torch finds, got {device} and none: take auto or cpu"
        )
    return found


def quiet() -> None:
    """No notes, retries and bars of loading from the libraries that load models; bars of downloads stay."""
    for package in ("bitsandbytes", "huggingface_hub"):
        logging.getLogger(package).setLevel(logging.ERROR)
    for package in ("diffusers", "transformers"):
        try:
            loggers: Any = import_module(f"{package}.utils.logging")
        except ImportError:
            continue
        loggers.set_verbosity_error()
        loggers.disable_progress_bar()


def load_model(class_name: str, model: str, revision: str | None, device: Any, backend: str) -> Any:
    """A model of transformers, from safetensors, ready to run.

    Raises BridgeUnavailable where it is neither a folder nor can be had from the hub, and BridgeError where the folder
    does not hold all of its weights: transformers would fill the others with random numbers.
    """
    config, _ = _from_hub("PreTrainedConfig", "get_config_dict", model, revision, backend)
    import transformers

    expected = getattr(transformers, class_name).config_class.model_type
    # The published SAM 2.1 and SAM 3 are video models, which hold the models for pictures.
    if config.get("model_type") not in (expected, f"{expected}_video"):
        came = config.get("model_type")
        raise BridgeError(f"{backend}: {model}: expected a model of type {expected}, got {came}: give another model")
    loaded, report = _from_hub(
        class_name, "from_pretrained", model, revision, backend, use_safetensors=True, output_loading_info=True
    )
    absent = sorted(set(report["missing_keys"]) & {name for name, _ in loaded.named_parameters()})
    if absent:
        raise BridgeError(
            f"{backend}: {model}: expected all weights of {class_name}, {len(absent)} are missing, "
            f"{absent[0]} among them: give a model of this kind"
        )
    with one_line(backend, f"cannot put {model} on {device}", "choose another device"):
        return loaded.to(device).eval()


def load_processor(class_name: str, model: str, revision: str | None, backend: str) -> Any:
    """A processor or tokenizer of transformers; errors as `load_model`."""
    return _from_hub(class_name, "from_pretrained", model, revision, backend)


@contextmanager
def one_line(backend: str, what: str, advice: str) -> Iterator[None]:
    """Turns whatever a tool raises into a BridgeError of one line: back end, what failed, why, what to do."""
    try:
        yield
    except FgsError:
        raise
    except Exception as error:
        raise BridgeError(f"{backend}: {what}: {_described(error)}: {advice}") from error


def first_line(error: BaseException) -> str:
    """Of an error's message, its kind where it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300].rstrip(".:") if lines else type(error).__name__


def made_by(backend: Any, packages: tuple[str, ...], licence: str) -> Provenance:
    """Provenance of a back end on transformers; the licence is that of its own default model, and of no other."""
    revision, files = model_files(backend.model, backend.revision)
    return Provenance(
        backend=backend.BACKEND,
        model=backend.model,
        revision=revision,
        versions=versions(*packages),
        weights=weight_hashes(file for file in files if file.suffix == ".safetensors"),
        options=options_of(backend),
        licence=licence if backend.model == type(backend).model else "",
    )


def options_of(backend: Any) -> dict[str, Any]:
    """The fields of a back end that its user sets."""
    return {field.name: getattr(backend, field.name) for field in fields(backend) if field.init}


def _from_hub(class_name: str, method: str, model: str, revision: str | None, backend: str, **options: Any) -> Any:
    import transformers

    quiet()
    name = str(expanded(model)) if expanded(model).is_dir() else model
    try:
        return getattr(getattr(transformers, class_name), method)(name, revision=revision or "main", **options)
    except Exception as error:
        why = _described(error)
        if Path(name).is_dir():
            raise BridgeError(
                f"{backend}: {model}: expected a folder that {class_name} loads, got {why}: check its files"
            ) from error
        gated = "gated" in str(error)
        todo = f"ask for access at huggingface.co/{model}, then `hf auth login`" if gated else f"`hf download {model}`"
        raise BridgeUnavailable(
            f"{backend}: {model}: expected a folder or a model that the hub or its cache has, got {why}: "
            f"{todo}, or give a folder as model"
        ) from error


def _described(error: BaseException) -> str:
    """Its kind too: of some, such as KeyError, the message alone says nothing."""
    kind, line = type(error).__name__, first_line(error)
    return kind if line == kind else f"{kind} ({line})"
