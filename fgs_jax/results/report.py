"""The report of a refined scene: one HTML file with its pictures inside, for a screen, a phone or paper.

Nothing in it runs, and nothing is fetched. Drawn on the host, by our own renderer and by matplotlib.
"""

import platform
from dataclasses import asdict
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from fgs_jax.files import write_file_whole
from fgs_jax.results.chart import Lines, plot
from fgs_jax.results.contact_maps import contact_maps
from fgs_jax.results.drawing import (
    SIDES,
    Pair,
    at_once,
    drawn_mesh,
    frame_of,
    from_sides,
    overlay,
    pair_box,
    pair_of,
)
from fgs_jax.results.metrics.grasp import GRASP_METRICS
from fgs_jax.results.metrics.picture import PICTURE_METRICS
from fgs_jax.results.metrics.surface import Surface
from fgs_jax.results.page import figure, number, page, paragraph, side_by_side, table
from fgs_jax.results.result import Result, object_at
from fgs_jax.results.values import flattened

PICTURE, CANDIDATE = 480, 240
"""Longest sides of the drawings, pixels."""
WHEN = ("before", "after")
BETTER = {
    "mpd_mm": -1,
    "mpd_beyond_margin_mm": -1,
    "mpd_to_vertex_mm": -1,
    "object_depth_mm": -1,
    "siv_cm3": -1,
    "siv_voxels_cm3": -1,
    "siv_surface_voxels_cm3": -1,
    "contact_5mm": 1,
    "fingers_in_contact": 1,
    "masked_iou": 1,
    "hand_iou": 1,
    "keypoint_error_px": -1,
    "keypoint_error_share": -1,
    "occlusion_agreement": 1,
}
"""Whether more or less is better, where either is: a large area of contact may come from penetration."""


def write_report(result: Result, path: Path) -> None:
    """Writes the report of a refined scene to an HTML file that stands alone; a file that is there is replaced.

    The file is there whole or not at all. Raises OSError where it cannot be written.
    """
    write_file_whole(path, _document(result).encode())


def write_picture(result: Result, path: Path) -> None:
    """The photo, hand and object over it before and after, and the refined grasp from four sides, as one picture."""
    rows = [np.concatenate(pictures, axis=1) for pictures in _drawings(result)]
    width = min(row.shape[1] for row in rows)
    Image.fromarray(np.concatenate([row[:, :width] for row in rows])).save(path, quality=88)


def _document(result: Result) -> str:
    sections = {
        "In the picture": _pictures(result),
        "The refined grasp from four sides": _views(result),
        "Contact and interpenetration": contact_maps(result),
        "Measures": _measures(result),
        "Candidates": _candidates(result),
        "Curves": _curves(result),
        "Scale": _scale(result),
        "Notes": "".join(paragraph(note) for note in result.notes) or paragraph("None."),
        "Seconds": table(["stage", "seconds"], [[key, f"{value:.2f}"] for key, value in result.seconds.items()]),
        "Configuration and versions": _settings(result),
    }
    prompt = paragraph(result.scene.prompt).rstrip() if result.scene.prompt else ""
    body = "".join(f"<section><h2>{title}</h2>\n{content}</section>\n" for title, content in sections.items())
    name = result.scene.object.name
    return page(f"{name}: a refined grasp", name, prompt + body)


@lru_cache(maxsize=2)
def _drawings(result: Result) -> tuple[list[UInt8[ndarray, "h w 3"]], list[UInt8[ndarray, "v v 3"]]]:
    """The picture and the overlays before and after; the refined grasp from four sides, together as wide as those."""
    mesh = drawn_mesh(result.scene.object)
    height, width = result.scene.object_mask.shape
    frame = frame_of(result, (0.0, 0.0, float(width), float(height)), PICTURE)
    overlays = at_once(overlay, [(frame, pair_of(result, mesh, k)) for k in range(2)])
    side = 3 * frame.background.shape[1] // 4
    return [frame.background, *overlays], from_sides(pair_of(result, mesh, 1).coloured(), SIDES, side)


def _pictures(result: Result) -> str:
    given = "masks" if result.scene.image is None else "picture"
    captions = given, "before: the hand as it was seen, the object where OPA has it", "after: the refined grasp"
    return side_by_side("wide", [figure(*each) for each in zip(_drawings(result)[0], captions, strict=True)])


def _views(result: Result) -> str:
    views = zip(SIDES, _drawings(result)[1], strict=True)
    return side_by_side("narrow", [figure(picture, side) for side, picture in views])


