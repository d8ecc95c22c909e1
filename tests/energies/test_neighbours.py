"""The hand as a surface: the distance of points to the planes through their nearest vertices."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import trimesh

from fgs_jax.energies.contact import FARTHEST_INSIDE, E_pen
from fgs_jax.energies.terms import Context
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.mano import hand, mano_kind
from fgs_jax.objects.mesh import load_object
from fgs_jax.objects.sample import sample_points
from fgs_jax.objects.solid import exact_signed_distance
from fgs_jax.results import metrics
from fgs_jax.stages.contact_problem import hand_neighbours, placed_object
from fgs_jax.types import Hand, HandParams
from tests.energies.surfaces import find_neighbours, finger_mesh, tangent_distance
from tests.reference import contact as twin
from tests.stages.contact_scenes import shaken_grasp


def test_neighbours_are_the_nearest_vertices_with_their_normals(rng):
    vertices, faces = finger_mesh()
    points = np.concatenate([vertices[::7], vertices[rng.choice(len(vertices), 40)] + rng.normal(size=(40, 3)) * 0.004])
    held = find_neighbours(jnp.asarray(points, jnp.float32), jnp.asarray(vertices, jnp.float32), jnp.asarray(faces))
    index, normals = twin.neighbours(points, vertices, faces)
    squared = ((points[:, None] - vertices[None]) ** 2).sum(axis=-1)
    chosen, least = squared[np.arange(len(points)), held.vertex], squared.min(axis=1)
    assert (chosen <= least * (1 + 1e-3) + 1e-12).all()
    same = np.asarray(held.vertex) == index
    assert same.mean() > 0.9
    np.testing.assert_allclose(np.asarray(held.normal)[same], normals[same], atol=1e-4)
    ours = tangent_distance(jnp.asarray(points, jnp.float32), jnp.asarray(vertices, jnp.float32), held)
    expected = twin.distance_to_neighbours(points, vertices, np.asarray(held.vertex), np.asarray(held.normal))
    np.testing.assert_allclose(ours, expected, atol=1e-7)
    # Until they are found again, the planes go where their vertices go, and what was near is near.
    moved, aside = vertices + rng.normal(size=vertices.shape) * 0.002, points + 0.001
    ours = tangent_distance(jnp.asarray(aside, jnp.float32), jnp.asarray(moved, jnp.float32), held)
    expected = twin.distance_to_neighbours(aside, moved, np.asarray(held.vertex), np.asarray(held.normal))
    np.testing.assert_allclose(ours, expected, atol=1e-7)


def test_neighbours_carry_no_gradient_and_take_faces_without_an_area():
    vertices, faces = (jnp.asarray(x) for x in finger_mesh())
    vertices = jnp.concatenate([vertices, jnp.array([[1.0, 1.0, 1.0]])]).astype(jnp.float32)  # of no face
    faces = jnp.concatenate([faces, jnp.array([[3, 3, 5]])])

    def total(points, vertices):
        held = find_neighbours(points, vertices, faces)
        return jnp.sum(held.normal), held

    points = jnp.array([[0.0, 0.0, 0.03], [1.0, 1.0, 1.1]])
    gradients, held = jax.grad(total, argnums=(0, 1), has_aux=True)(points, vertices)
    assert all(np.array_equal(gradient, np.zeros_like(gradient)) for gradient in gradients)
    np.testing.assert_allclose(held.normal, [[0, 0, 1], [0, 0, 0]], atol=0.05)


def test_the_distance_to_neighbours_is_that_of_the_capsule(rng):
    vertices, faces = finger_mesh()
    axis = np.clip(vertices[:, 2], -0.02, 0.02)[:, None] * [[0, 0, 1]]
    outward = (vertices - axis) / 0.01
    for depth in (-0.004, -0.001, 0.0, 0.001, 0.004):
        points = jnp.asarray(vertices + depth * outward, jnp.float32)
        held = find_neighbours(points, jnp.asarray(vertices, jnp.float32), jnp.asarray(faces))
        found = tangent_distance(points, jnp.asarray(vertices, jnp.float32), held)
        np.testing.assert_allclose(found, depth, atol=3e-4)
    far = jnp.asarray(vertices + 0.03 * outward, jnp.float32)
    held = find_neighbours(far, jnp.asarray(vertices, jnp.float32), jnp.asarray(faces))
    value, gradient = jax.value_and_grad(lambda p: tangent_distance(p, jnp.asarray(vertices, jnp.float32), held).sum())(
        far
    )
    np.testing.assert_allclose(value, FARTHEST_INSIDE * len(vertices), rtol=1e-5)
    np.testing.assert_array_equal(gradient, 0.0)


def test_any_points_see_a_hand_as_far_as_it_is_large():
    vertices, faces = finger_mesh()
    outward = (vertices - np.clip(vertices[:, 2], -0.02, 0.02)[:, None] * [[0, 0, 1]]) / 0.01
    about: Any = SimpleNamespace(faces=jnp.asarray(faces), data=None, size=lambda _, params: params)

    @jax.jit
    def found(points, skin, size, rim=None):
        kind: Any = SimpleNamespace(**vars(about), rim=rim)
        nothing: Any = None
        posed = Hand(skin, nothing, nothing)
        context = Context(kind, size, None, posed, posed, nothing, nothing, None, nothing, None, nothing)
        return context.distance_to_hand(points)

    for size in (1.0, 2.0):
        for depth, seen in ((0.004, 0.004), (0.03, FARTHEST_INSIDE)):
            points, skin = size * (vertices + depth * outward), size * vertices
            ours = found(jnp.asarray(points, jnp.float32), jnp.asarray(skin, jnp.float32), size)
            np.testing.assert_allclose(ours, size * seen, atol=6e-4)
            cut = found(jnp.asarray(points, jnp.float32), jnp.asarray(skin, jnp.float32), size, jnp.arange(len(skin)))
            np.testing.assert_allclose(cut, size * FARTHEST_INSIDE, rtol=1e-6)


def test_points_of_a_thin_rod_see_the_hand_that_its_vertices_do_not_see():
    vertices, faces = finger_mesh()
    height = 0.013  # between two rings of vertices
    rod = trimesh.creation.cylinder(radius=0.0005, height=0.1, sections=12)
    rod.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [0, 1, 0]))
    rod.apply_translation([0, 0.003, height])
    mesh = load_object(rod, name="rod")

    def of_rod(points):
        return jnp.hypot(points[:, 1] - 0.003, points[:, 2] - height) - 0.0005

    skin, points = jnp.asarray(vertices, jnp.float32), sample_points(mesh, 400, jax.random.key(0))
    held = find_neighbours(points, skin, jnp.asarray(faces))
    assert exact_signed_distance(mesh, vertices).min() > 0.001, "no vertex is in the rod"
    assert E_pen(skin, of_rod) == 0.0

    def depth(points):
        return E_pen(points, lambda x: tangent_distance(x, skin, held))

    inside = (np.linalg.norm(np.asarray(points)[:, :2], axis=1) < 0.01).mean()
    assert 0.1 < inside < 0.3
    np.testing.assert_allclose(depth(points), 400 * inside * 0.004, rtol=0.4)
    # The way out is the side that the rod is nearer to.
    assert -jax.grad(depth)(points)[:, 1].sum() > 0


def test_beside_the_wrist_s_rim_no_point_is_inside(rng):
    model = load_hand_model("open_hand")
    kind = mano_kind(model)
    assert kind.rim is not None and len(kind.rim) == 20
    for bent in (0.0, 1.0):
        vertices = np.asarray(hand(model, HandParams(pose=bent * model.pose_mean)).vertices)
        surface = metrics.Surface(vertices.astype(float), np.asarray(kind.faces))
        about = vertices[np.asarray(kind.rim)].astype(float)
        points = (about[rng.integers(20, size=4000)] + rng.uniform(-0.02, 0.02, (4000, 3))).astype(np.float32)
        exact = metrics.signed_distances(surface, points)
        without, held = (find_neighbours(points, vertices, kind.faces, *rim) for rim in ((), (kind.rim,)))
        before, found = (np.asarray(tangent_distance(points, vertices, each)) for each in (without, held))
        outside, rim = exact > 0, np.isin(np.asarray(held.vertex), np.asarray(kind.rim))
        assert (before[outside] < 0).mean() > 0.05 and exact[before < 0].max() > 0.01
        assert (found[outside] < 0).mean() < 0.01 and exact[found < 0].max() < 0.004
        assert rim.mean() > 0.2 and (found[rim] == np.float32(FARTHEST_INSIDE)).all()
        np.testing.assert_array_equal(found[~rim], before[~rim])
        assert exact[rim].min() > -0.01, "what is missed is at the cut"

        def depth(points, vertices, held=held):
            return E_pen(points, lambda x: tangent_distance(x, vertices, held))

        of_points, of_vertices = jax.jit(jax.grad(depth, (0, 1)))(points, jnp.asarray(vertices))
        assert np.isfinite(of_points).all() and np.isfinite(of_vertices).all()
        assert not of_points[rim].any() and not of_vertices[kind.rim].any()
        assert np.abs(of_points[found < 0]).sum(axis=1).min() > 0.9


def test_a_grasp_s_neighbours_know_the_rim():
    problem, start = shaken_grasp()
    vertices = hand(problem.hand.data, start.hand).vertices
    at_rim = vertices[problem.hand.rim].mean(axis=0)
    moved = replace(start, translation=at_rim)
    places = placed_object(problem, moved).points
    held = hand_neighbours(problem, moved, vertices)
    rim = np.isin(np.asarray(held.vertex), np.asarray(problem.hand.rim))
    assert 0.05 < rim.mean() < 1
    near = np.linalg.norm(np.asarray(held.place) - np.asarray(places), axis=1) < 1
    np.testing.assert_array_equal(near, ~rim)
