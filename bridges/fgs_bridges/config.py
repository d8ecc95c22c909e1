"""Which back end makes what, and its options: one YAML file for a whole stack (`configs/generate` has two)."""

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fgs_bridges import registry
from fgs_jax import strict
from fgs_jax.config import MOST_CONFIG
from fgs_jax.errors import ConfigError
from fgs_jax.files import expanded, read_input
from fgs_jax.shipped import shipped, shipped_path

KINDS = tuple(registry.BACKENDS)
"""text_to_image, detector, segmenter, hand, object."""
KEYS = {kind: kind for kind in KINDS} | {"object_picture": "text_to_image", "object_segmenter": "segmenter"}
"""What chooses a back end, and of which kind; the last two are for the object alone, where another shall serve it."""
HAND_MASKS = ("segmenter", "silhouette")
STACKS = ("open", "paper")
"""Those that are shipped, by name."""
_EXAMPLES = shipped("configs/generate")


@dataclass(frozen=True)
class Choice:
    """A back end by name, and its options."""

    backend: str = "auto"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class GenerateConfig:
    """A stack of back ends, and what is known beside them."""

    backends: dict[str, Choice] = field(default_factory=lambda: {kind: Choice() for kind in KINDS})
    """By the names of `KEYS`."""
    hand_mask: str = "segmenter"
    """Or "silhouette": of the posed hand, where the object's mask does not cover it."""
    object_size: str = "unknown"
    """Of the mesh: "metric" for metres."""
    focal: float | None = None
    """Pixels, where the hand's back end gives no camera."""
    seed: int = 0
    refine: str = "fast"
    """Configuration of `fgs refine`, by name or file."""

    def values(self) -> dict[str, Any]:
        """As plain values, which `generate_config` takes."""
        kinds = {kind: {"backend": choice.backend, **choice.options} for kind, choice in self.backends.items()}
        return kinds | {name: getattr(self, name) for name in _OTHERS}


_OTHERS: dict[str, tuple[type, ...]] = {
    "hand_mask": (str,),
    "object_size": (str,),
    "focal": (int, float, type(None)),
    "seed": (int,),
    "refine": (str,),
}
_CHOICES = {"hand_mask": HAND_MASKS, "object_size": ("unknown", "metric")}


class Backends(Mapping[str, Any]):
    """The back ends of a configuration, each made when it is first asked for and then kept."""

    def __init__(self, config: GenerateConfig) -> None:
        self._choices, self._made = config.backends, dict[str, Any]()

    def __getitem__(self, kind: str) -> Any:
        if kind not in self._made:
            choice = self._choices[kind]
            self._made[kind] = registry.create(KEYS[kind], choice.backend, **choice.options)
        return self._made[kind]

    def __contains__(self, kind: object) -> bool:
        return kind in self._choices

    def __iter__(self) -> Iterator[str]:
        return iter(self._choices)

    def __len__(self) -> int:
        return len(self._choices)


def load_generate_config(source: str | Path) -> GenerateConfig:
    """A stack by its name ("open", "paper") or from a YAML file; a kind that it leaves out is chosen by `auto`.

    Raises ConfigError for a file that is missing or no YAML, for an unknown key, and for a value that means nothing.
    """
    path = shipped_path(f"configs/generate/{source}.yaml") if str(source) in STACKS else expanded(source)
    values = read_yaml(path, f", see {_EXAMPLES} for two to copy, or name one of them: {', '.join(STACKS)}")
    return generate_config(values or {}, str(path))


def generate_config(values: Any, where: str = "configuration") -> GenerateConfig:
    """A stack from plain values: a back end's name, or its name and options, under each kind."""
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: expected names and values, got {values!r:.40}; see {_EXAMPLES}")
    chosen, others = {kind: Choice() for kind in KINDS}, {}
    for name, value in values.items():
        if name in KEYS:
            chosen[name] = _choice(name, value, where)
        elif name in _OTHERS:
            others[name] = _other(name, value, where)
        else:
            raise ConfigError(f"{where}: unknown key {name}; {hint(name, (*KEYS, *_OTHERS))}")
    return GenerateConfig(chosen, **others)


