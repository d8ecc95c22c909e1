"""Back ends by kind and name, found without importing them.

Another package adds its own by an entry point of the group `fgs_jax.bridges`, named "KIND.NAME", that points at a class
whose fields are its options:

    [project.entry-points."fgs_jax.bridges"]
    "segmenter.mine" = "my_package.segment:MySegmenter"
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any, get_type_hints

from fgs_jax.checked_values import read_as, suggestion
from fgs_jax.errors import BridgeUnavailable, ConfigError
from fgs_jax.files import is_name
from fgs_jax.shipped import shipped

GROUP = "fgs_jax.bridges"
MOST_NUMBER = 2**32
"""In an option of any back end."""
PATHS = ("path", "objects_path", "images", "checkpoint", "config", "landmarks", "model", "lora", "checkout")
"""Options of back ends that name a file or a folder, or a thing of that name elsewhere."""
EXTRA = 'pip install "fgs-jax[bridges]"'
HANDS = f"see {shipped('docs/bridges/hands.md')}"
OBJECTS = f"see {shipped('docs/bridges/objects.md')}"


@dataclass(frozen=True)
class Entry:
    """Where a back end is, and what it needs."""

    target: str
    """"module:class"."""
    needs: tuple[str, ...] = ()
    """Modules that must be importable."""
    install: str = ""
    """The line that installs them."""
    licence: str = ""
    """Of code and weights."""
    automatic: bool = True
    """Whether `auto` may choose it: not what needs the user's files or a choice of licence."""


TORCH = ("torch", "transformers")
BACKENDS: dict[str, dict[str, Entry]] = {
    "text_to_image": {
        "diffusers": Entry(
            "fgs_bridges.text_to_image:Diffusers", (*TORCH, "diffusers"), EXTRA, "Apache-2.0; weights by model"
        ),
        "files": Entry("fgs_bridges.text_to_image:Files", automatic=False),
    },
    "detector": {
        "grounding-dino": Entry("fgs_bridges.detect_by_name:GroundingDino", TORCH, EXTRA, "Apache-2.0"),
        "owlv2": Entry("fgs_bridges.detect_by_name:Owlv2", TORCH, EXTRA, "Apache-2.0"),
        "doh100": Entry("fgs_bridges.detect_files:Doh100", automatic=False),
        "manual": Entry("fgs_bridges.detect_files:Manual", automatic=False),
    },
    "segmenter": {
        "sam2": Entry("fgs_bridges.sam:Sam2", TORCH, EXTRA, "Apache-2.0"),
        "sam": Entry("fgs_bridges.sam:Sam", TORCH, EXTRA, "Apache-2.0"),
        "sam3": Entry("fgs_bridges.sam:Sam3", TORCH, EXTRA, "SAM licence, gated", automatic=False),
        "grabcut": Entry("fgs_bridges.grabcut:GrabCut", ("cv2",), EXTRA, "Apache-2.0", automatic=False),
        "file": Entry("fgs_bridges.segment:MaskFile", automatic=False),
    },
    "hand": {
        "hamer": Entry("fgs_bridges.hamer:Hamer", ("torch", "hamer"), HANDS, "MIT; MANO's own"),
        "wilor": Entry(
            "fgs_bridges.wilor:Wilor",
            ("torch", "wilor_mini"),
            HANDS,
            "CC BY-NC-ND 4.0",
            automatic=False,
        ),
        "mediapipe": Entry("fgs_bridges.mediapipe_hands:MediaPipe", (), HANDS, "Apache-2.0", automatic=False),
        "command": Entry("fgs_bridges.hand_command:HandCommand", automatic=False),
        "file": Entry("fgs_bridges.hands:HandFile", automatic=False),
    },
    "object": {
        "michelangelo": Entry("fgs_bridges.object_commands:Michelangelo", (), OBJECTS, "GPL-3.0", automatic=False),
        "triposr": Entry("fgs_bridges.object_commands:TripoSR", (), OBJECTS, "MIT", automatic=False),
        "shap-e": Entry("fgs_bridges.shap_e:ShapE", (*TORCH, "diffusers"), EXTRA, "MIT"),
        "command": Entry("fgs_bridges.object_commands:ObjectCommand", automatic=False),
        "file": Entry("fgs_bridges.object_commands:MeshFile", automatic=False),
    },
}
"""By kind and name, best first: `auto` takes the first that is installed."""


def names(kind: str) -> list[str]:
    """The back ends of a kind, those of other packages last."""
    _check_kind(kind)
    return [*BACKENDS[kind], *(name for name in _others(kind) if name not in BACKENDS[kind])]


