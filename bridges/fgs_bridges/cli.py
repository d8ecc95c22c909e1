"""The words of `fgs` that end in a scene: generate, dreambooth, scene, text-to-grasp, doctor."""

import errno
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import numpy as np
import tyro
from jaxtyping import Float
from numpy import ndarray
from tyro.conf import FlagCreatePairsOff, Positional

from fgs_bridges.config import (
    Backends,
    GenerateConfig,
    generate_config,
    load_generate_config,
    with_backend,
    with_option,
)
from fgs_bridges.run_folder import Run
from fgs_bridges.text_to_grasp import Prompt, folder_name, read_prompts, text_to_grasp
from fgs_jax.errors import BridgeError, ConfigError, FgsError
from fgs_jax.files import expanded, output_folder
from fgs_jax.objects.sheets import SurfaceWord

app = tyro.extras.SubcommandApp()
scene = tyro.extras.SubcommandApp()
app.command(scene, name="scene", help="Scenes: make one from a photo, check one, look at one.")

Photo = Annotated[Path, tyro.conf.arg(metavar="PHOTO")]
SceneFolder = Annotated[Path, tyro.conf.arg(metavar="SCENE")]
Text = Annotated[str | None, tyro.conf.arg(metavar="TEXT")]
Data = Annotated[Path, tyro.conf.arg(metavar="DATA.yaml")]
Stack = Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE")]
Numbers4 = tuple[float, float, float, float]
Assignments = Annotated[
    tuple[str, ...], tyro.conf.arg(name="set", metavar="KIND.OPTION=VALUE"), tyro.conf.UseAppendAction
]
Flag = FlagCreatePairsOff[bool]
Side = Literal["right", "left"]


@scene.command(name="from-photo")
def scene_from_photo(
    photo: Positional[Photo],
    *,
    object: str | None = None,
    out: Path | None = None,
    object_mesh: Path | None = None,
    object_size: Literal["metric", "unknown"] | None = None,
    object_surface: SurfaceWord = "auto",
    up: str | None = None,
    side: Side | None = None,
    hand_box: Numbers4 | None = None,
    object_box: Numbers4 | None = None,
    hand_mask: Path | None = None,
    object_mask: Path | None = None,
    hand_estimate: Path | None = None,
    focal: float | None = None,
    camera: Numbers4 | None = None,
    detector: str | None = None,
    segmenter: str | None = None,
    hand: str | None = None,
    object_from: str | None = None,
    hand_mask_from: Literal["segmenter", "silhouette"] | None = None,
    config: Stack = None,
    set_: Assignments = (),
    prompt: str = "",
    seed: int | None = None,
    trust_pickle: Flag = False,
    overwrite: Flag = False,
) -> None:
    """A scene from a photo: what is given is used, what is not is made by back ends.

    Args:
        photo: The picture of a hand and an object.
        object: The object's name, such as mug; that of the file OBJECT-MESH unless given.
        out: Folder of the scene to write; the photo's name, where fgs is run, unless given.
        object_mesh: The object's mesh, in place of a back end's.
        object_size: metric where the mesh is in metres; unknown, the default, where it is right up to its scale.
        object_surface: What an open mesh is: a solid with holes, or a sheet, hollow on purpose, such as a cup.
        up: Axis of the mesh that points up when the object stands: x, y, z, or --up=-x, -y, -z; prefers poses that do.
        side: right or left, the hand's; needed where no back end tells it.
        hand_box: left top right bottom, pixels from the picture's top-left corner.
        object_box: The same of the object.
        hand_mask: Picture of the photo's size, 255 where the hand is visible, 0 elsewhere; or a cut-out with its alpha.
        object_mask: The same of the object.
        hand_estimate: A hand in a file, in place of a back end's: see hands.md in the folder that fgs doctor names.
        focal: Focal length, pixels.
        camera: fx fy cx cy, pixels, (0, 0) being the picture's top-left corner.
        detector: Back end for boxes.
        segmenter: Back end for masks.
        hand: Back end for the hand.
        object_from: Back end for the object's mesh.
        hand_mask_from: segmenter, or silhouette: of the posed hand.
        config: Stack of back ends and their options: open, paper, or a YAML file.
        set_: An option of a back end, such as hand.checkpoint=hamer.ckpt; may be given several times.
        prompt: What the picture shows, for the record.
        seed: Of what is random.
        trust_pickle: Let the hand's tool run its files as pickles, which can run any program.
        overwrite: Replace OUT if it is a scene.
    """
    from fgs_bridges.estimates import read_estimate
    from fgs_bridges.from_photo import Known
    from fgs_bridges.from_photo import scene_from_photo as make
    from fgs_bridges.segment import read_mask
    from fgs_bridges.text_to_image import read_picture
    from fgs_jax.picture.scene_files import save_scene

    name = object or (object_mesh.stem if object_mesh else "")
    if not name:
        raise ConfigError("--object: expected the object's name, such as mug, got none; say it, or give --object-mesh")
    out = out or Path(photo.stem)
    _check_out(out, overwrite)
    names = {"detector": detector, "segmenter": segmenter, "hand": hand, "object": object_from}
    stack = _with(_stack(config, names, set_, trust_pickle), seed=seed, focal=None if camera else focal)
    image = read_picture(photo)
    known = Known(
        object_name=name,
        object_mesh=object_mesh,
        object_size=object_size or stack.object_size,
        object_surface=object_surface,
        object_up=up,
        side=side,
        hand_box=None if hand_box is None else np.array(hand_box),
        object_box=None if object_box is None else np.array(object_box),
        hand_mask=None if hand_mask is None else read_mask(str(hand_mask)),
        object_mask=None if object_mask is None else read_mask(str(object_mask)),
        estimate=None if hand_estimate is None else read_estimate(hand_estimate, image, side),
        K=None if camera is None else _matrix(camera),
        focal=focal if focal is not None or camera is not None else stack.focal,
        prompt=prompt,
    )
    mask_from = hand_mask_from or stack.hand_mask
    made = make(image, known, backends=Backends(stack), hand_mask_from=mask_from, seed=stack.seed)
    save_scene(made, out, overwrite=overwrite)
    print(f"wrote {out}; look at it: fgs scene show {out} --out {out.name}.png; then: fgs refine {out} --out DIR")


