"""Wheel and source archive, each installed into an empty environment far from the repository, and walked through.

Needs pip and hatchling, takes a minute or two, and so is asked for: `make test-packages`.
"""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from fgs_bridges.geometry import mask_box
from fgs_bridges.hands import write_hands
from fgs_bridges.types import HandEstimate
from fgs_jax.picture.scene_files import load_scene

pytestmark = pytest.mark.packages
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Installed:
    """An environment that holds the package as others get it."""

    packages: Path
    programs: Path
    work: Path
    """An empty folder, in which commands run."""

    def run(self, *words: str | Path) -> str:
        """What a program of the environment prints; it must end well."""
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "FGS_MANO_DIR")}
        cache = {"JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": str(self.work.parents[1] / "compiled")}
        program = self.programs / words[0]
        done = subprocess.run(
            [str(program), *map(str, words[1:])],
            cwd=self.work, env=kept | cache, capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0 and "Traceback" not in done.stderr, f"{words}: {done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """The wheel and the source archive."""
    folder = tmp_path_factory.mktemp("dist")
    words = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel", "-d", str(folder)]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True, timeout=300)
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return {"wheel": wheel, "source": source}


@pytest.fixture(scope="module", params=["wheel", "source"])
def installed(request, archives, tmp_path_factory):
    """The packages that we need are borrowed from this environment; ours come from the archive alone."""
    folder = tmp_path_factory.mktemp(request.param)
    venv.create(folder / "env")
    places = {"base": str(folder / "env"), "platbase": str(folder / "env")}
    packages, programs = (Path(sysconfig.get_path(name, "venv", places)) for name in ("purelib", "scripts"))
    borrowed = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "borrowed.pth").write_text("\n".join(borrowed))
    python = programs / Path(sys.executable).name
    words = ["--python", str(python), "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run(
        [sys.executable, "-m", "pip", *words, "--ignore-installed", str(archives[request.param])], check=True
    )
    (folder / "work").mkdir()
    return Installed(packages, programs, folder / "work")


@pytest.fixture(scope="module")
def scene(installed) -> Path:
    """The tumbler that comes with the package."""
    found = installed.packages / "fgs_jax" / "assets" / "examples" / "scenes" / "tumbler"
    assert found.is_dir()
    return found


def test_a_source_archive_gives_the_same_wheel(archives, tmp_path):
    words = ["wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "pip", *words, str(archives["source"])], check=True)
    (again,) = tmp_path.glob("*.whl")
    contents = []
    for path in (archives["wheel"], again):
        with zipfile.ZipFile(path) as file:
            contents.append({name: file.read(name) for name in file.namelist()})
    assert contents[0] == contents[1]
    held = contents[0].keys()
    assert {name.partition("/")[0] for name in held} == {"fgs_jax", "fgs_bridges", "fgs_jax-0.1.0.dist-info"}
    for name in (
        "configs/given.yaml",
        "configs/generate/open.yaml",
        "docs/bridges/hands.md",
        "examples/scenes/tumbler/scene.json",
    ):
        assert contents[0][f"fgs_jax/assets/{name}"] == (ROOT / name).read_bytes()


def test_our_packages_are_those_of_the_archive(installed):
    code = "import fgs_bridges, fgs_jax, sys; print(fgs_bridges.__file__); print(fgs_jax.__file__); print(*sys.path)"
    ours, core, paths = installed.run(Path(sys.executable).name, "-c", code).splitlines()
    assert Path(ours).is_relative_to(installed.packages) and Path(core).is_relative_to(installed.packages)
    assert str(ROOT) not in paths.split()


def test_hands_scenes_and_measures(installed, scene):
    assert "open_hand" in installed.run("fgs", "hand", "info")
    installed.run("fgs", "refine", scene, "--out", "grasp")
    result = json.loads((installed.work / "grasp" / "result.json").read_text(encoding="utf-8"))
    assert result["metrics"]["after"]["mpd_mm"] < 2
    values = json.loads(installed.run("fgs", "metrics", "grasp/hand.obj", "grasp/object.obj", "--json"))
    assert values["mpd_mm"] == pytest.approx(result["metrics"]["after"]["mpd_mm"], abs=0.01)


def test_from_a_photo_with_files(installed, scene):
    installed.run(
        *("fgs", "scene", "from-photo", scene / "image.png", "--object", "tumbler", "--side", "right"),
        *("--object-mesh", scene / "object.ply", "--object-size", "metric", "--focal", "560", "--out", "made"),
        *("--hand-mask", scene / "hand_mask.png", "--object-mask", scene / "object_mask.png"),
        *("--hand-estimate", write_hand(installed.work, scene)),
    )
    assert "is a scene that fgs refine takes" in installed.run("fgs", "scene", "check", "made")
    installed.run("fgs", "scene", "show", "made")
    assert (installed.work / "made.png").stat().st_size > 10_000


def test_from_a_text_with_files(installed, scene):
    work = installed.work
    seen = load_scene(scene)
    boxes = {f"{name}s": [{"box": mask_box(getattr(seen, f"{name}_mask")).tolist()}] for name in ("hand", "object")}
    (work / "boxes.json").write_text(json.dumps(boxes), encoding="utf-8")
    Image.fromarray(np.full((64, 48, 3), 200, np.uint8)).save(work / "alone.png")
    stack = {
        "text_to_image": {"backend": "files", "images": [str(scene / "image.png")]},
        "object_picture": {"backend": "files", "images": ["alone.png"]},
        "detector": {"backend": "manual", "path": "boxes.json"},
        "segmenter": {"backend": "file", "path": str(scene / "hand_mask.png")},
        "object_segmenter": {"backend": "file", "path": str(scene / "object_mask.png")},
        "hand": {"backend": "file", "path": str(write_hand(work, scene))},
        "object": {"backend": "file", "path": str(scene / "object.ply")},
        "object_size": "metric",
        "focal": 560,
    }
    (work / "stack.yaml").write_text(yaml.safe_dump(stack), encoding="utf-8")
    words = ("a hand drinks from a tumbler", "--object", "tumbler", "--config", "stack.yaml", "--out", "run")
    said = installed.run("fgs", "text-to-grasp", *words)
    assert f"wrote {work.resolve() / 'run' / 'grasp' / 'report.html'}" in said
    assert (work / "run" / "grasp" / "hand.obj").is_file()


@pytest.mark.parametrize("name", ["open", "paper"])
def test_named_stacks_and_what_messages_name(installed, name):
    """Without diffusers the first back end of the stack cannot be made; doctor names pages that are there."""
    code = (
        "import sys; from fgs_jax.cli import main; sys.stderr = sys.stdout; sys.modules['diffusers'] = None; "
        f"print(main(['text-to-grasp', 'a hand', '--object', 'mug', '--config', '{name}', '--out', 'T']))"
    )
    *_, said, status = installed.run(Path(sys.executable).name, "-c", code).splitlines()
    assert status == "2" and said.startswith("fgs: text_to_image.diffusers: needs ") and "diffusers, not" in said
    table = installed.run("fgs", "doctor")
    pages = [word.rstrip(".;,") for word in table.split() if word.endswith(".md")]
    assert len(pages) >= 4 and all(Path(page).is_file() for page in pages)
    assert (installed.packages / "fgs_jax/assets/docs/bridges/README.md").is_file()


def write_hand(folder: Path, scene: Path) -> Path:
    seen = load_scene(scene)
    hand = HandEstimate("right", keypoints_2d=seen.keypoints_2d, world_landmarks=seen.world_landmarks)
    write_hands(folder / "hand.json", [hand])
    return folder / "hand.json"
