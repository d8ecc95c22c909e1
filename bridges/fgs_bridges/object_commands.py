"""Meshes from programs that are run as they are, and meshes that the user has."""

import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from PIL import Image as Picture

from fgs_bridges.command import fill, run_command
from fgs_bridges.images import background_colour, object_picture
from fgs_bridges.meshes import clean
from fgs_bridges.pretrained import check_picture, options_of
from fgs_bridges.provenance import weight_hashes
from fgs_bridges.types import Image, Mask, Mesh, Provenance
from fgs_jax.errors import BridgeError, BridgeUnavailable, ConfigError
from fgs_jax.files import expanded
from fgs_jax.shipped import shipped

DOCS = shipped("docs/bridges/objects.md")


@dataclass
class ObjectCommand:
    """Any program that makes a mesh file of a picture.

    The program gets the object matted on `background` in the middle of a square, as a PNG file. Every option
    that is a text or a number is a {placeholder} in `argv`, `cwd`, `env` and `outputs`, and so are {image}, {output} (a
    folder for its results), {seed}, and what `values` adds. What it was given, its results and its log are in `folder`.

    The mesh is cleaned (`fgs_bridges.meshes.clean`).
    """

    argv: list[str] = field(default_factory=list)
    """Such as ["{python}", "run.py", "{image}", "--out", "{output}"]."""
    outputs: list[str] = field(default_factory=lambda: ["**/*.obj"])
    """Glob patterns of mesh files in {output}, each of which must be written."""
    sample: int = 0
    """Which of them, in the order of their names."""
    checkout: str = ""
    """The program's folder."""
    cwd: str = "{checkout}"
    """Where it runs; {output} where that is empty."""
    python: str = "python"
    """Its own interpreter."""
    env: dict[str, str] = field(default_factory=dict)
    timeout: float = 1800.0
    """Seconds."""
    background: str = "white"
    """"white" or "grey"."""
    margin: float = 0.1
    """Left free on each side of the object, as a share of its longer side."""
    faces: int | None = 20_000
    """At most so many, as far as simplification keeps the shape; None for no limit."""
    largest: bool = True
    """Of separate parts, keep only the one with the largest area."""
    folder: str = ""
    """Where its files stay; by default a new temporary folder, which stays only where the program fails."""
    values: dict[str, str] = field(default_factory=dict)
    licence: str = ""
    seed: int | None = field(init=False, repr=False, default=None)
    notes: tuple[str, ...] = field(init=False, repr=False, default=())

    backend: ClassVar[str] = "command"
    required: ClassVar[tuple[str, ...]] = ()
    """Templates of files, in the checkout unless absolute, without which it is not installed."""
    weights: ClassVar[tuple[str, ...]] = ()
    """Templates of its files of weights, as `required`."""

    def __post_init__(self) -> None:
        where = f"object.{self.backend}"
        if not self.argv:
            raise ConfigError(f'{where}: expected argv, such as ["python", "run.py", "{{image}}"], got none')
        if not self.outputs:
            raise ConfigError(f'{where}: expected outputs, such as ["*.obj"], got none: name what the program writes')
        for name, least in (("timeout", 0.001), ("sample", 0), ("faces", 4)):
            if (value := getattr(self, name)) is not None and not value >= least:
                raise ConfigError(f"{where}: expected {name} of at least {least}, got {value}")
        background_colour(self.background)
        if self.required:
            self._check_installed(where)

    def __call__(self, image: Image, mask: Mask | None = None, *, seed: int) -> Mesh:
        """Mesh of the object in a picture; BridgeError where the program fails or its mesh is none."""
        check_picture(image, f"object.{self.backend}")
        picture, crop = object_picture(image, mask, self.margin, self.background)
        folder = _absolute(self.folder) if self.folder else Path(tempfile.mkdtemp(prefix="fgs_object_"))
        output = folder / "output"
        output.mkdir(parents=True, exist_ok=True)
        Picture.fromarray(picture).save(folder / "image.png")
        values = self._values() | {"image": str(folder / "image.png"), "output": str(output), "seed": str(seed)}
        cwd = fill(self.cwd, values)
        log = folder / "log.txt"
        written = run_command(
            self.argv,
            values,
            cwd=_absolute(cwd) if cwd else output,
            env=self.env,
            timeout=self.timeout,
            outputs=self.outputs,
            log=log,
            folder=output,
        )
        if self.sample >= len(written):
            raise BridgeError(
                f"object.{self.backend}: expected at least {self.sample + 1} meshes for sample {self.sample}, got "
                f"{len(written)}; log: {log}"
            )
        try:
            mesh, done = clean(written[self.sample], self.faces, largest=self.largest)
        except BridgeError as error:
            raise BridgeError(f"{error}; log: {log}") from error
        seeded = any("{seed}" in item for item in (*self.argv, *self.env.values()))
        self.seed = seed if seeded else None
        what = "the object's mask" if mask is not None else "the whole picture"
        self.notes = (
            f"square {crop} about {what}, on {self.background}",
            *(() if seeded else ("the program takes no seed",)),
            *done,
        )
        if not self.folder:
            shutil.rmtree(folder)
        return mesh

    def provenance(self) -> Provenance:
        files = [path for template in self.weights if (path := self._in_checkout(template)).is_file()]
        return Provenance(
            backend=self.backend,
            model=self.checkout or self.argv[0],
            revision=_revision(Path(self._values()["checkout"])) if self.checkout else "",
            weights=weight_hashes(files),
            options=options_of(self),
            seed=self.seed,
            licence=self.licence,
            notes=self.notes,
        )

    def _values(self) -> dict[str, str]:
        values = {name: str(value) for name, value in options_of(self).items() if isinstance(value, str | int | float)}
        values["checkout"] = str(_absolute(self.checkout)) if self.checkout else ""
        # Found as ours here, and not in the folder where it runs; a link into another environment stays one.
        values["python"] = str(_absolute(self.python)) if "/" in self.python else self.python
        return {name: values[name] for name in values if name not in ("cwd", "folder")} | self.values

    def _in_checkout(self, template: str) -> Path:
        values = self._values()
        return Path(values["checkout"]) / expanded(fill(template, values))

    def _check_installed(self, where: str) -> None:
        if not self.checkout:
            raise BridgeUnavailable(
                f"{where}: expected the option checkout, the program's folder, got none: see {DOCS}"
            )
        for template in self.required:
            if not (path := self._in_checkout(template)).exists():
                raise BridgeUnavailable(f"{where}: expected {path}, there is none: see {DOCS}")


