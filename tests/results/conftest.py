"""A folder of scenes, `fgs refine` in it, and the result of one unbroken run, for all tests of this folder."""

import io
import shutil
import subprocess
from contextlib import redirect_stdout
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml

from fgs_jax.cli import main
from fgs_jax.config_files import config_values
from fgs_jax.picture.scene import mirrored
from fgs_jax.picture.scene_files import save_scene
from fgs_jax.testing import as_scene
from tests.programs import PROGRAMS
from tests.small_scene import SMALL, refined, rendered


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder with a scene, another one, a bad one, and the configuration of all runs."""
    folder = tmp_path_factory.mktemp("place")
    scene = as_scene(rendered())
    save_scene(scene, folder / "scene")
    save_scene(mirrored(scene), folder / "left")
    seen = refined().before.hand
    far = replace(seen, translation=seen.translation + np.array([0, 0, 3], np.float32))
    save_scene(replace(scene, keypoints_2d=None, hand_params=jax.tree.map(jnp.asarray, far)), folder / "far")
    (folder / "loop").symlink_to("loop")
    (folder / "small.yaml").write_text(yaml.safe_dump(config_values(SMALL)))
    return folder


@pytest.fixture(scope="session")
def fgs(place):
    """Runs `fgs refine` with the small configuration, in the folder of the scenes: the exit status."""

    def fgs(*words) -> int:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in PROGRAMS.items():
                patch.setenv(name, value)
            patch.chdir(place)
            return main(["refine", "--config", "small.yaml", *map(str, words)])

    return fgs


@pytest.fixture(scope="session")
def unbroken(place, fgs):
    """The folder of an unbroken run, and what it has printed."""
    with redirect_stdout(io.StringIO()) as printed:
        assert fgs("scene", "--out", "unbroken") == 0
    return place / "unbroken", printed.getvalue()


@pytest.fixture(scope="session")
def written(unbroken):
    return unbroken[0]


@pytest.fixture
def out(place):
    """A path for a result; nothing lies there or beside it, now and after the test."""
    yield place / "out"
    shutil.rmtree(place / "out", ignore_errors=True)
    assert not list(place.glob(".*"))


@pytest.fixture
def full_disk(tmp_path):
    """A folder with 100 kB of room."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(tmp_path)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs: run as root")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)
