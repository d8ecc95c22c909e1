"""Back ends by name: found without being imported, refused in one line, extended by other packages."""

import dataclasses
import inspect
import subprocess
import sys
import textwrap
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fgs_bridges import types
from fgs_bridges.registry import BACKENDS, check_values, create, missing, names
from fgs_bridges.types import Provenance
from fgs_jax.errors import BridgeError, BridgeUnavailable, ConfigError

PROTOCOLS = {
    "text_to_image": types.TextToImage,
    "detector": types.Detector,
    "segmenter": types.Segmenter,
    "hand": types.HandReconstructor,
    "object": types.ObjectReconstructor,
}
ENTRIES = [(kind, name) for kind, entries in BACKENDS.items() for name in entries]


def backend_class(kind, name) -> Any:
    module, _, attribute = BACKENDS[kind][name].target.partition(":")
    return getattr(import_module(module), attribute)


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_every_back_end_keeps_its_protocol(kind, name):
    backend = backend_class(kind, name)
    assert dataclasses.is_dataclass(backend) is True
    wanted = inspect.signature(PROTOCOLS[kind].__call__).parameters
    given = inspect.signature(backend.__call__).parameters
    assert [given[parameter].kind for parameter in wanted] == [parameter.kind for parameter in wanted.values()]
    optional = [name for name, parameter in wanted.items() if parameter.default is not inspect.Parameter.empty]
    assert [given[name].default for name in optional] == [wanted[name].default for name in optional]
    others = [parameter for name, parameter in given.items() if name not in wanted]
    assert all(parameter.default is not inspect.Parameter.empty for parameter in others)
    assert list(inspect.signature(backend.provenance).parameters) == ["self"]
    # Its options come from a file: each has a default.
    options = [item for item in dataclasses.fields(backend) if item.init]
    assert [item.name for item in options if item.default is item.default_factory] == []  # both MISSING


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_what_a_back_end_needs_has_a_line_that_installs_it(kind, name):
    entry = BACKENDS[kind][name]
    assert entry.install or not entry.needs
    assert entry.licence or not entry.install


