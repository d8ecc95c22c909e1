"""The examples of what people bring, each with an assertion of its own; that of an object is in objects/."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
import trimesh

from examples import own_energy, own_hand, own_solver
from fgs_jax.config import FAST_CONTACT
from fgs_jax.errors import ConfigError, ResultError
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.mano import hand
from fgs_jax.results.metrics.grasp import grasp_metrics
from fgs_jax.results.metrics.surface import Surface
from fgs_jax.results.write import write_grasp
from fgs_jax.solve import restarts
from fgs_jax.stages.grasps import refine_grasps
from tests.solve.test_devices import grasp_starts


@pytest.mark.long
def test_own_energy_brings_the_fingertip_to_its_place_and_others_compile_nothing(capsys):
    found = own_energy.main()
    assert "fingertip to trigger" in capsys.readouterr().out
    posed = jax.jit(jax.vmap(hand, (None, 0)))
    model = load_hand_model("open_hand")
    off = {
        name: np.linalg.norm(posed(model, grasps.grasp.hand).keypoints[:, 8] - own_energy.TRIGGER[None], axis=1)
        for name, grasps in found.items()
    }
    assert np.median(off["own"]) < 0.01 < np.median(off["as it is"])
    np.testing.assert_allclose(np.sqrt(found["own"].terms["trigger"]), off["own"], atol=2e-4)
    assert list(found["own"].terms)[-1] == "trigger" and "trigger" not in found["as it is"].terms
    programs: Any = restarts._run_block
    compiled = programs._cache_size()
    heavier = own_energy.main(weight=3e5)["own"]
    assert programs._cache_size() == compiled
    assert np.median(heavier.terms["trigger"]) < np.median(found["own"].terms["trigger"])


def test_own_hand_closes_on_its_bottle_is_measured_and_written(tmp_path):
    grasps = own_hand.main()
    assert grasps.energy.shape == (8,) and np.isfinite(grasps.energy).all()
    assert grasps.grasp.hand.pose.shape == (8, 3, 3)
    bottle = Surface(own_hand.BOTTLE.vertices, own_hand.BOTTLE.faces)
    depths = []
    for vertices in np.asarray(grasps.hand_vertices, float):
        measured = grasp_metrics(Surface(vertices, own_hand.FACES), bottle, own_hand.FINGER)
        assert measured["fingers_in_contact"] == 3 and (measured["mpd_mm"] or 0.0) < 0.2
        depths.append(measured["object_depth_mm"])
    assert np.median(depths) < 1.5 and max(depths) < 6
    hand_mesh = np.asarray(grasps.hand_vertices[0], float), own_hand.FACES
    write_grasp(tmp_path / "grasp", hand_mesh, (own_hand.BOTTLE.vertices, own_hand.BOTTLE.faces))
    names = {"hand.obj", "hand.ply", "object.obj", "object.ply", "grasp.glb"}
    assert {path.name for path in (tmp_path / "grasp").iterdir()} == names
    written: Any = trimesh.load(tmp_path / "grasp" / "hand.ply", process=False)
    np.testing.assert_allclose(written.vertices, hand_mesh[0], atol=1e-7)
    np.testing.assert_array_equal(written.faces, own_hand.FACES)
    with pytest.raises(ResultError, match="is there already"):
        write_grasp(tmp_path / "grasp", hand_mesh, hand_mesh)


@pytest.mark.long
def test_own_solvers_find_grasps_by_name_and_by_argument():
    found = own_solver.main(count=4, steps=100)
    np.testing.assert_array_equal(found["by name"].energy, found["optax"].energy)
    energies = {name: float(np.median(grasps.energy)) for name, grasps in found.items()}
    assert len(set(energies.values())) == 3 and max(energies.values()) < 2 * energies["adam"]


def test_a_solver_that_there_is_not_is_one_line():
    problems, starts, scene = grasp_starts()
    with pytest.raises(ConfigError, match=r"solver: expected adam, .*, got 'adamant': did you mean adam") as error:
        refine_grasps(problems, starts, jax.random.key(0), replace(FAST_CONTACT, solver="adamant"), scene=scene)
    assert "\n" not in str(error.value)
