"""What is wrong with an argument is said in one line where it is passed, and right calls are as they were."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import trimesh
from jaxtyping import Array, Float

from fgs_jax.checks import check_count, checked
from fgs_jax.energies.contact import E_dis, E_pen, nearest_contacts, neighbours, random_contacts
from fgs_jax.energies.image import E_keypoint, E_order, L_cam, L_dep, L_dist, Order
from fgs_jax.energies.pose import E_h, E_prior, E_spen
from fgs_jax.energies.terms import weighted_sum
from fgs_jax.errors import ArgumentError, FgsError
from fgs_jax.objects.distance import DistanceGrid, signed_distance, signed_distance_at
from fgs_jax.objects.mesh import load_object
from fgs_jax.objects.neighbours import nearest
from fgs_jax.picture.camera import inverse_depth, inverse_depths, project, silhouette
from fgs_jax.rotations import matrix_of, vector_of
from fgs_jax.solve.least_squares import least_squares
from fgs_jax.solve.minimise import minimise
from fgs_jax.solve.restarts import best_of, kept, random_rotations, run_blocks
from fgs_jax.stages.scale import align, box_ratio, hull_volume, volume_ratio
from fgs_jax.types import Camera

KEY = jax.random.key(0)
GRID = DistanceGrid.from_box(jnp.zeros((4, 4, 4)), jnp.zeros(3), jnp.asarray(0.1))
CAMERA = Camera(jnp.array([400.0, 400.0]), jnp.array([160.0, 120.0]))
MESH = load_object(trimesh.creation.box((0.1, 0.1, 0.1)))
N3, N2, K, FACES = jnp.ones((5, 3)), jnp.ones((5, 2)), jnp.ones(5), jnp.zeros((2, 3), int)
BOX, HULL = jnp.array([0.0, 0.0, 2.0, 2.0]), (jnp.eye(3), jnp.array([[0, 1, 2]]))


def sphere(points):
    return jnp.linalg.norm(points, axis=1) - 0.05


def root(steps: Any, shared: Any, start: Any) -> Any:
    return shared + start


def scalar(x: Any) -> tuple[Array, dict]:
    return jnp.sum(x**2), {}


call: Any = lambda function: function  # noqa: E731  (the calls below are wrong, as pyright would say)
WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "two columns": (
        lambda: call(E_dis)(N2, GRID),
        r"contact_points: expected floats of shape \(n, 3\), got float32 of",
    ),
    "transposed": (lambda: call(E_dis)(N3.T, GRID), r"got float32 of shape \(3, 5\): check its sizes, or transpose it"),
    "one point": (lambda: call(E_dis)(jnp.zeros(3), GRID), r"got float32 of shape \(3,\)"),
    "a batch": (lambda: call(E_dis)(jnp.ones((2, 5, 3)), GRID), "jax.vmap goes through leading ones"),
    "whole numbers": (lambda: call(E_dis)(jnp.ones((5, 3), int), GRID), r"got int32 of shape \(5, 3\): convert it"),
    "complex": (lambda: call(E_dis)(N3 + 1j, GRID), "got complex64 .*: convert it"),
    "truth values": (lambda: call(E_dis)(N3 > 0, GRID), "got bool .*: convert it"),
    "ragged": (lambda: call(E_dis)([[0.0, 1.0], [2.0]], GRID), r"expected floats of shape \(n, 3\), got a list"),
    "nothing": (lambda: call(E_dis)(None, GRID), r"expected floats of shape \(n, 3\), got None"),
    "a text": (lambda: call(E_pen)("points", GRID), "got 'points'"),
    "a mesh": (
        lambda: call(E_dis)(N3, MESH),
        "surface: expected a DistanceGrid or a function or floats of .*, got an ObjectMesh: obj",
    ),
    "swapped": (
        lambda: call(E_dis)(GRID, N3),
        "contact_points: expected .*, got a DistanceGrid: check the arguments and",
    ),
    "weights": (
        lambda: call(E_dis)(N3, GRID, jnp.ones(4)),
        r"weight: expected floats of shape \(n,\) with n = 5 or None",
    ),
    "a surface's shape": (lambda: call(E_dis)(N3, lambda x: x), r"surface: its distances: expected .* \(5,\), got"),
    "a flat grid": (
        lambda: call(E_pen)(N3, replace(GRID, values=jnp.zeros((4, 4, 5)))),
        r"surface.values: .*\(m,\)",
    ),
    "one node": (lambda: call(E_pen)(N3, replace(GRID, values=jnp.zeros(1))), "at least 8, got 1"),
    "a box of one node": (lambda: DistanceGrid.from_box(np.zeros((4, 1, 4)), np.zeros(3), 0.1), "at least 2, got 1"),
    "no box": (lambda: DistanceGrid.from_box(np.ones((4, 4)), np.zeros(3), 0.1), r"from_box: values: .*\(a, b, c\)"),
    "origin": (lambda: call(signed_distance)(replace(GRID, origin=jnp.zeros(2)), N3), r"grid.origin: .* \(3,\), got"),
    "turned points": (lambda: call(signed_distance)(GRID, N3.T), r"points: expected floats of shape \(p, 3\)"),
    "means": (
        lambda: call(E_prior)(jnp.ones(45), jnp.ones((15, 3)), jnp.ones(45)),
        r"mean: .* with \*n = \(45,\), got",
    ),
    "std": (lambda: call(E_prior)(N3, N3, jnp.ones(3)), r"std: .*got float32 of shape \(3,\)"),
    "limits": (lambda: call(E_prior)(K, K, K, K, jnp.ones((4, 2))), r"limits: expected floats of shape \(\*m, 2\)"),
    "no limits": (lambda: call(E_prior)(K, K, K, K), "expected limited and limits, or neither, got one of them"),
    "keypoints": (lambda: call(E_spen)(N2, jnp.arange(5)), r"keypoints: expected floats of shape \(k, 3\)"),
    "fingers": (lambda: call(E_spen)(N3, jnp.arange(4)), r"finger: expected integers of shape \(k,\) with k = 5"),
    "real fingers": (lambda: call(E_spen)(N3, K), "finger: expected integers .*, got float32 .*: convert it"),
    "least": (lambda: call(E_spen)(N3, jnp.arange(5), jnp.ones(2)), "least: expected a number or floats"),
    "poses": (lambda: call(E_h)(jnp.ones((15, 3)), jnp.ones(45), K[:3], K[:3]), "given_pose: expected"),
    "places": (lambda: call(E_h)(K, K, K[:3], K[:1]), r"given_translation: expected floats of shape \(3,\)"),
    "seen": (lambda: call(E_keypoint)(N2, N2[:1]), "seen: expected floats"),
    "pixels in space": (lambda: call(E_keypoint)(N3, N3), "pixels: expected floats"),
    "confidence": (lambda: call(E_keypoint)(N2, N2, K[:1]), "confidence: expected"),
    "an order's size": (lambda: call(E_order)(K, Order(K[:1], K)), r"order.front: .* \(v,\) with v = 5"),
    "no order": (lambda: call(E_order)(K, (K, K)), "order: expected an Order, got a tuple"),
    "a term of many": (
        lambda: call(weighted_sum)({"dis": K}, {"dis": 1.0}),
        r"terms\['dis'\]: expected floats of shape \(\)",
    ),
    "a weight of many": (lambda: call(weighted_sum)({"dis": K[0]}, {"dis": K}), r"weights\['dis'\]: expected a number"),
    "a weight in words": (lambda: call(weighted_sum)({"dis": K[0]}, {"dis": "1"}), r"weights\['dis'\]: .*got '1'"),
    "faces": (lambda: call(neighbours)(N3, N3, N3), "faces: expected integers"),
    "no key": (
        lambda: call(random_contacts)(0, K, jnp.arange(5), 2),
        "key: expected a random key .*: pass jax.random.key",
    ),
    "regions": (lambda: call(random_contacts)(KEY, K, jnp.arange(4), 2), "regions: expected integers"),
    "more than all": (lambda: call(random_contacts)(KEY, K, jnp.arange(5), 6), "count: .* from 1 to 5, got 6"),
    "real regions": (lambda: call(nearest_contacts)(K, K, 2, 0.1), r"regions: expected integers of shape \(v,\)"),
    "none of them": (lambda: call(nearest_contacts)(K, jnp.arange(5), 0, 0.1), "per_region: .* from 1 to 5, got 0"),
    "too many": (lambda: call(nearest_contacts)(K, jnp.arange(5), 6, 0.1), "per_region: .* from 1 to 5, got 6"),
    "planes and space": (lambda: call(nearest)(N3, N2), r"targets: expected floats of shape \(m, d\) with d = 3"),
    "no targets": (lambda: call(nearest)(N3, jnp.zeros((0, 3))), "number of targets: .*at least 1, got 0"),
    "rows": (lambda: call(signed_distance_at)(GRID, N3), r"coordinates: expected floats of shape \(3, p\)"),
    "no camera": (lambda: call(project)(jnp.eye(3), N3), "camera: expected a Camera, got .*: scene.camera_from_matrix"),
    "one focal length": (lambda: call(project)(replace(CAMERA, focal=K[0]), N3), r"camera.focal: .* \(2,\)"),
    "columns": (lambda: call(project)(CAMERA, jnp.ones((3, 4))), "points: expected floats"),
    "pixels": (lambda: call(inverse_depth)(CAMERA, N3, FACES, N3), "pixels: expected floats"),
    "real faces": (lambda: call(inverse_depths)(CAMERA, N3, N3, N2), "faces: expected integers"),
    "vertices": (lambda: call(silhouette)(CAMERA, N2, FACES, N2), "vertices: expected floats"),
    "a box": (lambda: call(box_ratio)(BOX, BOX[:3]), r"object_box: expected floats of shape \(4,\)"),
    "boxes": (lambda: call(align)(BOX[None], BOX, HULL, HULL), "hand_box: expected"),
    "no hull": (lambda: call(align)(BOX, BOX, HULL[0], HULL), "hand_hull: expected a tuple of 2, got float32"),
    "half a hull": (lambda: call(align)(BOX, BOX, HULL, (HULL[1], HULL[1])), r"object_hull\[0\]: expected floats"),
    "a hull": (lambda: call(hull_volume)(N3, N3), "faces: expected integers"),
    "volumes": (lambda: call(volume_ratio)(K, K), r"hand_volume: expected floats of shape \(\)"),
    "a turn": (lambda: call(matrix_of)(jnp.ones((3, 4))), r"vector: expected floats of shape \(\*n, 3\)"),
    "a matrix": (lambda: call(vector_of)(jnp.ones(3)), r"matrix: expected floats of shape \(\*n, 3, 3\)"),
    "off the mask": (lambda: call(L_dist)(N2, N2.T), r"points_off_mask: expected floats of shape \(2, n\)"),
    "depths": (lambda: call(L_dep)(K, K[:1]), r"hand_depth: expected floats of shape \(n,\) with n = 5"),
    "depth": (lambda: call(L_cam)(N3), r"depth: expected floats of shape \(n,\)"),
    "steps": (
        lambda: call(minimise)(scalar, optax.adam(0.1), K, 0),
        "steps: expected a whole number of at least 1, got 0",
    ),
    "half a step": (lambda: call(minimise)(scalar, optax.adam(0.1), K, 1.5), "steps: expected a whole number, got 1.5"),
    "no optimizer": (
        lambda: call(minimise)(scalar, 0.1, K, 1),
        "solver: expected a GradientTransformation or a function, got 0.1",
    ),
    "no terms": (
        lambda: call(minimise)(lambda x: x.sum(), optax.adam(0.1), K, 1),
        r"energy: expected \(scalar, terms\)",
    ),
    "many energies": (lambda: call(minimise)(lambda x: (x, {}), optax.adam(0.1), K, 1), r"energy: .*got .*\(5,\)"),
    "whole start": (
        lambda: call(minimise)(scalar, optax.adam(0.1), jnp.arange(3), 1),
        "start: expected floats, got int32",
    ),
    "unknowns": (lambda: call(least_squares)(lambda x: x, N3, 3), r"start: expected floats of shape \(p,\)"),
    "no steps": (lambda: call(least_squares)(lambda x: x, K, 0), "steps: .*at least 1, got 0"),
    "residuals": (lambda: call(least_squares)(lambda x: x[None], K, 3), r"residuals: .*one axis, got shape \(1, 5\)"),
    "no energies": (lambda: call(best_of)(np.ones((3, 1)), 1), r"energies: expected floats of shape \(n,\)"),
    "fewer than none": (lambda: call(best_of)(np.ones(3), -1), "count: .*at least 0, got -1"),
    "a share": (lambda: call(kept)(10, 1.5, 1), "share: expected a number from 0 to 1, got 1.5"),
    "no share": (lambda: call(kept)(10, np.nan, 1), "share: expected a number from 0 to 1, got nan"),
    "no rotations": (lambda: call(random_rotations)(KEY, 0, -1), "count: .*at least 0, got -1"),
    "a seed": (lambda: call(random_rotations)(3, 0, 1), "key: expected a random key .*got 3: pass jax.random.key"),
    "width": (lambda: call(run_blocks)(root, None, K, K, 0), "width: .*at least 1, got 0"),
    "no starts": (lambda: call(run_blocks)(root, None, K, K[:0], 4), "number of starts: .*at least 1, got 0"),
    "unequal starts": (lambda: call(run_blocks)(root, None, K, (K, K[:2]), 4), r"one leading axis, got shapes"),
    "scenes": (
        lambda: call(run_blocks)(root, None, [K], K, 4, scene=np.full(5, 1)),
        "one from 0 to 0, got 5 from 1 to 1",
    ),
    "before the first": (lambda: call(run_blocks)(root, None, [K], K, 4, scene=np.full(5, -1)), "got 5 from -1 to -1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_in_one_line(name):
    wrong, message = WRONG[name]
    with pytest.raises(ArgumentError, match=message) as error:
        wrong()
    text = str(error.value)
    assert isinstance(error.value, FgsError) and isinstance(error.value, ValueError)
    assert "\n" not in text and "Traceback" not in text and len(text) < 300


def test_people_who_check_no_annotations_get_the_same_lines():
    """In a process without the tests' type checker, the wrong shapes that gave a number once, and a mesh."""
    program = (
        "from tests.test_checks import WRONG\n"
        "for name in ('two columns', 'transposed', 'one point', 'a mesh', 'swapped', 'no camera', 'limits'):\n"
        "    try:\n        print(name, WRONG[name][0]())\n"
        "    except Exception as error:\n        print(name, type(error).__name__, str(error).count(chr(10)))\n"
    )
    folder = Path(__file__).parent.parent
    ran = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True)
    lines = ran.stdout.splitlines()
    assert len(lines) == 7 and all(line.endswith(" ArgumentError 0") for line in lines), ran.stdout