def with_backend(config: GenerateConfig, kind: str, name: str) -> GenerateConfig:
    """The configuration with another back end of a kind; its options stay where the name does."""
    chosen = config.backends.get(kind, Choice())
    if chosen.backend != name:
        chosen = _choice(kind, name, f"--set {kind}.backend")
    return replace(config, backends=config.backends | {kind: chosen})


def with_option(config: GenerateConfig, assignment: str) -> GenerateConfig:
    """The configuration with one option of a back end set, by "KIND.OPTION=VALUE", the value as in YAML; the option
    "backend" is its name.

    Raises ConfigError for another form, and for an option of a back end that has no name yet.
    """
    name, equals, text = assignment.partition("=")
    kind, dot, option = name.partition(".")
    if not (equals and dot and option) or kind not in KEYS:
        known = ", ".join(KEYS)
        raise ConfigError(f"--set: expected KIND.OPTION=VALUE with a kind among {known}, got {assignment}")
    try:
        value = strict.read_yaml(text.encode())
    except ValueError as error:
        raise ConfigError(f"--set {name}: expected a value as in YAML, got {text}; put it in quotes") from error
    if option == "backend":
        return with_backend(config, kind, str(value))
    old = config.backends.get(kind, Choice())
    if old.backend == "auto":
        raise ConfigError(f"--set {name}: auto takes no options; name the back end first: --set {kind}.backend=NAME")
    return replace(config, backends=config.backends | {kind: replace(old, options=old.options | {option: value})})


def _choice(kind: str, value: Any, where: str) -> Choice:
    if isinstance(value, str):
        value = {"backend": value}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{where}: {kind}: expected a back end's name, or backend: NAME and its options")
    options = dict(value)
    name = options.pop("backend", "auto")
    known = ("auto", *registry.names(KEYS[kind]))
    if name not in known:
        raise ConfigError(f"{where}: {kind}: unknown back end {name}; {hint(name, known)}")
    if name == "auto" and options:
        raise ConfigError(
            f"{where}: {kind}: expected backend: NAME beside {next(iter(options))}; auto takes no options"
        )
    return Choice(name, options)


def _other(name: str, value: Any, where: str) -> Any:
    kinds = _OTHERS[name]
    if not isinstance(value, kinds) or isinstance(value, bool):
        words = " or ".join("nothing" if kind is type(None) else kind.__name__ for kind in kinds)
        raise ConfigError(f"{where}: {name}: expected {words}, got {value!r:.40}; change it")
    if name in _CHOICES and value not in _CHOICES[name]:
        raise ConfigError(f"{where}: {name}: expected {' or '.join(_CHOICES[name])}, got {value}; change it")
    if name == "focal" and isinstance(value, int | float) and not (math.isfinite(value) and value > 0):
        raise ConfigError(f"{where}: focal: expected a positive number of pixels, got {value}; change it")
    if name == "seed" and isinstance(value, int) and not 0 <= value < 2**32:
        raise ConfigError(f"{where}: seed: expected a whole number from 0 to {2**32 - 1}, got {value}; change it")
    return value


def read_yaml(path: str | Path, advice: str = "") -> Any:
    """What a YAML file holds. Raises ConfigError for a file that is missing, with advice, or no YAML."""
    path = Path(path)
    data = read_input(path, "a YAML file", ConfigError, most=MOST_CONFIG, absent=f"check the path{advice}")
    try:
        return strict.read_yaml(data)
    except ValueError as error:
        raise ConfigError(f"{path}: expected YAML, got {error}; mend the file") from error


def hint(name: Any, known: Sequence[str]) -> str:
    """The known name that is nearest, else all of them."""
    near = difflib.get_close_matches(str(name), known, 1)
    return f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
