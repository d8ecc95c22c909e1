"""The command line: `fgs`."""

import json
import sys
import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from tyro.conf import FlagCreatePairsOff, Positional

from fgs_jax import hand_files, metrics
from fgs_jax.errors import FgsError, HandFileError, HandFileWarning
from fgs_jax.hand_anatomy import FINGERS, REGION_NAMES
from fgs_jax.objects import load_object

app = tyro.extras.SubcommandApp()
hand = tyro.extras.SubcommandApp()
app.command(hand, name="hand", help="Hand model files.")

Source = Annotated[str | None, tyro.conf.arg(metavar="NAME|PATH")]
In = Annotated[str, tyro.conf.arg(metavar="IN")]
Out = Annotated[Path, tyro.conf.arg(metavar="OUT")]
HandMesh = Annotated[Path, tyro.conf.arg(metavar="HAND")]
Json = Annotated[FlagCreatePairsOff[bool], tyro.conf.arg(name="json")]
ObjectFile = Annotated[Path, tyro.conf.arg(metavar="OBJECT")]


@hand.command(name="info")
def hand_info(source: Positional[Source] = None, hand_model: Source = None) -> None:
    """Describe a hand model.

    Args:
        source: open_hand, open_hand_full, mano, or the path of a hand model file.
        hand_model: The same, as an option.
    """
    if source and hand_model:
        raise HandFileError(f"expected one hand model, came {source} and {hand_model}; leave one out")
    name, path, _ = hand_files.locate_hand_file(source or hand_model)
    arrays = hand_files.read_hand_file(path)
    vertices, faces, cap = arrays["v_template"], arrays["f"], arrays["f_cap"]
    tip = vertices[arrays["tip_vertex_ids"][FINGERS.index("middle")]]
    length = np.linalg.norm(tip - arrays["J_regressor"][0] @ vertices)
    a, b, c = (vertices[np.concatenate([faces, cap])[:, k]] for k in range(3))
    volume = np.sum(a * np.cross(b, c)) / 6  # tetrahedra between the faces and the origin
    sizes = np.bincount(arrays["regions"] + 1, minlength=len(REGION_NAMES) + 1)[1:]
    table = {
        "name": name,
        "file": path,
        "side": arrays["side"],
        "vertices": len(vertices),
        "faces": f"{len(faces)}, and {len(cap)} that close the wrist",
        "shape directions": arrays["shapedirs"].shape[2],
        "pose components": len(arrays["hands_components"]),
        "length": f"{length * 1e3:.1f} mm, wrist to middle fingertip",
        "volume": f"{volume * 1e6:.1f} cm3, wrist closed",
        "regions": ", ".join(f"{region} {size}" for region, size in zip(REGION_NAMES, sizes, strict=True))
        + " vertices",
        "licence": arrays.get("license", "not stated in the file"),
    }
    for label, value in table.items():
        print(f"{label:<18}{value}")


@hand.command(name="convert")
def hand_convert(source: Positional[In], out: Positional[Out], overwrite: FlagCreatePairsOff[bool] = False) -> None:
    """Write a hand model as plain arrays, which need no pickle to be read, with all that the file may lack.

    Args:
        source: A hand model file (.pkl or .npz), or the name of a hand model.
        out: The .npz file to write.
        overwrite: Replace OUT if it is there.
    """
    _, path, _ = hand_files.locate_hand_file(source)
    hand_files.write_hand_file(out, hand_files.read_hand_file(path), overwrite=overwrite)
    print(f"wrote {out}")


@app.command(name="metrics")
def grasp_metrics(hand: Positional[HandMesh], object: Positional[ObjectFile], json_: Json = False) -> None:
    """Penetration, shared volume and contact of two meshes that stand in one frame, in metres.

    Args:
        hand: Mesh of the hand, closed at the wrist: obj, ply, stl, off, glb or gltf.
        object: Mesh of the object, likewise.
        json_: Print JSON in place of the table.
    """
    meshes = [load_object(path) for path in (hand, object)]
    surfaces = [metrics.Surface(mesh.vertices, mesh.faces) for mesh in meshes]
    fingers = metrics.fingers_of_hand_mesh(surfaces[0])
    values = metrics.grasp_metrics(surfaces[0], surfaces[1], fingers)
    if json_:
        print(json.dumps(values, indent=2))
        return
    for key, meaning in metrics.GRASP_METRICS.items():
        value = values[key]
        print(f"{key:<32}{'-' if value is None else f'{value:.3f}':>9}  {meaning}")
    for mesh, path in zip(meshes, (hand, object), strict=True):
        for repair in mesh.repairs:
            print(f"{path}: {repair}")
    if obstacle := metrics.solid_intersection_volume(surfaces[0], surfaces[1]).obstacle:
        print(f"siv_cm3 is left out: {obstacle}")
    if fingers is None:
        print("fingers_in_contact is left out: the hand's mesh is not one of open_hand or open_hand_full")


def main(argv: list[str] | None = None) -> int:
    """Runs one command; the exit status: 0, or 2 for what the user can mend, said in one line."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: print(f"fgs: {message}", file=sys.stderr)
        warnings.simplefilter("always", HandFileWarning)
        try:
            app.cli(prog="fgs", description="Hand-object grasp refinement.", args=argv)
        except FgsError as error:
            print(f"fgs: {error}", file=sys.stderr)
            return 2
        except SystemExit as stop:  # tyro, after --help or a word that it does not know
            return stop.code if isinstance(stop.code, int) else 2
    return 0
