"""Scenes to disk and back to the bit; a bad scene and a failed write leave what was there."""

import shutil
import subprocess
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from PIL import Image

from fgs_jax.errors import FgsError, SceneError
from fgs_jax.objects.mesh import load_object
from fgs_jax.objects.surfaces import SignedDistance
from fgs_jax.picture.scene import Scene, mirrored
from fgs_jax.picture.scene_checks import check_scene
from fgs_jax.picture.scene_files import load_scene, save_scene
from fgs_jax.types import Camera
from tests.picture.scenes import HEIGHT, NAN, WIDTH, assert_same, bare, rectangle, single, with_gaps, with_matrices


def unknown_size(scene: Scene) -> Scene:
    mesh = load_object((scene.object.vertices * 100, scene.object.faces[::-1, ::-1]), "unknown")
    assert mesh.repairs
    return replace(scene, object=mesh, hand_params=None)


def upright(scene: Scene) -> Scene:
    return replace(scene, object_up=np.array([0.0, 0.0, -1.0]), gravity=np.array([0.1, 0.9, 0.3]))


@pytest.mark.parametrize("variant", [upright, replace, bare, with_matrices, single, unknown_size, mirrored, with_gaps])
def test_a_scene_comes_back_to_the_bit(scene, tmp_path, variant):
    given = variant(scene)
    save_scene(given, tmp_path / "new" / "scene")
    assert_same(load_scene(tmp_path / "new" / "scene"), given)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["scene"]
    save_scene(load_scene(tmp_path / "new" / "scene"), tmp_path / "again")
    for path in (tmp_path / "again").iterdir():
        assert path.read_bytes() == (tmp_path / "new" / "scene" / path.name).read_bytes()


def test_others_can_read_the_files(scene, tmp_path):
    save_scene(scene, tmp_path / "scene")
    mesh: Any = trimesh.load(tmp_path / "scene" / "object.ply", process=False)
    np.testing.assert_array_equal(mesh.vertices, scene.object.vertices)
    np.testing.assert_array_equal(mesh.faces, scene.object.faces)
    with np.load(tmp_path / "scene" / "arrays.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["keypoints_2d"], scene.keypoints_2d)
    mask = np.array(Image.open(tmp_path / "scene" / "hand_mask.png"))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, 255 * scene.hand_mask)
    text = (tmp_path / "scene" / "scene.json").read_text()
    assert '"principal": [31.25, 24.5],' in text
    assert "hält [ 1, 2 ]" in text


def test_a_file_changed_after_writing_is_noticed(scene, tmp_path):
    folder = tmp_path / "scene"
    save_scene(scene, folder)
    Image.fromarray(scene.object_mask).save(folder / "hand_mask.png")
    with pytest.raises(SceneError, match=r"hand_mask.png: expected the file that `files`"):
        load_scene(folder)
    (folder / "hand_mask.png").unlink()
    with pytest.raises(SceneError, match=r"hand_mask.png: expected this file, there is none"):
        load_scene(folder)


def bad(scene: Scene, **changes: Any) -> Scene:
    """The scene with other values, which are not checked while it is made."""
    copy = replace(scene)
    for name, value in changes.items():
        object.__setattr__(copy, name, value)
    return copy