@scene.command(name="check")
def scene_check(scene: Positional[SceneFolder]) -> None:
    """Read a scene, check it, and say what is in it.

    Args:
        scene: Folder of a scene.
    """
    from fgs_bridges.show import words_of
    from fgs_jax.picture.scene_checks import scene_notes
    from fgs_jax.picture.scene_files import load_scene

    loaded = load_scene(scene)
    for line in words_of(loaded):
        print(line)
    for note in scene_notes(loaded):
        print(f"object: {note}" if note in loaded.object.repairs else note)
    print(f"{scene}: is a scene that fgs refine takes")


@scene.command(name="show")
def scene_show(scene: Positional[SceneFolder], out: Path | None = None, overwrite: Flag = False) -> None:
    """Draw all that a scene holds into one picture.

    Args:
        scene: Folder of a scene.
        out: PNG file to write; beside the folder, with its name, unless given.
        overwrite: Replace OUT if it is there.
    """
    from fgs_bridges.show import show_scene
    from fgs_jax.picture.scene_files import load_scene

    folder = scene.resolve()
    out = out or folder.with_name(f"{folder.name}.png")
    show_scene(load_scene(scene), out, overwrite=overwrite)
    print(f"wrote {out}")


@app.command
def generate(
    *,
    prompt: str,
    object: str,
    out: Path,
    backend: str | None = None,
    config: Stack = None,
    set_: Assignments = (),
    seed: int | None = None,
    overwrite: Flag = False,
) -> None:
    """An interaction picture and a picture of the object alone, of a functional text.

    Args:
        prompt: The functional text, such as "a hand drinks water from a mug".
        object: The object's name, such as mug.
        out: Folder to write: interaction.png, object.png, provenance.json.
        backend: Back end, such as diffusers.
        config: Stack of back ends and their options: open, paper, or a YAML file.
        set_: An option, such as text_to_image.model=out/dreambooth/model; may be given several times.
        seed: Of what is random.
        overwrite: Replace OUT if it holds such pictures.
    """
    from fgs_bridges.text_to_image import generate as make
    from fgs_bridges.text_to_image import write_generated

    files = {"interaction.png", "object.png", "provenance.json"}
    _check_out(out, overwrite)
    if out.exists() and not (out.is_dir() and {path.name for path in out.iterdir()} <= files):
        raise BridgeError(f"{out}: holds other files than generated pictures and is not replaced; give another --out")
    stack = _with(_stack(config, {"text_to_image": backend}, set_), seed=seed)
    backends = Backends(stack)
    alone = backends.get("object_picture")
    made = make(prompt, object, backends["text_to_image"], stack.seed, alone)
    write_generated(made, out)
    print(f"wrote {out / 'interaction.png'} and {out / 'object.png'}")


@app.command
def dreambooth(data: Positional[Data], resume: Flag = False) -> None:
    """Tune a text-to-image model on pictures and their functional texts.

    Args:
        data: YAML file with pictures, texts and options: see text_to_image.md in the folder that fgs doctor names.
        resume: Go on with a run that was killed.
    """
    from fgs_bridges.dreambooth import train
    from fgs_bridges.dreambooth_config import read_config

    chosen = read_config(data)
    output = expanded(chosen.output)
    # A configuration alone is one that was refused before anything was made.
    if not resume and output.is_dir() and {path.name for path in output.iterdir()} - {"config.json"}:
        raise ConfigError(f"{output}: is there already; go on with --resume, or write another output into {data}")
    print(f"wrote {train(chosen)}")


