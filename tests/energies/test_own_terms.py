"""Energies of one's own: their names and weights, their data, what is compiled for them, and step one."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgs_jax.config import FAST_CONTACT, PAPER_CONTACT
from fgs_jax.config_files import config_values, load_config
from fgs_jax.errors import ArgumentError, ConfigError
from fgs_jax.extensions import Term, imported, named_terms
from fgs_jax.solve import restarts
from fgs_jax.stages.grasps import refine_grasps
from fgs_jax.stages.step_one import approach
from tests.solve.test_devices import grasp_starts

KEY = jax.random.key(0)
CONFIG = replace(FAST_CONTACT, steps=10, refresh=5, reach=1.0)


def wrist_up(context):
    """Metres that the wrist lies lower than the middle knuckle."""
    return jax.nn.relu(context.hand.keypoints[0, 1] - context.hand.keypoints[9, 1])


def to_place(context, place):
    return jnp.sum((context.hand.keypoints[0] - place) ** 2)


def refined(config):
    problems, starts, scene = grasp_starts()
    return refine_grasps(problems, starts, KEY, config, scene=scene, width=4)


def test_own_terms_are_named_recorded_and_weighed():
    own = replace(CONFIG, terms={"up": wrist_up, "to": Term(to_place, jnp.zeros(3))}, weights={"up": 3.0, "to": 7.0})
    found = refined(own)
    assert list(found.terms) == ["dis", "pen", "prior", "spen", "theta", "t", "keypoint", "order", "to", "up"]
    total = sum(own.term_weights[name] * values for name, values in found.terms.items())
    np.testing.assert_allclose(found.energy, total, rtol=1e-4)
    assert (found.terms["to"] > 0.1).all()
    without = refined(replace(own, weights={"up": 0.0, "to": 0.0}))
    np.testing.assert_allclose(without.energy, refined(CONFIG).energy, rtol=1e-5)


def test_a_sweep_over_any_number_compiles_nothing():
    own = replace(CONFIG, terms={"to": Term(to_place, jnp.zeros(3))}, weights={"to": 1.0})
    base = refined(own)
    programs: Any = restarts._run_block
    compiled = programs._cache_size()
    sweep = {
        "angle_rate": 5e-3,
        "translation_rate": 1e-3,
        "reach": 0.04,
        "pose_start": 0.5,
        "w_pen": 10.0,
        "w_keypoint": 1.0,
        "weights": {"to": 20.0},
        "terms": {"to": Term(to_place, jnp.ones(3))},
    }
    for name, value in sweep.items():
        energy = refined(replace(own, **{name: value})).energy
        assert name == "w_keypoint" or not np.array_equal(energy, base.energy), name
    assert programs._cache_size() == compiled
    refined(replace(own, per_region=1))
    assert programs._cache_size() == compiled + 1, "a count is another program"


def test_a_sweep_of_step_one_compiles_nothing_and_own_weights_count():
    problems, starts, _ = grasp_starts()
    one = jax.tree.map(lambda x: x[0], starts)
    traced = []

    def at(static, numbers):
        traced.append(static)
        return approach(problems[0], one, KEY, static.joined(numbers), unknown_size=False)

    run: Any = jax.jit(at, static_argnums=0)
    own = replace(
        FAST_CONTACT, terms={"to": Term(to_place, jnp.zeros(3))}, weights={"to": 0.0}, weights_one={"to": 0.0}
    )
    base = run(*own.split())
    for change in ({"scan": 31}, {"hand_sigma": 0.1}, {"w_size": 0.0}, {"w_order_one": 9.0}, {"w_dis_one": 2.0}):
        run(*replace(own, **change).split())
    nearer = run(*replace(own, weights_one={"to": 1e4}).split())
    assert len(traced) == 1
    assert nearer.factor[0] < base.factor[0], "the wrist is drawn to the camera's centre: a smaller, nearer hand"


def test_numbers_come_back_and_configurations_are_static():
    own = replace(PAPER_CONTACT, terms={"to": Term(to_place, jnp.zeros(3))}, weights={"to": 2.0})
    static, numbers = own.split()
    assert static == replace(own, w_pen=5.0, reach=0.5, weights={"to": 9.0}).split()[0]
    assert static != replace(own, steps=7).split()[0] and hash(static) == hash(own.split()[0])
    joined = static.joined(numbers)
    assert {name: float(value) for name, value in joined.term_weights.items()} == own.term_weights
    assert joined.scan == own.scan and joined.rate_one == np.float32(own.rate_one)


@pytest.mark.parametrize(
    ("terms", "weights", "message"),
    [
        ({"up": wrist_up}, {}, "got terms up and weights none: give weights: up$"),
        ({}, {"up": 1.0, "on": 1.0}, "got terms none and weights on, up: give terms: on, .*; give terms: up"),
        ({"pen": wrist_up}, {"pen": 1.0}, "terms: expected names that are not taken, got pen: rename them"),
        ({"up": 3.0}, {"up": 1.0}, "terms: up: expected a function of a context, got float: pass one"),
        ({"up": "nowhere"}, {"up": 1.0}, "terms: up: expected module:name, got 'nowhere'"),
        ({"up": "no_such_module:up"}, {"up": 1.0}, "terms: up: expected a module that can be imported, got no_such"),
        ({"up": "fgs_jax.types:up"}, {"up": 1.0}, "terms: up: expected a name of fgs_jax.types, got up: check its"),
        ({"up": "..terms:up"}, {"up": 1.0}, r"terms: up: expected a module that can be imported, got \.\.terms:up"),
    ],
)
def test_names_that_do_not_match_are_one_line(terms, weights, message):
    with pytest.raises(ConfigError, match=message) as error:
        replace(CONFIG, terms=terms, weights=weights).split()
    assert "\n" not in str(error.value)


def test_step_one_weighs_only_what_has_a_weight():
    with pytest.raises(ConfigError, match="weights_one: expected names of weights, got up"):
        replace(CONFIG, weights_one={"up": 1.0}).split()


def test_a_term_that_is_no_scalar_is_said_by_its_name():
    own = replace(CONFIG, terms={"all": lambda context: context.hand.keypoints[:, 0]}, weights={"all": 1.0})
    with pytest.raises(
        ArgumentError, match=r"term all: expected one floating-point number, got float32 of shape \(21,\)"
    ):
        refined(own)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def up(:", r"\(SyntaxError: invalid syntax \(broken_terms.py, line 1\)\): mend it"),
        ("1 / 0", r"\(ZeroDivisionError: division by zero\): mend it"),
        ("import os\nos.nothing", r"\(AttributeError: module 'os' has no attribute 'nothing'\): mend it"),
        ("import no_such", r"\(ModuleNotFoundError: No module named 'no_such'\): install it, or set PYTHONPATH"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line(tmp_path, monkeypatch, text, message):
    (tmp_path / "broken_terms.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=f"^here: .* got broken_terms:up {message}") as error:
        imported("broken_terms:up", "here")
    assert "\n" not in str(error.value)


def raises(context):
    return context.hand.knuckles


def branches(context):
    return 1.0 if context.distance[0] > 0 else 0.0


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (
            raises,
            "got AttributeError: 'Hand' object has no attribute 'knuckles' in test_own_terms.py, line [0-9]+: mend",
        ),
        (branches, r"got TracerBoolConversionError: Attempted boolean .* in test_own_terms.py, line [0-9]+: mend it"),
        (to_place, r"got TypeError: to_place\(\) missing 1 required positional argument: 'place': mend it"),
        (lambda context: None, "got .*Error: .*None.*: mend it"),
    ],
)
def test_what_a_term_raises_is_said_by_its_name_and_line(term, message):
    with pytest.raises(ArgumentError, match=f"^term own: expected a function that can be traced, {message}") as error:
        refined(replace(CONFIG, terms={"own": term}, weights={"own": 1.0}))
    assert "\n" not in str(error.value) and error.value.__cause__ is not None


def test_terms_have_names_in_files(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("contact:\n  terms: {up: 'tests.energies.test_own_terms:wrist_up'}\n  weights: {up: 2.0}\n")
    config = load_config(path)
    assert config.contact.own_terms() == {"up": Term(wrist_up)} and config.contact.term_weights["up"] == 2.0
    values = config_values(replace(config.contact, terms={"up": wrist_up}))
    assert values["terms"] == {"up": "tests.energies.test_own_terms:wrist_up"} and values["weights"] == {"up": 2.0}


def test_packages_bring_terms_by_entry_points(monkeypatch):
    from fgs_jax import extensions  # noqa: PLC0415

    class Point:
        name, value = "up", "tests.energies.test_own_terms:wrist_up"

    monkeypatch.setattr(extensions, "entry_points", lambda group: [Point] if group == "fgs_jax.terms" else [])
    assert named_terms({}, {"up": 1.0}, ("dis",)) == {"up": Term(wrist_up)}
    assert imported("tests.energies.test_own_terms:wrist_up", "here") is wrist_up