def test_nothing_heavy_is_imported():
    modules = sorted({entry.target.partition(":")[0] for entries in BACKENDS.values() for entry in entries.values()})
    program = f"""
import sys
import fgs_jax, fgs_bridges.registry, fgs_bridges.types, fgs_bridges.doctor
fgs_bridges.registry.names("segmenter")
heavy = ("torch", "torchvision", "transformers", "diffusers", "cv2", "mediapipe", "huggingface_hub")
assert not [name for name in heavy if name in sys.modules], "the registry"
from importlib import import_module
for module in {modules}:
    import_module(module)
    loaded = [name for name in heavy if name in sys.modules]
    assert not loaded, (module, loaded)
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


def test_names_are_in_the_order_of_preference():
    assert names("segmenter")[:2] == ["sam2", "sam"]
    assert set(BACKENDS) == set(PROTOCOLS)
    with pytest.raises(ConfigError, match=r"expected a kind among text_to_image, detector, .*, got segmentor"):
        names("segmentor")


def test_options_are_the_fields(tmp_path):
    mask = create("segmenter", "file", path=str(tmp_path / "mask.png"))
    assert dataclasses.asdict(mask)["path"] == str(tmp_path / "mask.png")
    with pytest.raises(ConfigError, match=r"segmenter.file: expected options among .*, got pth; did you mean path\?"):
        create("segmenter", "file", pth="mask.png")
    with pytest.raises(ConfigError, match=r"expected options among .*, got frobnicate$"):
        create("segmenter", "file", frobnicate=1)
    with pytest.raises(ConfigError, match="got notes"):  # its state is none of its options
        create("object", "michelangelo", notes=())


def test_the_nearest_name_is_suggested():
    with pytest.raises(
        ConfigError, match=r"object: expected a back end among auto, .*, got shape; did you mean shap-e\?"
    ):
        create("object", "shape")
    with pytest.raises(ConfigError) as error:
        create("object", "zzz")
    assert "did you mean" not in str(error.value)


def test_what_is_not_installed_comes_with_the_line_that_installs_it(found, without):
    found("torch", "transformers")
    without("diffusers")
    assert missing("object", "shap-e") == ["diffusers"]
    with pytest.raises(BridgeUnavailable) as error:
        create("object", "shap-e")
    assert str(error.value) == ('object.shap-e: needs diffusers, not installed here: pip install "fgs-jax[bridges]"')
    without("torch")
    assert missing("segmenter", "sam") == ["torch"]


def test_auto_says_what_it_chose_and_records_it(found, capsys):
    found("torch", "transformers")
    made = create("detector", model="synthetic")
    assert capsys.readouterr().err == "fgs: detector: auto chose grounding-dino\n"
    provenance = made.provenance()
    assert isinstance(provenance, Provenance)
    assert provenance.backend == "grounding-dino" and provenance.notes[-1] == "auto chose grounding-dino"
    assert made.model == "synthetic"
    assert create("detector", "grounding-dino", model="synthetic").provenance().notes == provenance.notes[:-1]
    assert capsys.readouterr().err == ""


def test_auto_takes_only_what_is_installed_and_may_be_chosen(without, capsys):
    without("torch")
    for kind in ("segmenter", "detector"):  # GrabCut, 100DOH's files and the like are there, but nobody asked for them
        with pytest.raises(BridgeUnavailable) as error:
            create(kind)
        assert str(error.value).startswith(f"{kind}: expected one of ")
        assert str(error.value).endswith('installed, found none: pip install "fgs-jax[bridges]"')
    assert capsys.readouterr().err == ""


# --- other packages


@pytest.fixture
def other_package(tmp_path, monkeypatch):
    """A real distribution with a back end of its own, and one whose package lacks something."""
    information = tmp_path / "others_segmenter-1.2.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: others-segmenter\nVersion: 1.2\n")
    (information / "entry_points.txt").write_text(
        "[fgs_jax.bridges]\n"
        "segmenter.others = others_segmenter:Threshold\n"
        "segmenter.broken = others_segmenter_broken:Missing\n"
    )
    (tmp_path / "others_segmenter.py").write_text(
        textwrap.dedent("""
            from dataclasses import dataclass
            from fgs_bridges.types import Provenance

            @dataclass
            class Threshold:
                level: int = 128

                def __call__(self, image, *, box, points=None, point_labels=None):
                    return image.mean(axis=2) > self.level

                def provenance(self):
                    return Provenance("others", options={"level": self.level})
        """)
    )
    (tmp_path / "others_segmenter_broken.py").write_text("import a_module_that_nobody_has\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for module in ("others_segmenter", "others_segmenter_broken"):
        sys.modules.pop(module, None)


def test_another_package_adds_a_back_end(other_package):
    import numpy as np

    assert {"others", "broken"} <= set(names("segmenter")) and names("segmenter")[0] == "sam2"
    assert "others_segmenter" not in sys.modules  # found, not imported
    made = create("segmenter", "others", level=10)
    assert made(np.full((2, 3, 3), 20, np.uint8), box=None).tolist() == [[True] * 3] * 2
    assert made.provenance().as_dict() == {"backend": "others", "options": {"level": 10}}
    with pytest.raises(ConfigError, match=r"segmenter.others: .*, got levle; did you mean level\?"):
        create("segmenter", "others", levle=1)


def test_another_package_that_cannot_be_imported(other_package):
    with pytest.raises(BridgeUnavailable, match=r"segmenter.broken: cannot be imported .*a_module_that_nobody_has"):
        create("segmenter", "broken")


def test_its_name_is_suggested_and_auto_does_not_take_it(other_package, without, capsys):
    with pytest.raises(ConfigError, match=r"got other; did you mean others\?"):
        create("segmenter", "other")
    without("torch")
    with pytest.raises(BridgeUnavailable):
        create("segmenter")


@pytest.mark.parametrize(
    ("kind", "name", "options", "message"),
    [
        ("segmenter", "file", {"path": 3}, "segmenter.file: path: expected a text, got 3; change it"),
        (
            "object",
            "file",
            {"path": "m", "faces": "many"},
            "object.file: faces: expected a whole number or nothing, got 'many'",
        ),
        (
            "object",
            "file",
            {"path": "m", "faces": True},
            "object.file: faces: expected a whole number or nothing, got True",
        ),
        ("object", "file", {"path": "m", "faces": 10**400}, "object.file: faces: expected a number of at most 4294967"),
        ("object", "file", {"path": "m", "largest": 1}, "object.file: largest: expected true or false, got 1"),
        (
            "text_to_image",
            "files",
            {"images": "one.png"},
            "text_to_image.files: images: expected a list, got 'one.png'",
        ),
        ("hand", "mediapipe", {"confidence": float("nan")}, "hand.mediapipe: confidence: expected a number of at most"),
        ("hand", "mediapipe", {"timeout": float("inf")}, "hand.mediapipe: timeout: expected a number of at most"),
    ],
)
def test_an_option_of_another_type_is_one_line(kind, name, options, message):
    with pytest.raises(ConfigError) as caught:
        create(kind, name, **options)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value) and len(str(caught.value)) < 120


@pytest.mark.parametrize(
    "name", ["x" * 300, "a/" + "é" * 200 + "/b", "a\0b", "a/" * 2000], ids=["long", "bytes", "null", "deep"]
)
@pytest.mark.parametrize(
    "kind,backend,option", [("object", "triposr", "checkout"), ("hand", "file", "path"), ("hand", "hamer", "mano")]
)
def test_names_that_no_file_can_have_are_refused(kind, backend, option, name):
    with pytest.raises(ConfigError, match=f"{option}: expected a path, got .*a name that no file can have; change it$"):
        check_values(f"{kind}.{backend}", {option: name}, {option: str})


def test_the_home_of_nobody_is_a_line(tmp_path):
    with pytest.raises(BridgeError, match="a name that no file can have"):
        create("hand", "file", path="~nobody-here/hand.json")(np.zeros((4, 4, 3), np.uint8), ())
