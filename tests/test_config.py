"""Configurations: the files for people equal the constants, Table 2 stands in PAPER, and each bad value is one line."""

import math
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from fgs_jax.checked_values import from_values
from fgs_jax.config import CONFIGS, FAST, GIVEN, PAPER, ContactConfig, Phase, RefineConfig
from fgs_jax.config_bounds import RULES
from fgs_jax.config_files import check_config, config_values, load_config
from fgs_jax.errors import ConfigError
from fgs_jax.extensions import Term

FOLDER = Path(__file__).parent.parent / "configs"


@pytest.fixture
def load(tmp_path):
    """The configuration of a YAML text."""

    def load(text: str) -> RefineConfig:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return load_config(path)

    return load


@pytest.mark.parametrize("name", CONFIGS)
def test_the_file_for_people_equals_the_constant(name):
    values = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    assert values == config_values(CONFIGS[name])  # complete, not filled up from FAST
    assert load_config(FOLDER / f"{name}.yaml") == CONFIGS[name] == load_config(name)
    assert load_config(str(FOLDER / f"{name}.yaml")) == CONFIGS[name]


def test_there_is_a_file_for_each_name():
    assert {path.stem for path in FOLDER.glob("*.yaml")} - {"dreambooth"} == set(CONFIGS)
    assert CONFIGS == {"fast": FAST, "paper": PAPER, "given": GIVEN}


def test_table_2_stands_in_paper():
    opa, contact = PAPER.opa, PAPER.contact
    assert opa.lambda_cam == 1000
    assert opa.lambda_dep == 0.1
    assert len(opa.phases) == 1
    phase = opa.phases[0]
    assert phase.steps == 1000
    assert phase.translation_rate == (1e-2, 1e-3)
    assert phase.rotation_rate == (1e-2, 1e-1)
    assert phase.keep == 1
    assert contact.steps_one == 300
    assert contact.w_dis_one == 1
    assert contact.w_pen_one == 5
    assert contact.steps == 3000
    assert contact.w_dis == 100
    assert contact.w_pen == 200
    assert contact.w_prior == 0.5
    assert contact.w_spen == 10
    assert contact.pose_start == 0.5
    assert contact.w_theta == 0.5
    assert contact.w_t == 100


def test_paper_is_without_what_is_not_in_the_paper():
    opa, contact = PAPER.opa, PAPER.contact
    assert opa.paper_form and not opa.hand_hides and opa.contour == 0 and opa.polish_evaluations == 0
    assert (contact.step_one, contact.contacts, contact.schedule) == ("adam", "random", "constant")
    assert contact.rate_one == contact.angle_rate == contact.translation_rate == 1e-4  # App. B
    assert not contact.both_directions
    assert contact.w_keypoint == contact.w_order == contact.w_order_one == 0
    assert PAPER.candidates == opa.candidates == 1
    assert PAPER.w_mask == PAPER.w_agreement == 0


def test_the_weights_of_contact_are_named_by_their_terms():
    contact = replace(FAST.contact, **{f"w_{name}": float(k) for k, name in enumerate(FAST.contact.term_weights)})
    names = ["dis", "pen", "prior", "spen", "theta", "t", "keypoint", "order"]
    assert contact.term_weights == {name: float(k) for k, name in enumerate(names)}
    one = {"w_dis_one", "w_pen_one", "w_order_one", "w_size"}
    assert {f"w_{name}" for name in names} == {f.name for f in fields(ContactConfig) if f.name[:2] == "w_"} - one


def test_values_come_back():
    changed = replace(PAPER, seed=7, hand_model="mano", contact=replace(PAPER.contact, w_pen=1e-7, schedule="cosine"))
    for config in (FAST, PAPER, changed):
        values = config_values(config)
        assert from_values(RefineConfig, values, RULES, "values") == config
        assert from_values(RefineConfig, yaml.safe_load(yaml.safe_dump(values)), RULES, "yaml") == config
        assert {key: values[key] for key in values if key not in ("opa", "contact")} == {
            key: value for key, value in asdict(config).items() if key not in ("opa", "contact")
        }
    assert config_values(FAST)["opa"]["phases"][1]["rotation_rate"] == [3e-2, 1e-2]


