"""Object back ends one by one: the exact command lines, what each option does, and Shap-E's own mesh."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fgs_bridges.object_commands import MeshFile, Michelangelo, ObjectCommand, TripoSR
from fgs_jax.errors import BridgeError, BridgeUnavailable, ConfigError
from tests.bridges import stub_object_tools, tiny_shap_e

IMAGE = np.full((40, 60, 3), 90, np.uint8)
MASK = np.zeros((40, 60), bool)
MASK[10:20, 30:50] = True

ECHO = """
import json, os, sys
print(json.dumps(sys.argv[1:])); print(os.getcwd()); print(os.environ.get("TOOL"))
sys.exit(1)
"""


def box_length(mesh) -> float:
    return float(np.ptp(mesh.vertices[:, 0]))


def echoed(backend, folder):
    """What a back end's program was started with, where, and its environment variable TOOL."""
    with pytest.raises(BridgeError):
        backend(IMAGE, MASK, seed=7)
    arguments, cwd, variable = (folder / "log.txt").read_text().splitlines()
    return json.loads(arguments), cwd, variable


def echo_checkout(options, program):
    (Path(options["checkout"]) / program).write_text(ECHO)
    return options


# --- Michelangelo and TripoSR: the command lines of their documentation


def test_michelangelos_command_line(tmp_path):
    options = echo_checkout(stub_object_tools.michelangelo(tmp_path / "Michel angelo; x"), "inference.py")
    folder = tmp_path / "kept"
    backend = Michelangelo(**options, folder=str(folder), env={"TOOL": "{seed}"})
    arguments, cwd, variable = echoed(backend, folder)
    assert arguments == [
        *("--task", "image2mesh"),
        *("--config_path", "./configs/image_cond_diffuser_asl/image-ASLDM-256.yaml"),
        *("--ckpt_path", "./checkpoints/image_cond_diffuser_asl/image-ASLDM-256.ckpt"),
        *("--image_path", str(folder / "image.png"), "--output_dir", str(folder / "output"), "--seed", "7"),
    ]
    assert cwd == options["checkout"]  # its CLIP folder is relative to it
    assert variable == "7"


def test_triposrs_command_line(tmp_path):
    options = echo_checkout(stub_object_tools.triposr(tmp_path / "tripo"), "run.py")
    folder = tmp_path / "kept"
    arguments, cwd, _ = echoed(TripoSR(**options, folder=str(folder), resolution=320), folder)
    assert arguments == [
        *(str(folder / "image.png"), "--device", "cuda:0", "--pretrained-model-name-or-path", "stabilityai/TripoSR"),
        *("--no-remove-bg", "--mc-resolution", "320", "--chunk-size", "8192"),
        *("--output-dir", str(folder / "output"), "--model-save-format", "obj"),
    ]
    assert cwd == options["checkout"]


def test_the_picture_that_a_tool_gets(tmp_path):
    white, grey = tmp_path / "white", tmp_path / "grey"
    Michelangelo(**stub_object_tools.michelangelo(tmp_path / "m"), folder=str(white))(IMAGE, MASK, seed=0)
    TripoSR(**stub_object_tools.triposr(tmp_path / "t"), folder=str(grey))(IMAGE, MASK, seed=0)
    for folder, value, side in ((white, 255, 24), (grey, 127, 24)):
        with Image.open(folder / "image.png") as file:
            picture = np.asarray(file)
        assert picture.shape == (side, side, 3)  # 20 wide, and a tenth or 8.8 % on each side, rounded up
        assert (picture == 90).all(axis=2).sum() == MASK.sum()
        assert (picture == value).all(axis=2).sum() == side**2 - MASK.sum()


def test_michelangelos_two_samples(tmp_path):
    options = stub_object_tools.michelangelo(tmp_path / "m")
    assert box_length(Michelangelo(**options)(IMAGE, seed=4)) == 5
    assert box_length(Michelangelo(**options, sample=1)(IMAGE, seed=4)) == 6
    with pytest.raises(BridgeError, match="expected at least 3 meshes for sample 2, got 2; log: "):
        Michelangelo(**options, sample=2, folder=str(tmp_path / "kept"))(IMAGE, seed=4)


def test_what_is_not_there_is_said_before_anything_runs(tmp_path):
    with pytest.raises(BridgeUnavailable, match=r"object.michelangelo: expected the option checkout.*objects.md"):
        Michelangelo()
    with pytest.raises(BridgeUnavailable, match=r"expected .*/run\.py, there is none: see docs/bridges/objects.md"):
        TripoSR(checkout=str(tmp_path))
    options = stub_object_tools.michelangelo(tmp_path / "m")
    (tmp_path / "m" / stub_object_tools.CHECKPOINT).unlink()
    with pytest.raises(BridgeUnavailable, match=r"expected .*image-ASLDM-256.ckpt, there is none"):
        Michelangelo(**options)


