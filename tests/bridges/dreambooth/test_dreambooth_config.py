"""The file of a training: every setting at its default, and one line for what is wrong in it."""

import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image as Pictures

from fgs_bridges.dreambooth_config import Dreambooth, read_config
from fgs_jax.errors import ConfigError
from tests.bridges.dreambooth.training import CLASSES, ROOT
from tests.bridges.tiny_diffusion import picture

EXAMPLE = ROOT / "configs" / "dreambooth.yaml"


def test_example_holds_every_setting_at_its_default(tmp_path: Path) -> None:
    values = yaml.safe_load(EXAMPLE.read_text())
    assert list(values) == [item.name for item in fields(Dreambooth)]
    for name in CLASSES:
        for pair in values[name]["pairs"]:
            (tmp_path / pair["image"]).parent.mkdir(exist_ok=True)
            Pictures.fromarray(picture(0)).save(tmp_path / pair["image"])
    shutil.copy(EXAMPLE, tmp_path / "data.yaml")
    config = read_config(tmp_path / "data.yaml")
    assert config == Dreambooth(config.interaction, config.object)
    assert (config.steps, config.learning_rate, config.prior_weight) == (2000, 1e-6, 1.0)
    assert config.interaction.pairs[2].text == "a hand cuts bread with a knife"
    assert config.object.pairs[0].image == str(tmp_path / "pictures" / "mug.jpg")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rat": 1e-4}, r"unknown key learning_rat; did you mean learning_rate\?"),
        ({"steps": "many"}, r"steps: expected a whole number, got 'many'"),
        ({"steps": True}, r"steps: expected a whole number, got True"),
        ({"steps": 0}, r"steps: expected at least 1, got 0"),
        ({"prior_weight": -1.0}, r"prior_weight: expected a number that is not negative, got -1\.0"),
        ({"method": "lore"}, r"method: expected one of full, lora, got 'lore'"),
        ({"sample_prompts": "a mug"}, r"sample_prompts: expected a list, got 'a mug'"),
        ({"object": None}, "object: expected names and values, got None"),
        ({"object": {"class_prompt": "an object"}}, "object: expected all of class_prompt, pairs, missing pairs"),
        ({"object": {"class_prompt": "an object", "pairs": []}}, r"object: pairs: expected pictures .*, got none"),
        ({"object": {"class_prompt": " ", "pairs": []}}, r"object: class_prompt: expected a text, got an empty one"),
        (
            {"object": {"class_prompt": "an object", "pairs": [{"image": "gone.png", "text": "a mug"}]}},
            r"object: pairs\[0\]: image: .*gone\.png: there is no such picture",
        ),
        (
            {"object": {"class_prompt": "an object", "pairs": [{"image": "a.png", "texts": "a mug"}]}},
            r"object: pairs\[0\]: unknown key texts; did you mean text\?",
        ),
        (
            {"object": {"class_prompt": "an object", "pairs": [{"image": "a.png", "text": ""}]}},
            r"object: pairs\[0\]: text: expected a text, got an empty one",
        ),
    ],
)
def test_bad_files(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    Pictures.fromarray(picture(0)).save(tmp_path / "a.png")
    kind = {"class_prompt": "x", "pairs": [{"image": "a.png", "text": "y"}]}
    path = tmp_path / "data.yaml"
    path.write_text(yaml.safe_dump({"interaction": kind, "object": kind}))
    assert read_config(path).steps == 2000
    path.write_text(yaml.safe_dump({"interaction": kind, "object": kind} | changes))
    with pytest.raises(ConfigError, match=message) as caught:
        read_config(path)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(f"{path}: ")


def test_files_that_are_no_yaml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a YAML file, there is none"):
        read_config(tmp_path / "gone.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1\nb: 2")
    with pytest.raises(ConfigError, match="expected YAML") as caught:
        read_config(tmp_path / "bad.yaml")
    assert "\n" not in str(caught.value)