def test_a_file_changes_what_it_names_alone(load):
    config = load("restarts: 12\ncontact:\n  w_pen: 500\n  schedule: constant\nopa: {hand_hides: false}\n")
    expected = replace(
        FAST,
        restarts=12,
        contact=replace(FAST.contact, w_pen=500.0, schedule="constant"),
        opa=replace(FAST.opa, hand_hides=False),
    )
    assert config == expected
    assert isinstance(config.contact.w_pen, float)
    assert load("") == load("# nothing but words\n") == FAST


def test_solvers_and_terms_are_texts_in_a_file_and_anything_from_python(load):
    config = load("opa: {solver: lion, terms: {flat: 'math:sin'}, weights: {flat: 1e-3}}").opa
    assert (config.solver, config.terms, config.weights) == ("lion", {"flat": "math:sin"}, {"flat": 1e-3})
    assert config.term_weights == {"dist": 1.0, "dep": 0.1, "cam": 1000.0, "size": 0.001, "flat": 1e-3}
    assert config.own_terms()["flat"].function is math.sin
    terms = {"one": test_values_come_back, "two": Term(len, 3.0)}
    given = replace(FAST.opa, solver=load_config, terms=terms)
    values = config_values(given)
    assert values["solver"] == "fgs_jax.config_files:load_config" and isinstance(hash(given), int)
    assert values["terms"] == {"one": f"{__name__}:test_values_come_back", "two": "builtins:len"}
    for text, message in {
        "terms: [one]": r"opa: terms: expected names and values, got \['one'\]",
        "weights: {one: much}": "opa: weights: one: expected a number, got 'much'",
        "weights: {one: -1}": "opa: weights: one: expected a number that is not negative, got -1",
    }.items():
        with pytest.raises(ConfigError, match=message):
            load(f"opa: {{{text}}}")


def test_a_power_of_ten_that_yaml_takes_for_a_word_is_a_number(load):
    assert yaml.safe_load("1e-4") == "1e-4"
    assert load("contact: {angle_rate: 1e-4}").contact.angle_rate == 1e-4
    phase = (
        "{keep: 1, least: 1, steps: 5, points: 6, targets: 7, rotation_rate: [1e-2, 1e-3], translation_rate: [1, 2]}"
    )
    config = load(f"opa: {{phases: [{phase}, {phase}]}}")
    assert config.opa == replace(FAST.opa, phases=(Phase(1.0, 1, 5, 6, 7, (1e-2, 1e-3), (1.0, 2.0)),) * 2)
    assert isinstance(config.opa.phases[0].keep, float) and isinstance(config.opa.phases[0].translation_rate[0], float)