def test_provenance_has_the_weights_and_the_commit(tmp_path):
    options = stub_object_tools.michelangelo(tmp_path / "m")
    checkpoint = tmp_path / "elsewhere.ckpt"
    checkpoint.write_bytes(b"synthetic weights")
    git = ["git", "-C", options["checkout"], "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *command], check=True)
    made = Michelangelo(**options, checkpoint=str(checkpoint)).provenance()
    assert made.weights == {"elsewhere.ckpt": hashlib.sha256(b"synthetic weights").hexdigest()}
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert made.revision == head and len(head) == 40
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.ckpt").write_bytes(b"synthetic weights")
    made = TripoSR(**stub_object_tools.triposr(tmp_path / "t"), model=str(model)).provenance()
    assert made.weights == {"model.ckpt": hashlib.sha256(b"synthetic weights").hexdigest()}
    assert made.revision == ""  # no git checkout


# --- any other program


def test_a_template_from_yaml(tmp_path):
    import yaml

    stub_object_tools.generic(tmp_path / "tool")
    options = yaml.safe_load(f"""
        argv: ["{{python}}", "{{checkout}}/tool.py", "{{image}}", "{{output}}/{{quality}}", "{{seed}}"]
        python: {sys.executable}
        checkout: {tmp_path / "tool"}
        outputs: ["{{quality}}/*.obj"]
        values: {{quality: high}}
        background: grey
        timeout: 60
        faces: 12
    """)
    mesh = ObjectCommand(**options)(IMAGE, seed=1)
    assert box_length(mesh) == 2 and len(mesh.faces) == 12


def test_a_kept_folder_is_used_again_and_never_for_an_old_result(tmp_path):
    folder = tmp_path / "kept"
    options = {**stub_object_tools.generic(tmp_path / "tool"), "folder": str(folder)}
    assert box_length(ObjectCommand(**options)(IMAGE, seed=1)) == 2
    assert box_length(ObjectCommand(**options)(IMAGE, seed=2)) == 3
    assert {path.name for path in folder.iterdir()} == {"image.png", "output", "log.txt"}
    (tmp_path / "tool" / "mode.txt").write_text("nothing")
    with pytest.raises(BridgeError, match=r"only mesh.obj, which is older than this run"):
        ObjectCommand(**options)(IMAGE, seed=3)


def test_paths_are_as_seen_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stub_object_tools.generic(tmp_path / "tool")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    argv = ["{python}", "tool.py", "{image}", "{output}", "{seed}"]
    backend = ObjectCommand(argv=argv, checkout="tool", python="bin/python", folder="kept")
    assert box_length(backend(IMAGE, seed=1)) == 2
    assert (tmp_path / "kept" / "output" / "mesh.obj").is_file()


def test_largest_and_faces(tmp_path):
    options = stub_object_tools.generic(tmp_path / "tool")
    cleaned = ObjectCommand(**options)
    assert len(cleaned(IMAGE, seed=0).faces) == 12
    assert any("dropped 1 smaller parts" in note for note in cleaned.provenance().notes)
    assert len(ObjectCommand(**options, largest=False, faces=None)(IMAGE, seed=0).faces) == 16


def test_a_program_without_a_seed_says_so(tmp_path):
    backend = TripoSR(**stub_object_tools.triposr(tmp_path / "t"))
    backend(IMAGE, seed=3)
    assert backend.provenance().seed is None
    assert "the program takes no seed" in backend.provenance().notes


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "object.command: expected argv"),
        ({"argv": ["x"], "outputs": []}, "expected outputs"),
        ({"argv": ["x"], "timeout": 0}, "timeout of at least 0.001, got 0"),
        ({"argv": ["x"], "sample": -1}, "sample of at least 0, got -1"),
        ({"argv": ["x"], "faces": 1}, "faces of at least 4, got 1"),
        ({"argv": ["x"], "background": "red"}, "expected one of white, grey, got red"),
    ],
)
def test_options_that_mean_nothing(options, says):
    with pytest.raises(ConfigError, match=says):
        ObjectCommand(**options)


def test_an_unknown_placeholder(tmp_path):
    backend = ObjectCommand(argv=["true", "{imgae}"], folder=str(tmp_path))
    with pytest.raises(ConfigError, match=r"got \{imgae\}"):
        backend(IMAGE, seed=0)


# --- a mesh file