BAD_SCENES: list[tuple[Any, str]] = [
    (lambda s: {"side": "middle"}, "side: expected"),
    (lambda s: {"hand_mask": s.hand_mask[:-1]}, "hand_mask: expected the size of the picture"),
    (lambda s: {"object_mask": ~s.object_mask}, "object_mask: expected the border to be background mostly"),
    (lambda s: {"hand_mask": ~s.hand_mask}, "hand_mask: expected the border to be background mostly"),
    (lambda s: {"image": s.image[..., :1]}, "image: expected bytes of shape"),
    (lambda s: {"keypoints_2d": s.keypoints_2d * NAN}, "keypoints_2d: expected finite numbers"),
    (lambda s: {"keypoints_2d": s.keypoints_2d / [WIDTH, HEIGHT]}, "are they shares of its width and height"),
    (lambda s: {"world_landmarks": s.world_landmarks * 1000}, "world_landmarks: expected a hand in metres"),
    (lambda s: {"object_mask": s.hand_mask & rectangle(0, 0, 50, 30)}, "at least 30 pixels outside of the hand's mask"),
    (lambda s: {"camera": Camera(s.camera.focal / 64, s.camera.principal)}, "a view of 1.5 to 150 degrees"),
    (lambda s: {"hand_vertices": s.hand_vertices[:, :2]}, "hand_vertices: expected numbers of shape"),
    (lambda s: {"hand_params": replace(s.hand_params, pose=jnp.zeros(45))}, r"hand_pose: .*\(15, 3\) or \(15, 3, 3\)"),
    (lambda s: {"hand_params": replace(s.hand_params, rotation=jnp.ones((3, 3)))}, "hand_rotation: expected rotation"),
    (lambda s: {"camera": Camera(s.camera.focal, s.camera.principal * 4)}, "K of another resolution"),
    (lambda s: {"object": replace(s.object, vertices=s.object.vertices * NAN)}, "blob: expected finite vertices"),
    (lambda s: {"object": replace(s.object, vertices=s.object.vertices * 1e3)}, "blob: expected an object of 5 mm"),
    (lambda s: {"provenance": {"tool": object()}}, "provenance, prompt: expected values that JSON knows"),
    (lambda s: {"provenance": {"score": NAN}}, "provenance, prompt: expected values that JSON knows"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_SCENES)
def test_a_bad_scene_is_not_written(scene, tmp_path, changes, message):
    with pytest.raises(FgsError, match=message) as caught:
        save_scene(bad(scene, **changes(scene)), tmp_path / "scene")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_an_object_without_faces_is_said_so_in_one_line(scene):
    ball = SignedDistance.from_function(lambda points: jnp.linalg.norm(points, axis=1) - 0.03)
    object.__setattr__(scene, "object", ball)  # past the checks of types that the tests have and people have not
    with pytest.raises(SceneError, match=r"object: expected a mesh, .*, got SignedDistance: .* refine_grasps") as error:
        check_scene(scene)
    assert "\n" not in str(error.value)


def test_a_folder_that_is_there_is_overwritten_only_if_asked(scene, tmp_path):
    folder = tmp_path / "scene"
    save_scene(bare(scene), folder)
    with pytest.raises(SceneError, match=r"scene: the folder is there already: .*\(--overwrite\)"):
        save_scene(scene, folder)
    assert_same(load_scene(folder), bare(scene))
    save_scene(scene, folder, overwrite=True)
    assert_same(load_scene(folder), scene)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(SceneError, match=r"expected a scene's files only to overwrite, came notes.txt"):
        save_scene(scene, folder, overwrite=True)
    assert (folder / "notes.txt").read_text() == "mine"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SceneError, match="expected a scene to overwrite, came a file"):
        save_scene(scene, tmp_path / "file", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "scene"]


def test_a_name_that_no_folder_can_have_is_one_line(scene, tmp_path):
    with pytest.raises(SceneError, match=r"cannot be written .File name too long.: choose another place"):
        save_scene(bare(scene), tmp_path / ("x" * 300))


def test_a_failed_write_leaves_nothing_and_the_old_scene(scene, tmp_path):
    folder = tmp_path / "scene"
    save_scene(bare(scene), folder)
    resource = pytest.importorskip("resource", reason="this system has no limits of files' sizes")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))  # the picture is larger, other files are smaller
    try:
        for target in (folder, tmp_path / "other"):
            with pytest.raises(SceneError, match=r"cannot be written \(File too large\): free some space"):
                save_scene(scene, target, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_same(load_scene(folder), bare(scene))
    assert [path.name for path in tmp_path.iterdir()] == ["scene"]


def test_a_full_disk_leaves_nothing_and_the_old_scene(scene, rng, tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(tmp_path)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs: run as root")
    try:
        large = rng.integers(0, 256, (200, 300, 3)).astype(np.uint8)
        save_scene(bare(scene), tmp_path / "scene")
        for target in ("scene", "other"):
            with pytest.raises(SceneError, match=r"cannot be written \(No space left on device\): free some space"):
                save_scene(replace(scene, object_image=large), tmp_path / target, overwrite=True)
        assert_same(load_scene(tmp_path / "scene"), bare(scene))
        assert [path.name for path in tmp_path.iterdir()] == ["scene"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
