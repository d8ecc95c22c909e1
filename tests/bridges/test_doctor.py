"""What `fgs doctor` says."""

import subprocess
import sys
from pathlib import Path

import pytest

from fgs_bridges.doctor import doctor, doctor_table, machine
from fgs_bridges.registry import BACKENDS, EXTRA
from tests.bridges.test_registry import other_package as other_package


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """A hub cache that holds nothing yet."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def row(kind, name):
    (found,) = [row for row in doctor() if (row.kind, row.name) == (kind, name)]
    return found


def test_every_back_end_has_a_row_in_the_registrys_order():
    assert [(row.kind, row.name) for row in doctor()] == [(kind, name) for kind in BACKENDS for name in BACKENDS[kind]]


def test_what_is_missing_and_the_line_that_installs_it(found, without):
    found("torch")
    without("transformers", "cv2")
    assert row("segmenter", "sam2").missing == ("transformers",)
    assert not row("segmenter", "sam2").installed
    assert row("segmenter", "grabcut").missing == ("cv2",)
    assert row("segmenter", "file").installed
    (line,) = [line for line in doctor_table().splitlines() if line.startswith("segmenter") and " sam2 " in line]
    assert " missing " in line and line.endswith(f"needs transformers: {EXTRA}")


def test_what_needs_an_option_says_which():
    found = row("object", "michelangelo")
    assert found.installed and found.licence == "GPL-3.0"
    assert found.needs.startswith("object.michelangelo: expected the option checkout")
    assert "expected the option path" in row("object", "file").needs
    (line,) = [line for line in doctor_table().splitlines() if " michelangelo " in line]
    assert " by option " in line and line.endswith(found.needs)


def test_places_that_the_environment_names(tmp_path, monkeypatch):
    for name in ("FGS_MANO_DIR", "FGS_MEDIAPIPE_PYTHON"):
        monkeypatch.delenv(name, raising=False)
    assert row("hand", "mediapipe").needs.startswith("mediapipe: expected the option python, the interpreter of")
    assert any(line.startswith("$FGS_MEDIAPIPE_PYTHON: not set; the interpreter of") for line in machine())
    assert any(line.startswith("$FGS_MANO_DIR: not set; the folder of MANO_RIGHT.pkl") for line in machine())
    monkeypatch.setenv("FGS_MEDIAPIPE_PYTHON", sys.executable)
    assert row("hand", "mediapipe").needs == "" and f"$FGS_MEDIAPIPE_PYTHON: {sys.executable}" in machine()
    monkeypatch.setenv("FGS_MANO_DIR", str(tmp_path / "no"))
    assert f"$FGS_MANO_DIR: {tmp_path / 'no'}, where there is nothing" in machine()


def test_weights_on_this_machine(own_cache, found):
    found("torch", "transformers", "diffusers")
    assert (row("object", "shap-e").model, row("object", "shap-e").weights) == ("openai/shap-e-img2img", "not here")
    assert row("object", "michelangelo").weights == row("object", "file").weights == ""
    assert "hf download openai/shap-e-img2img" in doctor_table()

    model = own_cache / "models--openai--shap-e-img2img"
    snapshot = model / "snapshots" / "0123" / "prior"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    assert row("object", "shap-e").weights == "not here"  # its configuration alone is not the model
    (snapshot / "diffusion_pytorch_model.bin").symlink_to(model / "blobs" / "abc")
    assert row("object", "shap-e").weights == "not here"  # a link to nothing
    (model / "blobs").mkdir()
    (model / "blobs" / "abc").write_bytes(b"synthetic")
    assert row("object", "shap-e").weights == "here"
    assert "hf download openai/shap-e-img2img" not in doctor_table()
    (model / "blobs" / "def.incomplete").write_bytes(b"")
    assert row("object", "shap-e").weights == "in part"


def test_the_cache_is_found_as_the_hub_finds_it(tmp_path, monkeypatch, found):
    found("torch", "transformers", "diffusers")
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    file = tmp_path / "home" / "hub" / "models--openai--shap-e-img2img" / "snapshots" / "0" / "x.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"synthetic")
    assert row("object", "shap-e").weights == "here"


def test_back_ends_of_other_packages_are_listed_and_not_imported(other_package):
    assert row("segmenter", "others").installed
    assert "others_segmenter" not in sys.modules


def test_the_table():
    lines = doctor_table().splitlines()
    assert lines[0].startswith(f"python {sys.version.split()[0]} on ")
    assert "jax " in lines[1] and "fgs-jax " in lines[1]
    table = lines[lines.index("") + 1 :]
    assert table[0].split() == ["kind", "back", "end", "state", "weights", "licence", "to", "do"]
    assert len(table) == 1 + sum(len(entries) for entries in BACKENDS.values())
    column = table[0].index("state")
    assert {line[column:].split("  ")[0] for line in table[1:]} <= {"installed", "missing", "by option"}


def test_gpus_are_asked_of_the_driver(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "GPU: none found (no nvidia-smi)" in machine()
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA Test, 24564 MiB, 1.2'\necho 'NVIDIA Test, 24564 MiB, 1.2'\n")
    program.chmod(0o755)
    assert "GPU: NVIDIA Test, 24564 MiB, 1.2; NVIDIA Test, 24564 MiB, 1.2" in machine()
    program.write_text("#!/bin/sh\nexit 9\n")
    assert "GPU: none found (nvidia-smi: CalledProcessError)" in machine()


def test_nothing_heavy_is_imported_and_no_device_is_touched():
    program = """
import sys
from fgs_bridges.doctor import doctor_table
assert "shap-e" in doctor_table()
assert not [name for name in ("torch", "transformers", "diffusers", "cv2", "mediapipe") if name in sys.modules]
from jax._src import xla_bridge
assert not xla_bridge._backends, "JAX has taken a device"
print("light")
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.stdout.strip() == "light", run.stderr