def test_lists_and_arrays_of_numpy_are_taken():
    points = [[0.08, 0, 0], [0, 0, 1]]
    for given in (points, np.array(points), np.array(points, np.float32), jnp.array(points)):
        np.testing.assert_allclose(call(E_dis)(given, sphere), 0.98, rtol=1e-5)
        np.testing.assert_allclose(call(E_dis)(given, sphere, [2, 0]), 0.06, rtol=1e-5)
        np.testing.assert_allclose(call(project)(CAMERA, given)[1], [160.0, 120.0])
    values = np.random.default_rng(0).normal(size=(4, 4, 4))
    ours = DistanceGrid.from_box(call(values), call(np.zeros(3)), call(0.1))
    theirs = DistanceGrid.from_box(jnp.asarray(values), jnp.zeros(3), jnp.asarray(0.1))
    np.testing.assert_array_equal(call(E_pen)(points, ours), E_pen(jnp.array(points), theirs))
    assert call(E_spen)(np.zeros((2, 3)), [0, 1]) == pytest.approx(0.018, abs=2e-6)
    assert call(best_of)([3.0, 1.0, 2.0], np.int64(2)).tolist() == [1, 2]
    assert call(volume_ratio)(8, 1.0) == pytest.approx(2.0)
    assert call(weighted_sum)({"dis": 2.0}, {"dis": 3.0}) == 6.0