def missing(kind: str, name: str) -> list[str]:
    """The modules that a back end needs and that are not installed."""
    entry = BACKENDS[kind].get(name)
    return [] if entry is None else [module for module in entry.needs if not _found(module)]


def create(kind: str, name: str = "auto", **options: Any) -> Any:
    """A back end, with its options.

    "auto" takes the first of the kind that is installed, says on stderr which, and the back end's provenance records
    it. Raises BridgeUnavailable, with the line that installs it, where it is not installed; ConfigError for an unknown
    kind, name or option.
    """
    automatic = name == "auto"
    if automatic:
        name = _first(kind)
        print(f"fgs: {kind}: auto chose {name}", file=sys.stderr)
    backend = _load(kind, name)
    check_options(f"{kind}.{name}", options, [field.name for field in fields(backend) if field.init])
    made = backend(**check_values(f"{kind}.{name}", options, _types(backend)))
    return _Recorded(made, f"auto chose {name}") if automatic else made


def check_options(where: str, options: Mapping[str, Any], known: list[str]) -> None:
    """Raises ConfigError for an option that is not known, with the nearest one that is."""
    for option in options:
        if option not in known:
            near = suggestion(option, known)
            raise ConfigError(f"{where}: expected options among {', '.join(known)}, got {option}{near and f'; {near}'}")


def check_values(where: str, options: Mapping[str, Any], types: Mapping[str, Any]) -> dict[str, Any]:
    """The options as their fields' types have them. Raises ConfigError for another type, and for a number that means
    nothing."""
    checked = {}
    for option, value in options.items():
        name = f"{where}: {option}"
        checked[option] = read_as(types.get(option, Any), value, name)
        if option in (*PATHS, *_PLACES):
            _check_names(name, value)
        if isinstance(value, int | float) and not abs(value) <= MOST_NUMBER:
            raise ConfigError(f"{name}: expected a number of at most {MOST_NUMBER}, got {value!s:.9}; change it")
    return checked


_PLACES = ("mano", "folder", "cwd", "python", "hand_model")
"""Options that name a file or a folder and nothing else."""


def _check_names(where: str, value: Any) -> None:
    for name in value if isinstance(value, list | tuple) else (value,):
        if isinstance(name, str | os.PathLike) and not is_name(os.fspath(name)):
            raise ConfigError(f"{where}: expected a path, got {name!s:.40}, a name that no file can have; change it")


def _types(backend: type) -> dict[str, Any]:
    try:
        return get_type_hints(backend)
    except (NameError, TypeError):  # of another package, in its own words
        return {}


class _Recorded:
    """A back end whose provenance says that `auto` chose it."""

    def __init__(self, backend: Any, note: str) -> None:
        self._backend, self._note = backend, note

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._backend(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def provenance(self) -> Any:
        made = self._backend.provenance()
        return replace(made, notes=(*made.notes, self._note))


def _first(kind: str) -> str:
    _check_kind(kind)
    automatic = [name for name, entry in BACKENDS[kind].items() if entry.automatic]
    for name in automatic:
        if not missing(kind, name):
            return name
    advice = BACKENDS[kind][automatic[0]].install if automatic else f"name one of {', '.join(names(kind))}"
    raise BridgeUnavailable(f"{kind}: expected one of {', '.join(automatic) or 'none'} installed, found none: {advice}")


def _load(kind: str, name: str) -> type:
    _check_kind(kind)
    if name in BACKENDS[kind]:
        entry = BACKENDS[kind][name]
        if absent := missing(kind, name):
            raise BridgeUnavailable(f"{kind}.{name}: needs {', '.join(absent)}, not installed here: {entry.install}")
        module, _, attribute = entry.target.partition(":")
        return getattr(import_module(module), attribute)
    others = _others(kind)
    if name not in others:
        known = names(kind)
        near = suggestion(name, known)
        raise ConfigError(
            f"{kind}: expected a back end among auto, {', '.join(known)}, got {name}{near and f'; {near}'}"
        )
    try:
        return others[name].load()
    except ImportError as error:
        raise BridgeUnavailable(
            f"{kind}.{name}: cannot be imported ({error}): install what its package needs"
        ) from error


def _others(kind: str) -> dict[str, Any]:
    prefix = f"{kind}."
    return {
        point.name.removeprefix(prefix): point for point in entry_points(group=GROUP) if point.name.startswith(prefix)
    }


def _found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _check_kind(kind: str) -> None:
    if kind not in BACKENDS:
        raise ConfigError(f"expected a kind among {', '.join(BACKENDS)}, got {kind}")