@app.command(name="text-to-grasp")
def run_text_to_grasp(
    text: Positional[Text] = None,
    *,
    out: Path,
    object: str | None = None,
    prompts: Path | None = None,
    side: Side | None = None,
    config: Stack = None,
    set_: Assignments = (),
    refine: str | None = None,
    focal: float | None = None,
    seed: int | None = None,
    until: Literal["images", "boxes", "hand", "masks", "object", "scene", "grasp"] = "grasp",
    trust_pickle: Flag = False,
    in_process: Flag = False,
) -> int:
    """A functional text to pictures, to a scene, to a refined grasp and its report; run it again to go on.

    Args:
        text: The functional text, such as "a hand drinks water from a mug".
        object: The object's name, such as mug.
        prompts: File with "TEXT | OBJECT" on each line, in place of TEXT and --object.
        out: Folder of the run; of several prompts, a folder for each run.
        side: right or left, the hand's; needed where no back end tells it: look at the pictures first (--until images).
        config: Stack of back ends and their options: open, paper, or a YAML file.
        set_: An option of a back end, such as hand.checkpoint=hamer.ckpt; may be given several times.
        refine: Configuration of the refinement: fast, paper, or a YAML file.
        focal: Focal length in pixels, where the hand's back end gives no camera.
        seed: Of what is random.
        until: Last stage to make.
        trust_pickle: Let the hand's tool run its files as pickles, which can run any program.
        in_process: All stages in this process, with the same results; torch then keeps its share of the GPU.
    """
    if (text is None) == (prompts is None) or (text is None) != (object is None):
        raise ConfigError("text-to-grasp: expected TEXT and --object NAME, or --prompts FILE, got another choice")
    stack = _with(_stack(config, {}, set_, trust_pickle), refine=refine, focal=focal, seed=seed)
    if prompts is None:
        assert text is not None and object is not None
        named = {out: Prompt(text, object)}
    else:
        named = {out / folder_name(prompt): prompt for prompt in read_prompts(prompts)}
    runs = [
        Run(expanded(folder).absolute(), prompt.text, prompt.object_name, side, stack)
        for folder, prompt in named.items()
    ]
    failed = text_to_grasp(runs, until=until, in_process=in_process, tell=lambda line: print(line, flush=True))
    for folder, error in failed.items():
        print(f"fgs: {folder}: {error}", file=sys.stderr)
    if len(runs) > 1 and failed:
        print(f"fgs: {len(failed)} of {len(runs)} prompts failed", file=sys.stderr)
    for run in runs:
        if run.folder not in failed:
            print(f"wrote {run.stage(until) / 'report.html' if until == 'grasp' else run.stage(until)}")
    return 2 if failed else 0


@app.command
def doctor() -> None:
    """What is installed, what is missing, and the line that installs it."""
    from fgs_bridges.doctor import doctor_table

    print(doctor_table())


def main(words: Sequence[str]) -> int:
    """Runs one command; the exit status: 0, or 2 for what the user can mend, said in one line."""
    # torch has the GPU here; JAX would reserve most of it with its first operation.
    if words[:1] == ["text-to-grasp"]:
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    else:
        jax.config.update("jax_platforms", "cpu")
    try:
        status = app.cli(prog="fgs", description="From texts and photos to scenes.", args=list(words))
        return status if isinstance(status, int) else 0
    except FgsError as error:
        print(f"fgs: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        print(
            f"fgs: {str(error.filename)[:80]}...: expected a name that a file can have, came a longer one",
            file=sys.stderr,
        )
        return 2
    except SystemExit as stop:  # tyro, after --help or a word that it does not know
        return stop.code if isinstance(stop.code, int) else 2


def _stack(
    config: str | None, names: dict[str, str | None], assignments: Sequence[str], trust_pickle: bool = False
) -> GenerateConfig:
    """The configuration of a file, with back ends named and options set on the command line."""
    stack = GenerateConfig() if config is None else load_generate_config(config)
    for kind, name in names.items():
        if name is not None:
            stack = with_backend(stack, kind, name)
    for assignment in assignments:
        stack = with_option(stack, assignment)
    return with_option(stack, "hand.trust_pickle=true") if trust_pickle else stack


def _with(stack: GenerateConfig, **changes: Any) -> GenerateConfig:
    """The configuration with those of the changes that are not None. Raises ConfigError for what means nothing."""
    given = {name: value for name, value in changes.items() if value is not None}
    return generate_config(replace(stack, **given).values(), "command line")


def _matrix(camera: Numbers4) -> Float[ndarray, "3 3"]:
    fx, fy, cx, cy = camera
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def _check_out(out: Path, overwrite: bool) -> None:
    """Before long work, whose result could then not be written."""
    out = output_folder(out, BridgeError)
    if out.exists() and not overwrite:
        raise BridgeError(f"{out}: is there already; give another --out, or --overwrite to replace it")