def _measures(result: Result) -> str:
    meanings = GRASP_METRICS | PICTURE_METRICS
    values = result.metrics
    rows = []
    for key in dict.fromkeys([*(key for key in meanings if key in values[0] | values[1]), *values[0], *values[1]]):
        before, after = values[0].get(key), values[1].get(key)
        marked = [_better(key, before, after), _better(key, after, before)]
        cells = [f"{number(value)}{' ✓' * mark}" for value, mark in zip((before, after), marked, strict=True)]
        rows.append([key, *cells, meanings.get(key, "")])
    return paragraph("✓ marks the better value, where more or less is better.") + table(["", *WHEN, "meaning"], rows)


def _candidates(result: Result) -> str:
    config, first, mesh = result.config, result.candidates[0], drawn_mesh(result.scene.object)
    text = f"Score = energy + {config.w_mask:g} (1 - masked IoU) + {config.w_agreement:g} (1 - occlusion agreement). "
    if len(result.candidates) > 1:
        second = result.candidates[1]
        text += (
            f"The winner is ahead by {second.score - first.score:.2f}: {first.score:.2f} against {second.score:.2f}."
        )
    else:
        text += "There was no other."
    if result.ambiguous:
        text += f" Energy and picture cannot tell it from its rivals, within {config.rival_margin:g} of its score."
    frame = frame_of(result, pair_box(result, mesh), CANDIDATE)
    pairs = [
        Pair(Surface(c.hand_vertices, result.hand_faces), Surface(object_at(c.grasp, mesh.vertices), mesh.faces))
        for c in result.candidates
    ]
    figures, pictures = [], at_once(overlay, [(frame, pair, 1) for pair in pairs])
    for place, (candidate, picture) in enumerate(zip(result.candidates, pictures, strict=True)):
        rival = "rival, " if place in result.rivals else ""
        caption = (
            f"{place + 1}. {rival}pose {candidate.pose}, valley {candidate.valley}, size × {candidate.factor:.3f}; "
            f"energy {candidate.energy:.2f}, masked IoU {candidate.masked_iou:.3f}, "
            f"occlusion agreement {candidate.occlusion_agreement:.3f}; score {candidate.score:.2f}"
        )
        figures.append(figure(picture, caption))
    return paragraph(text) + side_by_side("narrow", figures)


def _curves(result: Result) -> str:
    ends = np.cumsum([history.shape[1] for history in result.poses.history], dtype=int)[:-1].tolist()
    energy, terms, poses = energy_curves(result)
    figures = [
        figure(plot(energy, "step", "energy", []), "contact: energy of the winner", "PNG"),
        figure(plot(terms, "step", "weight × term", []), "contact: terms of the winner", "PNG"),
        figure(plot(poses, "step", "energy", ends), "object pose: energy of each pose", "PNG"),
    ]
    return side_by_side("wide", figures)


def energy_curves(result: Result) -> tuple[Lines, Lines, Lines]:
    """Energy of the chosen candidate, its terms times their weights, and energies of OPA's poses, over the steps."""
    contact, history = result.config.contact, result.poses.history
    terms = {
        f"{weight:g} × {name}": (contact.refresh * np.arange(len(values)), weight * values)
        for name, values in result.terms.items()
        if (weight := contact.term_weights.get(name, 0.0))
    }
    phases = np.concatenate([np.zeros((len(result.poses.scale), 0)), *history], axis=1)
    poses = {f"pose {k}": (np.arange(len(energy)), energy) for k, energy in enumerate(phases)}
    return {"energy": (np.arange(len(result.history)), result.history)}, terms, poses


def _scale(result: Result) -> str:
    use = {
        "unknown": "The object's size is unknown: k_scale is what its scale starts from.",
        "metric": "The object's size is known: k_scale is reported and not applied.",
    }
    grasps = dict(zip(WHEN, (result.before, result.after), strict=True))
    values = (
        result.scale
        | {f"object, {when}": float(grasp.scale) for when, grasp in grasps.items()}
        | {f"hand, {when}": float(grasp.hand.scale) for when, grasp in grasps.items()}
    )
    rows = [[key, f"{value:.4f}"] for key, value in values.items()]
    return paragraph(use[result.scene.object.size]) + table(["", "factor"], rows)


def _settings(result: Result) -> str:
    versions = {name: version(name) for name in ("fgs-jax", "jax", "jaxlib", "numpy", "scipy", "libigl")}
    versions |= {"python": platform.python_version(), "platform": platform.platform()}
    lines = {"side": result.scene.side} | flattened(asdict(result.config)) | versions
    return '<div class="small">' + "".join(paragraph(f"{key}: {value}") for key, value in lines.items()) + "</div>"


def _better(key: str, value: float | None, other: float | None) -> bool:
    """Whether a measure is better than the other, as far as its digits show."""
    if value is None or other is None:
        return False
    return BETTER.get(key, 0) * (round(value, 3) - round(other, 3)) > 0
