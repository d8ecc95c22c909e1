"""Ablations, as Fig. 5 and 6 of the paper: a scene refined again with a part of the method left out.

The parts are changed in the configuration alone, but for two. Scale alignment is seen only where the object's size is
to be found, so a mesh of known size is scaled by `FACTOR` and taken for one of unknown size, once with alignment and
once believed as it is: to leave out k_scale alone shows little, since OPA and step one look for the size as well. And
without energies there is no contact optimisation: that is the full run where its contact optimisation begins.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from fgs_jax.config import FAST, RefineConfig
from fgs_jax.config_files import config_values
from fgs_jax.errors import FgsError
from fgs_jax.picture.scene import Scene
from fgs_jax.results.drawing import SIDES, drawn_mesh, frame_of, from_sides, overlay, pair_box, pair_of
from fgs_jax.results.page import figure, number, page, paragraph, side_by_side, table
from fgs_jax.results.result import Result
from fgs_jax.results.values import finite, flattened, versions
from fgs_jax.results.write import write_folder
from fgs_jax.stages.refine import refine

FORMAT, VERSION = "fgs-ablation", 1
FILES = frozenset({"ablation.json", "ablation.html"})
FACTOR = 2.0
"""On a mesh of known size, in the rows about scale."""
PICTURE = 240
"""Longest side of a drawing, pixels."""
COLUMNS = {
    "mpd_mm": "MPD, mm",
    "siv_cm3": "SIV, cm3",
    "fingers_in_contact": "fingers",
    "contact_ratio": "contact ratio",
    "masked_iou": "masked IoU",
    "keypoint_error_px": "keypoints, px",
    "occlusion_agreement": "occlusion agreement",
}
HEAD = ("", *COLUMNS.values(), "energy", "object's size")
LEGEND = (
    "Energy: of Eq. 12 with the full run's weights, whatever the row left out. Object's size: against the scene's mesh."
)


@dataclass(frozen=True, eq=False)
class Row:
    """One line of the table."""

    name: str
    meaning: str
    scene: Scene
    config: RefineConfig
    when: int = 1
    """Shown is the run's grasp after contact optimisation, or, 0, before it."""
    factor: float = 1.0
    """Of the mesh against the given scene's."""


class Outcome(NamedTuple):
    """A row and what came of it."""

    row: Row
    found: Result | FgsError


def without_opa(config: RefineConfig) -> RefineConfig:
    """The object where OPA starts: on the mask's middle, at the hand's depth, turned at random."""
    # The best iterate is kept, and the first is the start.
    phase = replace(config.opa.phases[-1], keep=1.0, least=1, steps=1)
    return replace(config, restarts=1, opa=replace(config.opa, phases=(phase,), candidates=1, polish_evaluations=0))


def without_natural_poses(config: RefineConfig) -> RefineConfig:
    """E_prior left out."""
    return replace(config, contact=replace(config.contact, w_prior=0.0))


def without_hand_prior(config: RefineConfig) -> RefineConfig:
    """Nothing of the fingers' pose as it was seen, the paper's "HaMeR prior": flat at the start, and held by nothing.

    The hand's place is kept: step one, the contact points and E_h's part for the translation.
    """
    return replace(config, contact=replace(config.contact, pose_start=0.0, w_theta=0.0, w_keypoint=0.0))


def rows(scene: Scene, config: RefineConfig) -> Iterator[Row]:
    """The full method and each ablation of it, for one scene."""
    yield Row("full", "as configured", scene, config)
    yield Row(
        "without OPA", "object at OPA's start: mask's middle, hand's depth, a random turn", scene, without_opa(config)
    )
    factor, given = 1.0, "the mesh's own size"
    if scene.object.size == "metric":
        factor, given = FACTOR, f"{FACTOR:g} times the object's size"
        scaled = replace(scene.object, vertices=factor * scene.object.vertices, size="unknown")
        unknown = replace(scene, object=scaled)
        yield Row("size unknown", f"mesh of {given}, to be found", unknown, config, factor=factor)
    believed = replace(scene, object=replace(scene.object, vertices=factor * scene.object.vertices, size="metric"))
    yield Row("without scale alignment", f"{given}, believed", believed, config, factor=factor)
    yield Row(
        "without the hand prior",
        "fingers flat at the start, not held to the picture",
        scene,
        without_hand_prior(config),
    )
    yield Row("without E_prior", "nothing asks for natural poses", scene, without_natural_poses(config))
    yield Row(
        "without energies", "no contact optimisation: OPA's object, the hand as it was seen", scene, config, when=0
    )


def ablate(
    scene: Scene, config: RefineConfig = FAST, progress: Callable[[Outcome], None] = lambda _: None
) -> list[Outcome]:
    """Refines a scene for each of its `rows`; `progress` gets each. A row that fails does not stop the others.

    Raises the first row's FgsError where all of them fail.
    """
    runs: dict[tuple[Scene, RefineConfig], Result | FgsError] = {}
    outcomes = []
    for row in rows(scene, config):
        run = row.scene, row.config
        if run not in runs:
            try:
                runs[run] = refine(*run)
            except FgsError as error:
                runs[run] = error
        outcomes.append(Outcome(row, runs[run]))
        progress(outcomes[-1])
    first = outcomes[0].found
    if isinstance(first, FgsError) and all(isinstance(outcome.found, FgsError) for outcome in outcomes):
        raise first
    return outcomes


