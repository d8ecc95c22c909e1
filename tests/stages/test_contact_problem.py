"""What both steps of contact work on: the object's distance, the order that the picture shows, and other sizes."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from fgs_jax.hands.files import load_hand_model
from fgs_jax.results.metrics import Surface, signed_distances
from fgs_jax.stages.contact_problem import resized
from fgs_jax.types import Hand
from tests.reference import contact as twin
from tests.stages.contact_scenes import (
    CAMERA,
    can_mesh,
    distance_of,
    find_order,
    pixels_of,
    place_points,
    posed_hand,
    shaken_grasp,
    turned,
)


@pytest.fixture(scope="module")
def model():
    return load_hand_model("open_hand")


@pytest.fixture(scope="module")
def can():
    return can_mesh()


@pytest.fixture(scope="module")
def scene():
    return shaken_grasp()


def test_the_object_s_distance_moves_with_it(scene, can, rng):
    problem, start = turned(scene)
    points = rng.normal(size=(300, 3)) * 0.03 + np.asarray(start.translation)
    vertices = float(start.scale) * can.vertices @ np.asarray(start.rotation, float).T + np.asarray(start.translation)
    exact = signed_distances(Surface(vertices, can.faces), points)
    ours = distance_of(problem, start, jnp.asarray(points, jnp.float32))
    near = exact < 0.01  # farther away the grid's box ends, and the distance becomes a bound
    np.testing.assert_allclose(ours[near], exact[near], atol=0.003)
    assert near.sum() > 150 and (ours >= exact - 0.003).all()
    on_surface = signed_distances(Surface(vertices, can.faces), place_points(problem, start))
    np.testing.assert_allclose(on_surface, 0.0, atol=1e-5)


def test_the_order_of_a_picture_equals_rays_against_each_triangle(scene, model, rng):
    problem, start = turned(scene)
    chosen = rng.choice(len(model.v_template), 60, replace=False)
    posed = posed_hand(model, start.hand)
    some = Hand(posed.vertices[chosen], posed.joints, posed.keypoints)
    problem = replace(
        problem,
        picture=replace(problem.picture, seen=problem.picture.seen[chosen], corners=problem.picture.corners[::2]),
    )
    ours = find_order(problem, start, some)
    camera = {"f": np.asarray(CAMERA.focal, float), "c": np.asarray(CAMERA.principal, float)}
    corners = float(start.scale) * np.asarray(problem.picture.corners, float) @ np.asarray(start.rotation, float).T
    corners = corners + np.asarray(start.translation, float)
    front, back = twin.order_of(camera, corners, np.asarray(some.vertices, float), np.asarray(problem.picture.seen))
    np.testing.assert_allclose(ours.front, front, atol=1e-4)
    np.testing.assert_allclose(ours.back, back, atol=1e-4)
    assert (front > 0).sum() > 3 and (back > 0).sum() > 3 and ((front == 0) & (back == 0)).sum() > 3
    # Four times as large and as far, beyond a metre, everything is as it was but for the unit.
    far = replace(start, translation=4 * start.translation, scale=4 * start.scale)
    again = find_order(problem, far, some._replace(vertices=4 * some.vertices))
    np.testing.assert_allclose(again.front, 4 * front, atol=4e-4)
    np.testing.assert_allclose(again.back, 4 * back, atol=4e-4)


def test_resizing_changes_no_pixel(scene, model):
    problem, start = turned(scene)
    seen_hand = pixels_of(posed_hand(model, start.hand).vertices)
    seen_object = pixels_of(place_points(problem, start))
    for factor in (0.6, 1.0, 1.7):
        larger = resized(problem, start, jnp.asarray(factor), unknown_size=False)
        np.testing.assert_allclose(pixels_of(posed_hand(model, larger.hand).vertices), seen_hand, atol=1e-3)
        np.testing.assert_allclose(larger.hand.scale, factor * start.hand.scale, rtol=1e-6)
        assert larger.translation is start.translation and larger.scale is start.scale
        larger = resized(problem, start, jnp.asarray(factor), unknown_size=True)
        np.testing.assert_allclose(pixels_of(place_points(problem, larger)), seen_object, atol=1e-3)
        np.testing.assert_allclose(larger.scale, factor * start.scale, rtol=1e-6)
        assert larger.hand is start.hand
