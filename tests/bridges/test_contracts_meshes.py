"""What every object back end keeps, whatever it is: results, seeds, masks, and one line for each failure."""

import json
from pathlib import Path

import numpy as np
import pytest

from fgs_bridges import registry
from fgs_bridges.types import Mesh, Provenance
from fgs_jax.errors import BridgeError
from fgs_jax.objects.mesh import load_object
from tests.bridges import stub_object_tools, tiny_shap_e
from tests.bridges.test_command import is_alive, waited

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers

IMAGE = np.zeros((40, 60, 3), np.uint8)
IMAGE[10:20, 30:40] = (200, 100, 50)
MASK = np.zeros((40, 60), bool)
MASK[10:20, 30:40] = True

COMMANDS = {
    "command": stub_object_tools.generic,
    "michelangelo": stub_object_tools.michelangelo,
    "triposr": stub_object_tools.triposr,
}
BOX = "v 0 0 0\nv 2 0 0\nv 0 1 0\nv 0 0 1\n"


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory):
    torch = pytest.importorskip("torch", reason='pip install "fgs-jax[bridges]"')
    pytest.importorskip("diffusers", reason='pip install "fgs-jax[bridges]"')
    torch.set_num_threads(1)
    return {
        mode: tiny_shap_e.save(tmp_path_factory.mktemp("shap_e") / mode.replace(" ", "_"), radius)
        for mode, radius in (("good", tiny_shap_e.RADIUS), ("no faces", -0.5), ("nan", float("nan")))
    }


@pytest.fixture(autouse=True)
def temporary_folders(tmp_path, monkeypatch):
    """Where the back ends make theirs."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


@pytest.fixture
def make(tmp_path, request):
    """A back end by name; `mode` says how its tool behaves."""

    def made(name: str, mode: str = "good", **options):
        if name in COMMANDS:
            return registry.create("object", name, **(COMMANDS[name](tmp_path / "tool", mode) | options))
        if name == "file":
            return registry.create("object", name, path=str(_mesh_file(tmp_path / "mesh.obj", mode)), **options)
        model = request.getfixturevalue("pipelines").get(mode)
        return registry.create("object", name, model=str(model), **({"steps": 1, "grid": 16} | options))

    return made


def _mesh_file(path: Path, mode: str) -> Path:
    faces = "" if mode == "no faces" else "f 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"
    vertices = BOX.replace("v 2", "v nan") if mode == "nan" else BOX
    if mode != "nothing":
        path.write_text("rubbish" if mode == "rubbish" else vertices + faces)
    return path


NAMES = [*COMMANDS, "file", "shap-e"]
SEEDED = ["command", "michelangelo", "shap-e"]


def test_every_back_end_is_in_this_suite():
    assert set(registry.BACKENDS["object"]) == set(NAMES)


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize("name", NAMES)
def test_a_mesh_comes_back(make, temporary_folders, name, masked):
    mesh = make(name)(IMAGE, MASK if masked else None, seed=3)
    assert isinstance(mesh, Mesh)
    assert mesh.vertices.dtype == np.float64 and mesh.vertices.shape[1:] == (3,)
    assert mesh.faces.dtype.kind == "i" and mesh.faces.shape[1:] == (3,)
    assert np.isfinite(mesh.vertices).all()
    assert set(mesh.faces.ravel()) == set(range(len(mesh.vertices)))  # all are used, and no other
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces], 1, 0)
    assert (a * np.cross(b, c)).sum() > 0  # wound outward
    again = load_object((mesh.vertices, mesh.faces), size="unknown")
    assert again.repairs == () and again.watertight  # clean as it is
    assert not list(temporary_folders.glob("fgs_*"))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_mesh_and_another_another(make, name):
    backend = make(name)
    first, again, other = (backend(IMAGE, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.vertices, again.vertices)
    np.testing.assert_array_equal(first.faces, again.faces)
    same = first.vertices.shape == other.vertices.shape and np.array_equal(first.vertices, other.vertices)
    assert same == (name not in SEEDED)
    assert backend.provenance().seed == (2 if name in SEEDED else None)


@pytest.mark.parametrize("name", NAMES)
def test_provenance_of_what_was_made(make, name):
    backend = make(name)
    before = backend.provenance()
    assert isinstance(before, Provenance) and before.backend == name and before.seed is None
    backend(IMAGE, MASK, seed=5)
    made = backend.provenance()
    values = json.loads(json.dumps(made.as_dict()))
    assert values["backend"] == name and values["options"] and made.model
    assert made.licence == {"michelangelo": "GPL-3.0", "triposr": "MIT", "shap-e": "MIT"}.get(name, "")
    if name != "file":
        assert any("square (29, 9, 41, 21) about the object's mask" in note for note in made.notes)


FAILURES = [
    *((name, mode) for name in COMMANDS for mode in ("no faces", "nan", "crash", "hang", "nothing", "rubbish")),
    *(("file", mode) for mode in ("no faces", "nan", "nothing", "rubbish")),
    *(("shap-e", mode) for mode in ("no faces", "nan", "nothing")),
]
SAYS = {
    "no faces": "without a face|no surface",
    "nan": "nan or infinity in 1|no surface",
    "crash": 'got status 1; last line: "RuntimeError: CUDA out of memory"',
    "hang": 'expected an end within 2 s, it was stopped: raise the time-out; last line: "sampling"',
    "nothing": r"expected it to write .*, got none|there is none; check the path|or give a folder as model",
    "rubbish": "expected a mesh, came nothing",
}


@pytest.mark.parametrize(("name", "mode"), FAILURES)
def test_a_failure_is_one_line(make, tmp_path, name, mode):
    backend = make(name, mode, **({"timeout": 2.0 if mode == "hang" else 60.0} if name in COMMANDS else {}))
    with pytest.raises(BridgeError, match=SAYS[mode]) as error:
        backend(IMAGE, MASK, seed=0)
    assert "\n" not in str(error.value)
    if name in COMMANDS:
        log = Path(str(error.value).rpartition("log: ")[2])
        assert log.is_file()  # what the program was given and said is kept
        assert (log.parent / "image.png").is_file()
    if mode == "hang":
        pid = int((tmp_path / "tool" / "pid").read_text())
        assert waited(lambda: not is_alive(pid))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "file"])
@pytest.mark.parametrize(
    ("mask", "says"),
    [(np.zeros((40, 60), bool), "none: check the segmentation"), (MASK[:30], "picture's size"), (MASK * 1.0, "float")],
    ids=["empty", "of another size", "of numbers"],
)
def test_a_mask_that_means_nothing(make, name, mask, says):
    with pytest.raises(BridgeError, match=says):
        make(name)(IMAGE, mask, seed=0)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "file"])
def test_a_picture_of_floats(make, name):
    with pytest.raises(BridgeError, match="expected bytes of shape"):
        make(name)(IMAGE / 255.0, seed=0)
