"""`fgs metrics`: the measures of two meshes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from tyro.conf import FlagCreatePairsOff, Positional

from fgs_jax.errors import MeshError
from fgs_jax.hands.mano import skin_margins
from fgs_jax.objects.mesh import LEAST_EXTENT, MOST_EXTENT, ObjectMesh, load_object
from fgs_jax.objects.sheets import SurfaceWord
from fgs_jax.results.metrics.contact import fingers_of_vertices, model_of_hand_mesh
from fgs_jax.results.metrics.grasp import GRASP_METRICS, grasp_metrics
from fgs_jax.results.metrics.surface import Surface
from fgs_jax.results.metrics.volume import solid_intersection_volume

Unit = Literal["m", "cm", "mm"]
METRES: dict[Unit, float] = {"m": 1.0, "cm": 0.01, "mm": 0.001}
HandMesh = Annotated[Path, tyro.conf.arg(metavar="HAND")]
ObjectFile = Annotated[Path, tyro.conf.arg(metavar="OBJECT")]
Json = Annotated[FlagCreatePairsOff[bool], tyro.conf.arg(name="json")]


def compare_meshes(
    hand: Positional[HandMesh],
    object: Positional[ObjectFile],
    json_: Json = False,
    *,
    unit: Unit = "m",
    hand_unit: Unit | None = None,
    object_unit: Unit | None = None,
    object_surface: SurfaceWord = "auto",
) -> None:
    """Penetration, shared volume and contact of two meshes that stand in one frame.

    Args:
        hand: Mesh of the hand, closed at the wrist: obj, ply, stl, off, glb or gltf.
        object: Mesh of the object, likewise.
        json_: Print JSON in place of the table.
        unit: Of the numbers in both files.
        hand_unit: Of those in HAND, where it is another.
        object_unit: Of those in OBJECT, where it is another.
        object_surface: What an open OBJECT is: a solid with holes, or a sheet, hollow on purpose, such as a cup.
    """
    units: dict[str, Unit] = {"hand": hand_unit or unit, "object": object_unit or unit}
    meshes = [mesh_in(hand, units["hand"], "hand", "solid"), mesh_in(object, units["object"], "object", object_surface)]
    surfaces = [Surface(mesh.vertices, mesh.faces) for mesh in meshes]
    model = model_of_hand_mesh(surfaces[0])
    fingers = None if model is None else fingers_of_vertices(model.weights)
    # Of a hand of scale 1: a mesh does not say which it is of.
    margin = None if model is None else skin_margins(model)
    values = grasp_metrics(surfaces[0], surfaces[1], fingers, margin=margin)
    if json_:
        print(json.dumps(values, indent=2))
        return
    for key, meaning in GRASP_METRICS.items():
        value = values[key]
        print(f"{key:<32}{'-' if value is None else f'{value:.3f}':>9}  {meaning}")
    for mesh, path in zip(meshes, (hand, object), strict=True):
        for repair in mesh.repairs:
            print(f"{path}: {repair}")
    if values["siv_cm3"] is None:
        print(f"siv_cm3 is left out: {solid_intersection_volume(surfaces[0], surfaces[1]).obstacle}")
    if model is None:
        for name in ("fingers_in_contact", "mpd_beyond_margin_mm"):
            print(f"{name} is left out: the hand's mesh is not one of open_hand or open_hand_full")


def mesh_in(path: Path, unit: Unit, name: str, surface: SurfaceWord) -> ObjectMesh:
    """A mesh in metres, of a file in another unit. `name`: "hand" or "object", whose option has the unit."""
    given = load_object(path, size="unknown", surface=surface)
    mesh = replace(given, vertices=METRES[unit] * given.vertices)
    extent = float(np.ptp(mesh.vertices, axis=0).max())
    if not LEAST_EXTENT <= extent <= MOST_EXTENT:
        raise MeshError(
            f"{path}: expected {'a hand' if name == 'hand' else 'an object'} of 5 mm to 3 m, came {extent:.4g} m; give "
            f"the file's unit by --{name}-unit, or by --unit where both files have it: m, cm or mm (came {unit})"
        )
    return mesh
