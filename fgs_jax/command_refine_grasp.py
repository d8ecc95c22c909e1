"""`fgs refine-grasp`: a grasp that another method has given, without a picture, refined on its object."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from tyro.conf import FlagCreatePairsOff, Positional

from fgs_jax.command_metrics import METRES, Unit, mesh_in
from fgs_jax.command_refine import OPTIONS, take_config
from fgs_jax.config import GIVEN, ContactConfig, RefineConfig
from fgs_jax.config_files import check_config, config_values
from fgs_jax.errors import SceneError
from fgs_jax.hands.kind import Uncertainty
from fgs_jax.hands.mano import hand_program, mano_kind, skin_margins
from fgs_jax.mirror import mirrored_faces, mirrored_params, mirrored_points
from fgs_jax.notes import heard
from fgs_jax.objects.distance import DistanceGrid
from fgs_jax.objects.grid import distance_grid
from fgs_jax.objects.mesh import ObjectMesh
from fgs_jax.objects.sample import sample_points
from fgs_jax.objects.sheets import SurfaceWord
from fgs_jax.objects.walls import grid_notes
from fgs_jax.results.metrics.contact import fingers_of_vertices
from fgs_jax.results.metrics.grasp import GRASP_METRICS, grasp_metrics
from fgs_jax.results.metrics.surface import Surface
from fgs_jax.results.values import finite, versions
from fgs_jax.results.write import GRASP_FILES, check_folder, compared, write_grasp
from fgs_jax.stages.contact_problem import ContactProblem
from fgs_jax.stages.given_hand import FORMAT, VERSION, GivenHand, hand_values, read_given_hand
from fgs_jax.stages.grasps import refine_grasps
from fgs_jax.types import Grasp, Hand, HandParams, on_device

HandFile = Annotated[Path, tyro.conf.arg(metavar="HAND")]
ObjectFile = Annotated[Path, tyro.conf.arg(metavar="OBJECT")]


class RefineGrasp(NamedTuple):
    """Refine a grasp that another method gave, without a picture; writes meshes, parameters and measures.

    fgs_jax/stages/given_hand.py lists the names that a JSON or npz file of a hand may have.
    """

    hand: Positional[HandFile]
    """In the object's frame: a mesh that the hand model has posed, or JSON or npz of parameters or 21 keypoints."""
    object: Positional[ObjectFile]
    """Mesh of the object: obj, ply, stl, off, glb or gltf."""
    contact: ContactConfig
    """How the grasp is refined. What concerns pictures and step one is not used."""
    out: Path
    """Folder of the result."""
    hand_model: str
    """A name or a file, as `fgs hand info` takes it."""
    grid: int
    """The object's distance grid has so many nodes cubed, in a box that fits the object."""
    seed: int
    """Of all random numbers."""
    unit: Unit = "m"
    """Of the lengths in both files."""
    hand_unit: Unit | None = None
    """Of those in HAND, where it is another."""
    object_unit: Unit | None = None
    """Of those in OBJECT, where it is another."""
    object_surface: SurfaceWord = "auto"
    """What an open OBJECT is: a solid with holes, or a sheet, hollow on purpose, such as a cup."""
    side: Literal["right", "left"] | None = None
    """Which hand it is, where its file does not say it; right unless said."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Replace a result that is there."""


class _Hand(NamedTuple):
    params: HandParams
    posed: Hand


def read_words(words: list[str]) -> RefineGrasp:
    """The arguments of a command line, with the values of the configuration that it names, "given" unless it does."""
    base, rest = take_config(words, GIVEN)
    missing: Any = tyro.MISSING
    default = RefineGrasp(missing, missing, base.contact, Path("out"), base.hand_model, base.grid, base.seed)
    return tyro.cli(
        RefineGrasp, prog="fgs refine-grasp [--config NAME|FILE]", args=rest, default=default, registry=OPTIONS
    )