def test_a_check_adds_nothing_to_a_program():
    weight = jnp.array([1.0, 0.0, 2.0, 0.0, 1.0])
    programs: dict[Any, tuple] = {
        E_dis: (N3, GRID, weight),
        E_spen: (N3, jnp.arange(5)),
        E_prior: (K, K, K),
        E_keypoint: (N2, N2, weight),
        nearest: (N3, N3),
        project: (CAMERA, N3),
        L_cam: (K,),
    }
    for function, arguments in programs.items():
        bare = function.__wrapped__
        assert str(jax.make_jaxpr(function)(*arguments)) == str(jax.make_jaxpr(bare)(*arguments))


def test_each_example_of_a_vmap_has_its_own_shape():
    points = jnp.asarray(np.random.default_rng(0).normal(size=(4, 5, 3)), jnp.float32)
    together = jax.jit(jax.vmap(lambda x: E_dis(x, sphere)))(points)
    np.testing.assert_allclose(together, [E_dis(x, sphere) for x in points], rtol=1e-6)
    focal = replace(CAMERA, focal=jnp.tile(CAMERA.focal, (4, 1)))
    axes = Camera(focal=call(0), principal=call(None))
    np.testing.assert_allclose(jax.vmap(project, (axes, 0))(focal, points)[2], project(CAMERA, points[2]), rtol=1e-6)
    with pytest.raises(ArgumentError, match=r"got float32 of shape \(3,\)"):
        jax.vmap(lambda x: E_dis(x, sphere))(points[0])


def test_a_letter_is_one_size_and_numbers_are_no_truth_values():
    @checked
    def both(
        a: Float[Array, "*n 3"], b: Float[Array, "*n"], k: int = 1, *rest: Any, name: str = "", **more: Any
    ) -> int:
        return k

    assert both(jnp.ones((2, 4, 3)), jnp.ones((2, 4)), 3, "rest", name="n", more=1) == 3
    assert both(b=jnp.ones(()), a=jnp.ones(3)) == 1
    for k in (True, 1.0, "1", None):
        with pytest.raises(ArgumentError, match="both: k: expected a whole number, got"):
            both(jnp.ones(3), jnp.ones(()), call(k))
    with pytest.raises(ArgumentError, match=r"b: expected floats of shape \(\*n,\) with \*n = \(2, 4\), got"):
        both(jnp.ones((2, 4, 3)), jnp.ones((2, 5)))
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'b'"):
        call(both)(jnp.ones(3))
    assert check_count("a", np.int32(3), 1, 3) == 3
    for value in (0, 4, 2.0, True, "2", None):
        with pytest.raises(ArgumentError, match=r"a: expected a whole number from 1 to 3, got .*: change it"):
            check_count("a", value, 1, 3)
