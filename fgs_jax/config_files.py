"""Configurations by name and from YAML files, checked, and as plain values."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from fgs_jax.checked_values import check_numbers, from_values
from fgs_jax.config import CONFIGS, FAST, RefineConfig
from fgs_jax.config_bounds import MOST_ENERGIES, RULES
from fgs_jax.errors import ConfigError
from fgs_jax.extensions import Term, name_of
from fgs_jax.files import read_input
from fgs_jax.strict import read_yaml

MOST_CONFIG = 2**20
"""Bytes of a YAML file."""


def load_config(source: str | Path, otherwise: RefineConfig = FAST) -> RefineConfig:
    """A configuration by its name ("fast", "paper", "given") or from a YAML file.

    `otherwise`: what the file leaves out.

    Raises ConfigError for a name or a file that there is not, for one that `strict.read_yaml` refuses, and for an
    unknown key, a wrong type or a negative value.
    """
    if str(source) in CONFIGS:
        return CONFIGS[str(source)]
    values = read_yaml_file(Path(source), f"{', '.join(CONFIGS)} or a YAML file")
    if values is None:
        return otherwise
    config = from_values(RefineConfig, values, RULES, str(source), otherwise)
    _check_recorded(config, str(source))
    return config


def check_config(config: Any, where: str = "configuration") -> None:
    """Raises ConfigError for a number that is negative, not finite or out of its bounds, before it is worked with.

    `config`: a RefineConfig or a part of one; of the whole its own terms are looked up, too, as `named_terms` does.
    """
    check_numbers(config, RULES, where)
    if isinstance(config, RefineConfig):
        _check_recorded(config, where)
        for part in (config.opa, config.contact):
            part.own_terms()


def config_values(config: Any) -> dict[str, Any]:
    """The configuration as plain values, for YAML and JSON; terms of one's own by the names of their functions."""
    return {item.name: _plain_values(getattr(config, item.name)) for item in fields(config)}


def _plain_values(value: Any) -> Any:
    if isinstance(value, Term) or callable(value):
        return name_of(value)
    if is_dataclass(value):
        return config_values(value)
    if isinstance(value, Mapping):
        return {name: _plain_values(part) for name, part in value.items()}
    return [_plain_values(part) for part in value] if isinstance(value, tuple | list) else value


def read_yaml_file(path: Path, expected: str = "a YAML file", *, absent: str = "check the path") -> Any:
    """What a YAML file holds, None where it is empty. `expected`, `absent`: as `files.read_input` takes them.

    Raises ConfigError for a file that there is not, that is too large, and that `strict.read_yaml` refuses.
    """
    data = read_input(path, expected, ConfigError, most=MOST_CONFIG, absent=absent)
    try:
        return read_yaml(data)
    except ValueError as error:
        raise ConfigError(f"{path}: expected YAML, got {error}; mend the file") from error


def _check_recorded(config: RefineConfig, where: str) -> None:
    most = max(phase.steps for phase in config.opa.phases) * config.restarts
    if most > MOST_ENERGIES:
        raise ConfigError(
            f"{where}: restarts: expected at most {MOST_ENERGIES:.0e} steps of all of them together in one phase, "
            f"for each is recorded, got {most:.1e}; take fewer restarts or steps"
        )