def energy(outcome: Outcome, weights: Mapping[str, float]) -> float | None:
    """Of Eq. 12 with these weights at the end of step two; None where there was none.

    Terms that count otherwise than in the row's own energy are those at the last record of them.
    """
    row, found = outcome
    if isinstance(found, FgsError) or not row.when:
        return None
    own = row.config.contact.term_weights
    differences = {name: weights.get(name, 0.0) - own.get(name, 0.0) for name in found.terms}
    others = sum(change * float(found.terms[name][-1]) for name, change in differences.items() if change)
    return found.candidates[0].energy + others


def cells(outcome: Outcome, weights: Mapping[str, float]) -> list[str]:
    """The row's name and its numbers as they are printed, under `HEAD`."""
    row, found = outcome
    if isinstance(found, FgsError):
        return [f"{row.name}: failed, {found}", *["–"] * (len(HEAD) - 1)]
    values = [number(found.metrics[row.when].get(name)) for name in COLUMNS]
    return [row.name, *values, number(energy(outcome, weights)), f"× {object_size(row, found):.3f}"]


def object_size(row: Row, result: Result) -> float:
    """The object's size as it was found or believed, over that of the given scene's mesh."""
    return row.factor * float((result.before, result.after)[row.when].scale)


def markdown(line: Sequence[str]) -> str:
    """A line of a table; that of `HEAD` with the rule under it."""
    text = "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |"
    return f"{text}\n|---|{'--:|' * (len(line) - 1)}" if line is HEAD else text


def write_ablation(outcomes: Sequence[Outcome], folder: Path, *, overwrite: bool = False, source: str = "") -> None:
    """Writes ablation.json and ablation.html to a folder of their own, both or none.

    `source`: where the scene came from, for the record. Raises ResultError where it cannot be written.
    """

    def write(folder: Path) -> None:
        text = json.dumps(summary(outcomes, source), indent=2, allow_nan=False)
        (folder / "ablation.json").write_text(text + "\n", encoding="utf-8")
        (folder / "ablation.html").write_text(_document(outcomes), encoding="utf-8")

    write_folder(folder, write, FILES, overwrite=overwrite)


def summary(outcomes: Sequence[Outcome], source: str = "") -> dict[str, Any]:
    """What ablation.json holds, as values that JSON knows."""
    full = outcomes[0].row
    base = flattened(config_values(full.config))
    entries = []
    for outcome in outcomes:
        row, found = outcome
        values = flattened(config_values(row.config))
        entry = {
            "name": row.name,
            "meaning": row.meaning,
            "grasp": ("before contact optimisation", "after contact optimisation")[row.when],
            "mesh": {"size": row.scene.object.size, "factor": row.factor},
            "changed": {name: values.get(name) for name in base | values if values.get(name) != base.get(name)},
        }
        if isinstance(found, FgsError):
            entries.append(entry | {"error": str(found)})
        else:
            entries.append(
                entry
                | {
                    "metrics": found.metrics[row.when],
                    "energy": energy(outcome, full.config.contact.term_weights),
                    "object_size": object_size(row, found),
                    "notes": list(found.notes),
                }
            )
    return finite(
        {
            "format": FORMAT,
            "version": VERSION,
            "scene": {"source": source, "side": full.scene.side, "object": full.scene.object.name},
            "rows": entries,
            "config": config_values(full.config),
            "versions": versions(),
        }
    )


def _document(outcomes: Sequence[Outcome]) -> str:
    full = outcomes[0].row
    rows = table(HEAD, [cells(outcome, full.config.contact.term_weights) for outcome in outcomes])
    notes = dict.fromkeys(note for _, run in outcomes if isinstance(run, Result) for note in run.notes)
    title = f"{full.scene.object.name}: ablations"
    figures = side_by_side("middle", _figures(outcomes))
    return page(title, title, rows + paragraph(LEGEND) + figures + "".join(paragraph(note) for note in notes))


def _figures(outcomes: Sequence[Outcome]) -> list[str]:
    """In the picture and from the right, for each row; all in the same part of the picture."""
    figures, box = [], None
    for row, found in outcomes:
        if isinstance(found, FgsError):
            continue
        mesh = drawn_mesh(found.scene.object)
        pair = pair_of(found, mesh, row.when)
        box = box or pair_box(found, mesh)
        side = from_sides(pair.coloured(), {"right": SIDES["right"]}, PICTURE)[0]
        figures.append(figure(overlay(frame_of(found, box, PICTURE), pair), f"{row.name}: {row.meaning}"))
        figures.append(figure(side, f"{row.name}, from the right"))
    return figures
