"""Stacks of back ends: the two that are shipped, and every mistake in one in a line."""

from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from fgs_bridges.config import (
    KEYS,
    KINDS,
    Backends,
    Choice,
    GenerateConfig,
    generate_config,
    load_generate_config,
    with_backend,
    with_option,
)
from fgs_bridges.detect_files import Manual
from fgs_bridges.registry import BACKENDS
from fgs_jax.config_files import load_config
from fgs_jax.errors import ConfigError

SHIPPED = Path(__file__).parents[2] / "configs" / "generate"


@pytest.mark.parametrize("name", ["paper", "open"])
def test_shipped_stacks_name_options_that_are_there(name):
    config = load_generate_config(SHIPPED / f"{name}.yaml")
    assert set(config.backends) == set(KINDS)
    for kind, choice in config.backends.items():
        module, _, attribute = BACKENDS[kind][choice.backend].target.partition(":")
        options = {item.name for item in fields(getattr(import_module(module), attribute)) if item.init}
        assert set(choice.options) <= options, kind
    assert config.object_size == "unknown"
    load_config(config.refine)


def test_shipped_stacks_are_the_ones_that_they_say():
    chosen = {
        name: {kind: choice.backend for kind, choice in load_generate_config(SHIPPED / f"{name}.yaml").backends.items()}
        for name in ("paper", "open")
    }
    assert list(chosen["paper"].values()) == ["diffusers", "grounding-dino", "sam", "hamer", "michelangelo"]
    assert list(chosen["open"].values()) == ["diffusers", "grounding-dino", "sam2", "mediapipe", "triposr"]


def test_values_make_the_same_configuration():
    config = load_generate_config(SHIPPED / "paper.yaml")
    config = with_option(config, "object_segmenter.backend=sam3")
    config = with_option(config, "object_segmenter.text=mug")
    config = with_backend(config, "detector", "manual")
    config = with_option(config, "detector.path=boxes.json")
    assert generate_config(yaml.safe_load(yaml.safe_dump(config.values()))) == config
    assert config.backends["detector"] == Choice("manual", {"path": "boxes.json"})


def test_what_is_left_out_is_chosen_by_auto():
    assert generate_config({"hand": "mediapipe"}).backends["segmenter"] == Choice("auto")
    assert generate_config({}) == GenerateConfig()


def test_naming_the_back_end_that_is_there_keeps_its_options():
    config = load_generate_config(SHIPPED / "paper.yaml")
    assert with_backend(config, "hand", "hamer") == config
    assert with_backend(config, "hand", "wilor").backends["hand"] == Choice("wilor")


def test_options_are_typed_as_in_yaml():
    config = with_backend(GenerateConfig(), "hand", "hamer")
    config = with_option(with_option(config, "hand.rescale=2.5"), "hand.device=cpu")
    assert config.backends["hand"].options == {"rescale": 2.5, "device": "cpu"}
    with pytest.raises(
        ConfigError, match=r"auto takes no options; name the back end first: --set object\.backend=NAME"
    ):
        with_option(config, "object.path=mug.obj")
    with pytest.raises(ConfigError, match=r"hand: unknown back end hamr; did you mean hamer\?"):
        with_backend(config, "hand", "hamr")


def test_back_ends_are_made_once_and_when_asked_for():
    config = generate_config(
        {"detector": {"backend": "manual", "path": "b.json"}, "hand": {"backend": "file", "pth": 1}}
    )
    backends = Backends(config)
    assert isinstance(backends["detector"], Manual) and backends["detector"] is backends["detector"]
    assert "object_picture" not in backends and "hand" in backends
    with pytest.raises(ConfigError, match=r"hand\.file: .*got pth; did you mean path\?"):
        backends["hand"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"detectr": "manual"}, "unknown key detectr; did you mean detector?"),
        ({"zzz": 1}, "unknown key zzz; expected one of text_to_image, "),
        ({"hand": "hammer"}, "hand: unknown back end hammer; did you mean hamer?"),
        ({"hand": 3}, "hand: expected a back end's name, or backend: NAME and its options"),
        ({"hand": {"checkpoint": "x"}}, "hand: expected backend: NAME beside checkpoint; auto takes no options"),
        ({"object_size": "metrc"}, "object_size: expected one of unknown, metric, got 'metrc'"),
        ({"hand_mask": "sam"}, "hand_mask: expected one of segmenter, silhouette, got 'sam'"),
        ({"focal": -1}, "focal: expected a number that is not negative, got -1"),
        ({"focal": 0}, "focal: expected more than 0, got 0"),
        ({"focal": "wide"}, "focal: expected a number or nothing, got 'wide'"),
        ({"seed": True}, "seed: expected a whole number, got True"),
        ({"seed": -1}, "seed: expected a number that is not negative, got -1"),
        (["hand"], "expected names and values, got ['hand']"),
    ],
)
def test_mistakes_are_one_line(values, message):
    with pytest.raises(ConfigError) as caught:
        generate_config(values, "stack.yaml")
    assert str(caught.value).startswith("stack.yaml: ") and message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(ConfigError, match="there is none; check the path, see configs/generate"):
        load_generate_config(tmp_path / "no.yaml")
    (tmp_path / "bad.yaml").write_text("hand: [")
    with pytest.raises(ConfigError, match=r"bad\.yaml: expected YAML, got [^\n]*; mend the file$"):
        load_generate_config(tmp_path / "bad.yaml")
    (tmp_path / "empty.yaml").write_text("")
    assert load_generate_config(tmp_path / "empty.yaml") == GenerateConfig()


@pytest.mark.parametrize("assignment", ["hand", "hand=1", "hand.=1", "mesh.path=1", ".path=1"])
def test_assignments_that_mean_nothing(assignment):
    with pytest.raises(ConfigError, match=r"--set: expected KIND\.OPTION=VALUE with a kind among text_to_image"):
        with_option(GenerateConfig(), assignment)


def test_every_key_is_of_a_kind():
    assert set(KEYS.values()) == set(KINDS) and set(KINDS) <= set(KEYS)
