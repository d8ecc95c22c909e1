"""Which back end makes what, and its options: one YAML file for a whole stack (`configs/generate` has two)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from fgs_bridges import registry
from fgs_jax.checked_values import Bounds, Rules, from_values, suggestion
from fgs_jax.config_files import read_yaml_file
from fgs_jax.errors import ConfigError
from fgs_jax.files import expanded
from fgs_jax.shipped import shipped, shipped_path
from fgs_jax.strict import read_yaml

KINDS = tuple(registry.BACKENDS)
"""text_to_image, detector, segmenter, hand, object."""
KEYS = {kind: kind for kind in KINDS} | {"object_picture": "text_to_image", "object_segmenter": "segmenter"}
"""What chooses a back end, and of which kind; the last two are for the object alone, where another shall serve it."""
STACKS = ("open", "paper")
"""Those that are shipped, by name."""
_EXAMPLES = shipped("configs/generate")
_RULES = Rules(
    {"options": None, "focal": Bounds(0, registry.MOST_NUMBER, open=True), "seed": Bounds(0, 2**32 - 1)},
    otherwise=Bounds(0, registry.MOST_NUMBER),
    example=_EXAMPLES,
)


@dataclass(frozen=True)
class Choice:
    """A back end by name, and its options."""

    backend: str = "auto"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class GenerateConfig:
    """A stack of back ends, by the names of `KEYS`, and what is known beside them."""

    text_to_image: Choice = Choice()
    detector: Choice = Choice()
    segmenter: Choice = Choice()
    hand: Choice = Choice()
    object: Choice = Choice()
    object_picture: Choice | None = None
    object_segmenter: Choice | None = None
    hand_mask: Literal["segmenter", "silhouette"] = "segmenter"
    """Or "silhouette": of the posed hand, where the object's mask does not cover it."""
    object_size: Literal["unknown", "metric"] = "unknown"
    """Of the mesh: "metric" for metres."""
    focal: float | None = None
    """Pixels, where the hand's back end gives no camera."""
    seed: int = 0
    refine: str = "fast"
    """Configuration of `fgs refine`, by name or file."""

    @property
    def backends(self) -> dict[str, Choice]:
        """Those that are chosen, by the names of `KEYS`."""
        return {name: choice for name in KEYS if (choice := getattr(self, name)) is not None}

    def values(self) -> dict[str, Any]:
        """As plain values, which `generate_config` takes."""
        chosen = {name: {"backend": choice.backend, **choice.options} for name, choice in self.backends.items()}
        return chosen | {item.name: getattr(self, item.name) for item in fields(self) if item.name not in KEYS}


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
    advice = f"check the path, see {_EXAMPLES} for two to copy, or name one of them: {', '.join(STACKS)}"
    return generate_config(read_yaml_file(path, absent=advice) or {}, str(path))


def generate_config(values: Any, where: str = "configuration") -> GenerateConfig:
    """A stack from plain values: a back end's name, or its name and options, under each kind."""
    if isinstance(values, dict):
        values = {name: _choice(name, value, where) if name in KEYS else value for name, value in values.items()}
    return from_values(GenerateConfig, values, _RULES, where)


def with_backend(config: GenerateConfig, kind: str, name: str) -> GenerateConfig:
    """The configuration with another back end of a kind; its options stay where the name does."""
    if config.backends.get(kind, Choice()).backend == name:
        return config
    return replace(config, **{kind: _choice(kind, name, f"--set {kind}.backend")})


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
        value = read_yaml(text.encode())
    except ValueError as error:
        raise ConfigError(f"--set {name}: expected a value as in YAML, got {text}; put it in quotes") from error
    if option == "backend":
        return with_backend(config, kind, str(value))
    old = config.backends.get(kind, Choice())
    if old.backend == "auto":
        raise ConfigError(f"--set {name}: auto takes no options; name the back end first: --set {kind}.backend=NAME")
    return replace(config, **{kind: replace(old, options=old.options | {option: value})})


def _choice(kind: str, value: Any, where: str) -> Choice:
    if isinstance(value, str):
        value = {"backend": value}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{where}: {kind}: expected a back end's name, or backend: NAME and its options")
    options = dict(value)
    name = options.pop("backend", "auto")
    known = ("auto", *registry.names(KEYS[kind]))
    if name not in known:
        advice = suggestion(name, known) or f"expected one of {', '.join(known)}"
        raise ConfigError(f"{where}: {kind}: unknown back end {name}; {advice}")
    if name == "auto" and options:
        raise ConfigError(
            f"{where}: {kind}: expected backend: NAME beside {next(iter(options))}; auto takes no options"
        )
    return Choice(name, options)
