"""What the benchmark times is the same: PyTorch's energies, gradients and steps, and all libraries' distances."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("torch", reason="the peers need PyTorch: pip install torch")
pytest.importorskip("body_models", reason="the peers need body-models: pip install body-models")
import torch

from benchmarks.peers import distances, jobs, torch_contact, torch_opa
from fgs_jax.config import PAPER_OPA
from fgs_jax.hands.mano import hand
from fgs_jax.objects.distance import DistanceGrid, signed_distance
from fgs_jax.objects.grid import distance_grid
from fgs_jax.objects.mesh import load_object
from fgs_jax.testing import SHAPES, as_scene
from tests.small_scene import rendered

FORMS: tuple[torch_contact.Form, ...] = ("cdist", "difference")


@cache
def opa_starts() -> jobs.OpaStarts:
    return jobs.opa_starts(as_scene(rendered(), hand="mesh"), 8)


@cache
def contact_starts() -> jobs.ContactStarts:
    return jobs.contact_starts(4)


@pytest.mark.parametrize("form", torch_opa.FORMS)
def test_opa_has_the_same_energies_and_gradients(form, rng):
    """Gradients to 1e-5 of their norm, save where of two targets that are as near in float32 each took another."""
    given = opa_starts()
    rotation = rng.normal(scale=0.5, size=(8, 3)).astype(np.float32)
    translation = given.translations + rng.normal(scale=0.05, size=(8, 3)).astype(np.float32)
    translation[0, 2] = -0.1  # behind the camera
    translation[1, 2] = 0.2  # before the hand
    energy, gradients = jobs.opa_energy(given.problem, given.rotations, rotation, translation, True)
    leaves = [torch.tensor(x, requires_grad=True) for x in (rotation, translation)]
    function = torch_opa.energy_function(PAPER_OPA, form)
    theirs = function(torch_opa.torch_problem(given.problem, 512, 512), torch.tensor(given.rotations), *leaves)
    np.testing.assert_allclose(theirs.detach(), energy, rtol=1e-4)
    for found, expected in zip(torch.autograd.grad(theirs.sum(), leaves), gradients, strict=True):
        difference = jobs.relative_norm(found, expected)
        assert np.median(difference) < 1e-5 and difference.max() < 2e-2


def test_opa_takes_the_same_steps():
    """All of a short schedule: both rates, Adam's moments and the best iterate."""
    given, steps = opa_starts(), 6
    ours = jobs.our_paper(given, steps)
    config = replace(PAPER_OPA, phases=(replace(PAPER_OPA.phases[0], steps=steps),))
    starts = torch.tensor(given.rotations), torch.tensor(given.translations)
    function = torch_opa.energy_function(config, "cdist argmin")
    found = torch_opa.minimise(function, torch_opa.torch_problem(given.problem, 512, 512), *starts, config)
    np.testing.assert_allclose(found.history, ours.history, rtol=3e-3)
    np.testing.assert_allclose(found.energy, ours.energy, rtol=3e-3)
    np.testing.assert_allclose(found.translation, ours.value.translation, atol=1e-3)
    assert (found.energy < found.history[:, 0]).all()


def test_the_hand_and_the_distance_to_the_object_are_the_same(rng):
    given = contact_starts()
    problem = torch_contact.torch_problem(given.problem, given.grasps, given.searching.contacts)
    local, root = torch_opa.rotation_matrix(problem.pose), problem.rotation
    vertices, keypoints = torch_contact.hand(problem.layer, problem.betas, local, root, problem.translation)
    ours = jax.vmap(hand, (None, 0))(given.problem.hand.data, given.grasps.hand)
    np.testing.assert_allclose(vertices, ours.vertices, atol=1e-6)
    np.testing.assert_allclose(keypoints, ours.keypoints, atol=1e-6)

    points = rng.uniform(-0.2, 0.2, (1, 500, 3)).astype(np.float32)  # in the grid's cube and beyond it
    leaf = torch.tensor(points, requires_grad=True)
    found = torch_contact.object_distance(problem, leaf)
    grid = given.problem.object
    assert isinstance(grid, DistanceGrid)
    distance, pull_back = jax.vjp(lambda x: signed_distance(grid, x), jnp.asarray(points[0]))
    np.testing.assert_allclose(found.detach()[0], distance, atol=1e-6)
    gradient = torch.autograd.grad(found.sum(), leaf)[0][0].numpy()
    assert np.mean(np.abs(gradient - np.asarray(pull_back(jnp.ones(500))[0])) < 1e-3) > 0.99  # save at cells' borders


@pytest.mark.parametrize("form", FORMS)
def test_contact_has_the_same_energies_and_gradients(form):
    """Each side finds its own neighbours; energies and gradients to 1e-4."""
    jobs.check_contact(contact_starts(), form)


@pytest.mark.parametrize("refresh", [1, 4])
def test_contact_takes_the_same_steps(refresh):
    given = contact_starts()
    ours = jobs.our_contact_call(given, refresh, steps=8)()
    theirs = jobs.torch_contact_call(given, jobs.Variant("cdist", False, 2, 1), refresh, steps=8)()
    np.testing.assert_allclose(theirs, ours, rtol=1e-4)
    assert ours.shape == (4, 8) and (ours[:, -1] < ours[:, 0]).all()


def test_all_libraries_find_points_at_the_same_distances(rng):
    queries = rng.normal(size=(200, 3)).astype(np.float32)
    targets = rng.normal(size=(3, 100, 3)).astype(np.float32)
    calls = distances.nearest_calls(queries, targets)
    assert {"fgs_jax", "SciPy KDTree"} < set(calls)
    assert distances.nearest_error(calls, queries, targets) < 1e-4
    calls["wrong"] = lambda: np.zeros((3, 200), int)
    assert distances.nearest_error(calls, queries, targets) > 1


def test_signed_distances_are_the_same_and_those_of_the_grid_close(rng):
    mesh = load_object(SHAPES["mug"](), name="mug")
    grid = distance_grid(mesh, 32)
    low, voxel = np.asarray(grid.origin, float), float(grid.voxel)
    points = rng.uniform(low, low + voxel * (np.asarray(grid.counts) - 1), (300, 3))  # outside of it, it is more
    calls = distances.signed_calls(mesh, grid, points)
    exact, ours = distances.signed_errors(calls)
    assert exact < 1e-6
    assert ours.max() < 0.5 * float(grid.voxel) and np.median(ours) < 0.1 * float(grid.voxel)
    values = calls["libigl"]()
    assert (values < 0).any() and (values > 0).any()


def test_what_differs_is_not_timed():
    with pytest.raises(SystemExit, match="energies: not the same, off by 2"):
        jobs.check("energies", 0.2, 0.1)
    with pytest.raises(SystemExit, match="not the same, off by nan"):
        jobs.check("energies", float("nan"), 0.1)