@dataclass
class Michelangelo(ObjectCommand):
    """Michelangelo (Zhao et al. 2023), the paper's: its `inference.py`, task image2mesh.

    GPL-3.0: it stays a program of its own. Of the two meshes that it makes, `sample` chooses.
    """

    argv: list[str] = field(
        default_factory=lambda: [
            *("{python}", "inference.py", "--task", "image2mesh"),
            *("--config_path", "{config}", "--ckpt_path", "{checkpoint}"),
            *("--image_path", "{image}", "--output_dir", "{output}", "--seed", "{seed}"),
        ]
    )
    outputs: list[str] = field(default_factory=lambda: ["image2mesh/*_out_mesh.obj"])
    config: str = "./configs/image_cond_diffuser_asl/image-ASLDM-256.yaml"
    """In the checkout unless absolute, as `checkpoint`."""
    checkpoint: str = "./checkpoints/image_cond_diffuser_asl/image-ASLDM-256.ckpt"
    licence: str = "GPL-3.0"

    backend: ClassVar[str] = "michelangelo"
    required: ClassVar[tuple[str, ...]] = ("inference.py", "{config}", "{checkpoint}")
    weights: ClassVar[tuple[str, ...]] = ("{checkpoint}",)


@dataclass
class TripoSR(ObjectCommand):
    """TripoSR (Tochilkin et al. 2024): its `run.py`, on a grey background as it asks. It takes no seed."""

    argv: list[str] = field(
        default_factory=lambda: [
            *("{python}", "run.py", "{image}", "--device", "{device}", "--pretrained-model-name-or-path", "{model}"),
            *("--no-remove-bg", "--mc-resolution", "{resolution}", "--chunk-size", "{chunk}"),
            *("--output-dir", "{output}", "--model-save-format", "obj"),
        ]
    )
    outputs: list[str] = field(default_factory=lambda: ["0/mesh.obj"])
    background: str = "grey"
    margin: float = 0.088
    """So that the object fills 85 % of the square, its own pre-processing's share."""
    device: str = "cuda:0"
    """It takes the CPU by itself where there is no GPU."""
    model: str = "stabilityai/TripoSR"
    """Id on the hub, or a folder with config.yaml and model.ckpt."""
    resolution: int = 256
    chunk: int = 8192
    """Points at once: fewer take less memory and more time."""
    licence: str = "MIT"

    backend: ClassVar[str] = "triposr"
    required: ClassVar[tuple[str, ...]] = ("run.py",)
    weights: ClassVar[tuple[str, ...]] = ("{model}/model.ckpt",)


@dataclass
class MeshFile:
    """A mesh that the user has; it is mended, and simplified or freed of smaller parts only where asked."""

    path: str = ""
    faces: int | None = None
    largest: bool = False
    notes: tuple[str, ...] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        if not self.path:
            raise ConfigError("object.file: expected the option path, a mesh file, got none: give the object's mesh")

    def __call__(self, image: Image, mask: Mask | None = None, *, seed: int) -> Mesh:
        """The file's mesh, whatever the picture shows."""
        mesh, done = clean(_absolute(self.path), self.faces, largest=self.largest)
        self.notes = tuple(done)
        return mesh

    def provenance(self) -> Provenance:
        file = _absolute(self.path)
        hashes = weight_hashes([file]) if file.is_file() else {}
        return Provenance("file", model=self.path, weights=hashes, options=options_of(self), notes=self.notes)


def _absolute(path: str) -> Path:
    return expanded(path).absolute()


def _revision(checkout: Path) -> str:
    """The commit of a git checkout, where it is one and git is there."""
    if not (checkout / ".git").exists():
        return ""
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