def test_a_users_mesh_keeps_its_place_its_size_and_its_parts(tmp_path):
    import trimesh

    box, knob = trimesh.creation.box((0.1, 0.2, 0.3)), trimesh.creation.icosphere(subdivisions=1, radius=0.01)
    box.apply_translation((1, 2, 3))
    path = tmp_path / "mug.glb"
    trimesh.util.concatenate([box, knob]).export(path)
    backend = MeshFile(str(path))
    mesh = backend(IMAGE, MASK, seed=0)
    assert len(mesh.faces) == 12 + len(knob.faces)
    np.testing.assert_allclose(mesh.vertices.max(axis=0), [1.05, 2.1, 3.15], atol=1e-6)
    assert backend.provenance().weights == {"mug.glb": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert "kept 2 separate parts" in backend.provenance().notes
    assert len(MeshFile(str(path), largest=True)(IMAGE, seed=0).faces) == 12
    with pytest.raises(ConfigError, match="expected the option path"):
        MeshFile()


# --- Shap-E


@pytest.fixture(scope="module")
def shap_e_folder(tmp_path_factory):
    torch = pytest.importorskip("torch", reason='pip install "fgs-jax[bridges]"')
    pytest.importorskip("diffusers", reason='pip install "fgs-jax[bridges]"')
    torch.set_num_threads(1)
    return tiny_shap_e.save(tmp_path_factory.mktemp("shap_e"))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers
@pytest.mark.parametrize("grid", [16, 32])
def test_shap_es_surface_is_where_its_network_says(shap_e_folder, grid):
    from fgs_bridges.shap_e import ShapE

    backend = ShapE(model=str(shap_e_folder), steps=1, grid=grid, device="cpu")
    mesh = backend(IMAGE, MASK, seed=0)
    # diffusers lays the grid, with a border of one point all around, over the cube from -1 to 1.
    radius = tiny_shap_e.RADIUS * (grid - 1) / (grid + 1)
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=1), radius, rtol=0.02)
    assert set(backend.provenance().versions) == {"torch", "diffusers", "transformers"}
    assert {name.split("/")[0] for name in backend.provenance().weights} == {
        "image_encoder",
        "prior",
        "shap_e_renderer",
    }


def test_the_real_decoders_output_becomes_our_mesh(shap_e_folder):
    import torch
    from diffusers.pipelines.shap_e.renderer import MeshDecoderOutput, ShapERenderer

    from fgs_bridges.shap_e import mesh_of

    vertices = torch.arange(12, dtype=torch.float16).reshape(4, 3).requires_grad_()
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    mesh = mesh_of(MeshDecoderOutput(verts=vertices, faces=faces, vertex_channels={}))
    assert mesh.vertices.dtype == np.float64 and mesh.faces.dtype == np.int64
    np.testing.assert_array_equal(mesh.vertices, np.arange(12).reshape(4, 3))
    faces[:] = 0  # no memory is shared
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3]])

    # The decoder itself: half a space is inside, so its surface is the plane x = 0.5.
    decoder = ShapERenderer.from_pretrained(shap_e_folder, subfolder="shap_e_renderer").mesh_decoder
    field = torch.linspace(1, -1, 5)[:, None, None].expand(5, 4, 3).contiguous()
    mesh = mesh_of(decoder(field, torch.zeros(3), torch.ones(3)))
    np.testing.assert_allclose(mesh.vertices[:, 0], 0.5)
    assert len(mesh.faces) == 2 * 3 * 2


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_shap_e_with_weights_missing_is_not_run_with_random_ones(shap_e_folder, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    from fgs_bridges.shap_e import ShapE

    folder = tmp_path / "model"
    shutil.copytree(shap_e_folder, folder)
    file = folder / "image_encoder" / "model.safetensors"
    weights = load_file(file)
    dropped = sorted(weights)[0]
    save_file({name: value for name, value in weights.items() if name != dropped}, file, {"format": "pt"})
    with pytest.raises(BridgeError, match="an image encoder without") as error:
        ShapE(model=str(folder), steps=1, grid=16)(IMAGE, seed=0)
    assert "\n" not in str(error.value)


def test_shap_es_options():
    from fgs_bridges.shap_e import ShapE

    with pytest.raises(ConfigError, match="grid of at least 8, got 2"):
        ShapE(grid=2)
    with pytest.raises(ConfigError, match="steps of at least 1, got 0"):
        ShapE(steps=0)
    with pytest.raises(ConfigError, match="expected one of white, grey, got red"):
        ShapE(background="red")
    pytest.importorskip("torch", reason='pip install "fgs-jax[bridges]"')
    with pytest.raises(ConfigError, match="device: expected auto, cpu"):
        ShapE(device="gpu")(IMAGE, seed=0)


@pytest.mark.weights
@pytest.mark.gpu
def test_published_shap_e_makes_a_surface():
    torch = pytest.importorskip("torch", reason='pip install "fgs-jax[bridges]"')
    from fgs_bridges.provenance import model_files
    from fgs_bridges.shap_e import ShapE

    if not torch.cuda.is_available() or not model_files(ShapE().model)[1]:
        pytest.skip("needs a GPU and `hf download openai/shap-e-img2img`")
    mesh = ShapE()(IMAGE, MASK, seed=0)
    assert len(mesh.faces) > 1000