WRONG = {
    "not yaml": ("contact: [1, 2", "expected YAML, got .*; mend the file"),
    "a list": ("- 1\n- 2", r"expected names and values, got \[1, 2\]; see configs/fast.yaml"),
    "a word": ("fast", "expected names and values, got 'fast'"),
    "a section that is a number": ("contact: 3", "contact: expected names and values, got 3"),
    "a typo": ("restart: 3", "unknown key restart; did you mean restarts"),
    "a typo within": ("contact: {w_pem: 3}", "contact: unknown key w_pem; did you mean w_pen"),
    "a name like no other": ("qqq: 3", "unknown key qqq; expected one of opa, contact, restarts, candidates"),
    "a key that is no word": ("3: 3", "unknown key 3; expected one of"),
    "a word for a count": ("restarts: many", "restarts: expected a whole number, got 'many'"),
    "a part of a count": ("restarts: 2.5", "restarts: expected a whole number, got 2.5"),
    "a truth for a count": ("restarts: true", "restarts: expected a whole number, got True"),
    "a truth for a number": ("contact: {w_pen: true}", "contact: w_pen: expected a number, got True"),
    "a word for a truth": ("opa: {hand_hides: no}", "opa: hand_hides: expected true or false, got 'no'"),
    "minutes for a number": ("restarts: 1:30", "restarts: expected a whole number, got '1:30'"),
    "a key twice": ("restarts: 3\nseed: 1\nrestarts: 4", "the key 'restarts' is there twice, again in line 3; mend"),
    "a key twice inside": ("contact: {w_pen: 1, w_pen: 2}", "expected YAML, got the key 'w_pen' is there twice"),
    "nested without end": ("[" * 5000, "expected YAML, got values nested deeper than 64 in line 1; mend the file"),
    "two documents": ("restarts: 3\n---\nseed: 1", "expected YAML, got expected a single document"),
    "a number without end": ("restarts: " + "9" * 5000, "expected YAML, got 9{40} is too large a whole number"),
    "a word for a number": ("contact: {w_pen: heavy}", "contact: w_pen: expected a number, got 'heavy'"),
    "nothing for a number": ("contact: {w_pen: }", "contact: w_pen: expected a number, got None"),
    "a list for a number": ("contact: {w_pen: [1]}", r"contact: w_pen: expected a number, got \[1\]"),
    "a number for a truth": ("opa: {hand_hides: 1}", "opa: hand_hides: expected true or false, got 1"),
    "a number for a name": ("hand_model: 3", "hand_model: expected a text, got 3"),
    "a negative weight": ("contact: {w_pen: -1}", "contact: w_pen: expected a number that is not negative, got -1"),
    "a negative count": ("restarts: -3", "restarts: expected a number that is not negative, got -3"),
    "nan": ("contact: {w_pen: .nan}", "contact: w_pen: expected a number that is not negative, got nan"),
    "nan as a word": ("contact: {w_pen: nan}", "contact: w_pen: expected a number that is not negative, got nan"),
    "infinity": ("contact: {reach: .inf}", "contact: reach: expected a number that is not negative, got inf"),
    "no start": ("restarts: 0", "restarts: expected at least 1, got 0"),
    "no step": ("contact: {steps: 0}", "contact: steps: expected at least 1, got 0"),
    "more than all": ("opa: {contour: 1.5}", "opa: contour: expected a share of at most 1, got 1.5"),
    "no such choice": ("contact: {schedule: linear}", "schedule: expected one of cosine, constant, got 'linear'"),
    "a list for a choice": ("contact: {schedule: [cosine]}", r"expected one of cosine, constant, got \['cosine'\]"),
    "no phase": ("opa: {phases: []}", "opa: phases: expected at least 1, got 0"),
    "a phase that is no list": ("opa: {phases: {keep: 1}}", "opa: phases: expected a list, got {'keep': 1}"),
    "half a phase": (
        "opa: {phases: [{keep: 1, steps: 3}]}",
        r"phases\[0\]: expected all of keep, least, .*, missing least, points, rotation_rate, targets, translation",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_a_bad_file_is_one_line(load, tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load(text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize(
    ("phase", "message"),
    [
        ("rotation_rate: [1, 2, 3]", r"phases\[1\]: rotation_rate: expected a list of 2, got \[1, 2, 3\]"),
        ("rotation_rate: [0.1]", r"phases\[1\]: rotation_rate: expected a list of 2, got \[0.1\]"),
        ("rotation_rate: 0.1", r"phases\[1\]: rotation_rate: expected a list of 2, got 0.1"),
        ("rotation_rate: [0.1, fast]", r"phases\[1\]: rotation_rate\[1\]: expected a number, got 'fast'"),
        ("rotation_rate: [0.1, -1]", r"phases\[1\]: rotation_rate: expected a number that is not negative, got -1"),
        ("keep: 1.01", r"phases\[1\]: keep: expected a share of at most 1, got 1.01"),
        ("points: 0", r"phases\[1\]: points: expected at least 1, got 0"),
        ("pionts: 3", r"phases\[1\]: unknown key pionts; did you mean points"),
    ],
)
def test_a_bad_phase_is_named(load, phase, message):
    good = "keep: 1, least: 1, steps: 5, points: 6, targets: 7, rotation_rate: [1, 1], translation_rate: [1, 1]"
    name = phase.partition(":")[0]
    other = ", ".join([part for part in good.split(", ") if not part.startswith(name)] + [phase])
    if name == "rotation_rate":
        other = good.replace("rotation_rate: [1, 1]", phase, 1)
    with pytest.raises(ConfigError, match=message):
        load(f"opa: {{phases: [{{{good}}}, {{{other}}}]}}")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(
        ConfigError, match=r"nix\.yaml: expected fast, paper, given or a YAML file, there is none; check the"
    ):
        load_config(tmp_path / "nix.yaml")
    with pytest.raises(ConfigError, match=r"^fats: expected fast, paper, given or a YAML file, there is none"):
        load_config("fats")
    with pytest.raises(
        ConfigError, match=r"expected fast, paper, given or a YAML file, came a folder; name the file in it"
    ):
        load_config(tmp_path)
    (tmp_path / "large.yaml").write_bytes(b"#" * 1_100_000)
    with pytest.raises(ConfigError, match=r"expected fast, paper, given or a YAML file of at most 1 MiB"):
        load_config(tmp_path / "large.yaml")
    (tmp_path / "latin.yaml").write_bytes("# größer".encode("latin1"))
    with pytest.raises(ConfigError, match=r"expected YAML, got .*utf-8"):
        load_config(tmp_path / "latin.yaml")
    (tmp_path / "object.yaml").write_text("restarts: !!python/object/apply:os.getpid []")
    with pytest.raises(ConfigError, match=r"expected YAML, got could not determine a constructor"):
        load_config(tmp_path / "object.yaml")


def test_every_number_has_bounds_that_the_shipped_ones_keep():
    """What is beyond them would fill the memory, take weeks, or do nothing without a word."""
    sections = (FAST, FAST.opa, FAST.contact, FAST.opa.phases[0])
    tried = 0
    for section in sections:
        for item in fields(section):
            value: Any = getattr(section, item.name)
            first: Any = value[0] if isinstance(value, tuple) else value
            kind: Any = type(first)
            if kind not in (int, float):
                continue
            tried += 1
            least, most, _, opened = RULES.bounds.get(item.name) or RULES.otherwise
            huge = [10**400] if kind is int else [1e300]
            for bad in (kind(most * 1.01 + 1), *huge, kind(least if opened else -1), *([0] if least >= 1 else [])):
                spoiled = replace(section, **{item.name: (first, bad) if isinstance(value, tuple) else bad})
                with pytest.raises(ConfigError, match=f"{item.name}: expected .*, got .*; change it") as caught:
                    check_config(spoiled)
                assert "\n" not in str(caught.value) and len(str(caught.value)) < 150
            if item.name not in ("restarts", "steps"):  # which are bounded together, too
                best = (kind(most), kind(most)) if isinstance(value, tuple) else kind(most)
                check_config(replace(section, **{item.name: best}))
    assert tried > 50


def test_what_is_recorded_of_all_starts_together_is_bounded():
    phase = replace(FAST.opa.phases[0], steps=100_000)
    config = replace(FAST, opa=replace(FAST.opa, phases=(phase,)))
    check_config(replace(config, restarts=20_000))
    with pytest.raises(ConfigError, match=r"restarts: expected at most 2e\+09 steps of all .*, got 2\.5e\+09; take"):
        check_config(replace(config, restarts=25_000))
    with pytest.raises(ConfigError, match="phases: expected at most 64, got 65"):
        check_config(replace(FAST, opa=replace(FAST.opa, phases=(phase,) * 65)))


@pytest.mark.parametrize("name", ["rate_one", "angle_rate", "translation_rate"])
def test_a_rate_of_zero_is_no_way_to_leave_a_phase_out(name):
    with pytest.raises(ConfigError, match=rf"contact: {name}: expected more than 0, got 0\.0; change it"):
        check_config(replace(FAST, contact=replace(FAST.contact, **{name: 0.0})))
    for rates in ((0.1, 0.0), (0.0, 0.1)):
        phase = replace(FAST.opa.phases[0], rotation_rate=rates)
        with pytest.raises(ConfigError, match=r"rotation_rate: expected more than 0, got 0\.0"):
            check_config(replace(FAST, opa=replace(FAST.opa, phases=(phase,))))


def test_check_config_looks_at_every_number():
    check_config(FAST)
    check_config(PAPER)
    check_config(replace(FAST, seed=0, w_mask=0.0, opa=replace(FAST.opa, contour=1.0, polish_evaluations=0)))
    numbers = []
    for part, section in (("", FAST), ("opa", FAST.opa), ("contact", FAST.contact)):
        for item in fields(section):
            if type(getattr(section, item.name)) in (int, float):
                numbers.append((part, item.name))
    assert len(numbers) > 40
    for part, name in numbers:
        kind = type(getattr(getattr(FAST, part) if part else FAST, name))
        for value in (-1.0, float("nan"), float("inf")) if kind is float else (-1,):
            changed = replace(getattr(FAST, part) if part else FAST, **{name: value})
            config = replace(FAST, **{part: changed}) if part else changed
            where = f"given: {part}: {name}" if part else f"given: {name}"
            with pytest.raises(ConfigError, match=f"^{where}: expected a number that is not negative, got {value}"):
                check_config(config, "given")