def refine_given(arguments: RefineGrasp) -> int:
    """Refines the grasp and writes the folder; prints the measures before and after. The exit status."""
    settings = {name: getattr(arguments, name) for name in ("contact", "hand_model", "grid", "seed")}
    config = replace(GIVEN, **settings)
    check_config(config)
    check_folder(arguments.out, overwrite=arguments.overwrite, names=GRASP_FILES)
    notes: list[str] = []
    mesh = mesh_in(arguments.object, arguments.object_unit or arguments.unit, "object", arguments.object_surface)
    with heard(lambda warning: notes.append(str(warning))):
        metres = METRES[arguments.hand_unit or arguments.unit]
        given = read_given_hand(arguments.hand, config.hand_model, side=arguments.side, metres=metres)
    notes += [*(f"{arguments.object}: {repair}" for repair in mesh.repairs), *given.notes]
    inner = _mirrored(mesh) if given.side == "left" else mesh
    faces, fingers = np.asarray(mano_kind(given.model).faces), fingers_of_vertices(given.model.weights)

    def measured(hand: _Hand) -> dict[str, float | None]:
        vertices = np.asarray(hand.posed.vertices, float)
        surfaces = Surface(vertices, faces), Surface(inner.vertices, inner.faces)
        return grasp_metrics(*surfaces, fingers, margin=skin_margins(given.model, float(hand.params.scale)))

    start = _Hand(given.params, given.posed)
    before = measured(start)
    _check_near(before["distance_mm"], config.contact)
    grid = distance_grid(inner, config.grid)
    notes += grid_notes(inner, grid)
    found = _refined(given, inner, grid, config)
    after = measured(found)
    moved = 1e3 * np.linalg.norm(np.asarray(found.posed.keypoints) - np.asarray(given.posed.keypoints), axis=1)
    measures = {
        "before": before,
        "after": after,
        "keypoints_moved_mm": float(moved.mean()),
        "keypoints_moved_most_mm": float(moved.max()),
        "notes": notes,
        "settings": settings | {"contact": config_values(config.contact)},
        "versions": versions(),
    }
    if given.side == "left":
        start, found, faces = _mirrored_hand(start), _mirrored_hand(found), mirrored_faces(faces)
    hand = {"format": FORMAT, "version": VERSION, "units": "metres, radians", "hand_model": config.hand_model}
    hand |= {"side": given.side, **_values(found), "before": _values(start)}
    write_grasp(
        arguments.out,
        (np.asarray(found.posed.vertices, float), faces),
        (mesh.vertices, mesh.faces),
        hand_before=(np.asarray(start.posed.vertices, float), faces),
        texts={"hand.json": _json(hand), "metrics.json": _json(measures)},
        overwrite=arguments.overwrite,
    )
    print(compared(before, after, GRASP_METRICS))
    print(f"keypoints moved by {moved.mean():.1f} mm on average, {moved.max():.1f} mm at most")
    for note in notes:
        print(f"note: {note}")
    print(f"wrote {arguments.out}")
    return 0


def _refined(given: GivenHand, mesh: ObjectMesh, grid: DistanceGrid, config: RefineConfig) -> _Hand:
    """The hand of the refined grasp. Raises SceneError where no step had a finite energy."""
    sampling, drawing = jax.random.split(jax.random.key(config.seed))
    contact, uncertainty = config.contact, None
    if given.angle_sigma is not None:
        others = (jnp.asarray(sigma) for sigma in (contact.turn_sigma, contact.place_sigma))
        uncertainty = Uncertainty(on_device(given.angle_sigma), *others)
    points = sample_points(mesh, contact.object_points, sampling)
    problem = ContactProblem(mano_kind(given.model), grid, points, uncertainty=uncertainty)
    start = Grasp(given.params, jnp.eye(3), jnp.zeros(3), jnp.ones(()))
    found = refine_grasps(problem, jax.tree.map(lambda x: x[None], start), drawing, contact, width=1)
    if not np.isfinite(found.energy[0]):
        raise SceneError("contact: no step ended with a finite energy: check the hand and the object's mesh")
    params = jax.tree.map(lambda x: jnp.asarray(x[0]), found.grasp.hand)
    return _Hand(params, hand_program(given.model, params))


def _check_near(distance_mm: float | None, contact: ContactConfig) -> None:
    """Raises SceneError for a hand that no place it may be in brings within reach of the object."""
    most = 1e3 * (contact.reach + (3 * contact.place_sigma if contact.places else 0.0))
    if distance_mm is not None and distance_mm > most:
        raise SceneError(
            f"hand and object: expected a distance of at most {most:.0f} mm, got {distance_mm:.0f} mm: check that both "
            "are in one frame and in the units that are given"
        )


def _mirrored(mesh: ObjectMesh) -> ObjectMesh:
    return replace(mesh, vertices=mirrored_points(mesh.vertices), faces=mirrored_faces(mesh.faces))


def _mirrored_hand(hand: _Hand) -> _Hand:
    return _Hand(mirrored_params(hand.params), Hand(*map(mirrored_points, hand.posed)))


def _values(hand: _Hand) -> dict[str, Any]:
    return hand_values(hand.params, hand.posed.keypoints)


def _json(values: dict[str, Any]) -> str:
    return json.dumps(finite(values), indent=2, allow_nan=False) + "\n"
