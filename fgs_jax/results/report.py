"""The report of a refined scene: one HTML file with its pictures inside, for a screen, a phone or paper.

Nothing in it runs, and nothing is fetched. Drawn on the host, by our own renderer and by matplotlib.
"""

import base64
import io
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import lru_cache, partial
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from PIL import Image
from scipy.spatial.transform import Rotation

from fgs_jax.files import write_file_whole
from fgs_jax.objects.mesh import ObjectMesh
from fgs_jax.objects.simplifying import simplify
from fgs_jax.picture.camera import Z_NEAR
from fgs_jax.picture.render import Colour, Mesh, render
from fgs_jax.picture.scene import Scene, mask_box
from fgs_jax.results.metrics import CONTACT, GRASP_METRICS, PICTURE_METRICS, Surface, signed_distances
from fgs_jax.results.result import Result, object_at
from fgs_jax.types import Camera

OBJECT, HAND, BARE = (0.35, 0.55, 0.85), (0.9, 0.7, 0.55), (0.82, 0.84, 0.87)
"""Colours of the object, of the hand, and of what is neither near nor inside."""
CONTACT_RAMP = (0.8, 0.05, 0.05), (1.0, 0.86, 0.4)
"""From touching to `CONTACT` away."""
DEPTH_RAMP = (0.66, 0.45, 0.95), (0.22, 0.0, 0.45)
"""From the object's surface to `DEEPEST` inside."""
DEEPEST = 0.01
"""Metres; deeper looks no different."""
DRAWN_FACES, FINE_FACES, FINE_EDGE = 5000, 20_000, 0.004
"""Faces of the object as drawn, at most; once split for colours, at most; and the edge, in metres, to split it to."""
PICTURE, TILE, CANDIDATE = 480, 130, 240
"""Longest sides of the drawings, pixels."""
SIDES = {"front": ("y", 0), "right": ("y", 90), "back": ("y", 180), "left": ("y", 270)}
"""How the pair is turned about the camera's axes, degrees, to be seen from each side."""
ENDS = {"above": ("x", 90), "below": ("x", 270)}
BETTER = {
    "mpd_mm": -1,
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

WHEN = ("before", "after")
Lines = Mapping[str, tuple[Int[ndarray, "_"], Float[ndarray, "_"]]]
"""Steps and values, by what stands in the legend."""
_STYLE = """
:root { color-scheme: light }
body { font: 15px/1.45 system-ui, sans-serif; color: #222; background: #fff; max-width: 1080px; margin: 0 auto;
  padding: 12px }
h1 { font-size: 1.5em; margin: .3em 0 } h2 { font-size: 1.15em; margin: 1.6em 0 .4em; break-after: avoid }
p { margin: .4em 0; max-width: 75ch }
.row { display: flex; flex-wrap: wrap; gap: 10px; align-items: flex-start; align-content: flex-start }
.wide figure { width: calc(33.3% - 7px) }
.middle figure { width: calc(25% - 8px) } .narrow figure { width: calc(25% - 8px); min-width: 150px }
@media (max-width: 800px) { .middle figure { width: calc(50% - 5px) } }
@media (max-width: 600px) { .wide figure, .middle figure { width: 100% } }
figure { margin: 0; break-inside: avoid } figcaption { font-size: .87em; color: #444 }
img { width: 100%; height: auto; display: block; border: 1px solid #ddd; box-sizing: border-box }
table { border-collapse: collapse; font-size: .87em; font-variant-numeric: tabular-nums } th { text-align: left }
td { white-space: nowrap }
td:first-child { overflow-wrap: anywhere; white-space: normal; min-width: 8em } td:last-child { white-space: normal }
th, td { padding: 2px 10px 2px 0; border-bottom: 1px solid #e4e4e4; vertical-align: top }
.small { font-size: .8em; columns: 320px }
.small p { margin: 0; overflow-wrap: anywhere }
svg { width: 100%; max-width: 340px; height: auto; display: block }
"""


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


def contact_colours(distances: Float[ndarray, "p"]) -> Float[ndarray, "p 3"]:
    """Of points of the object by their distance to the hand in metres: `CONTACT_RAMP` up to `CONTACT`, else `BARE`."""
    return _ramp(distances / CONTACT, distances < CONTACT, CONTACT_RAMP)


def depth_colours(distances: Float[ndarray, "p"]) -> Float[ndarray, "p 3"]:
    """Of points of the hand by their distance to the object in metres: `DEPTH_RAMP` where inside, else `BARE`."""
    return _ramp(-distances / DEEPEST, distances < 0, DEPTH_RAMP)


# --- the document


def _document(result: Result) -> str:
    mesh = _drawn_mesh(result)
    name, prompt = escape(mesh.name), escape(result.scene.prompt)
    sections = {
        "In the picture": _pictures(result),
        "The refined grasp from four sides": _views(result),
        "Contact and interpenetration": _contact(result, mesh),
        "Measures": _measures(result),
        "Candidates": _candidates(result, mesh),
        "Curves": _curves(result),
        "Scale": _scale(result),
        "Notes": "".join(_paragraph(note) for note in result.notes) or _paragraph("None."),
        "Seconds": _table(["stage", "seconds"], [[key, f"{value:.2f}"] for key, value in result.seconds.items()]),
        "Configuration and versions": _settings(result),
    }
    body = "".join(f"<section><h2>{title}</h2>\n{content}</section>\n" for title, content in sections.items())
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}: a refined grasp</title><style>{_STYLE}</style></head>\n<body><h1>{name}</h1>\n"
        f"{f'<p>{prompt}</p>' if prompt else ''}{body}</body></html>\n"
    )


@lru_cache(maxsize=2)
def _drawn_mesh(result: Result) -> ObjectMesh:
    return simplify(result.scene.object, DRAWN_FACES)


@lru_cache(maxsize=2)
def _drawings(result: Result) -> tuple[list[UInt8[ndarray, "h w 3"]], list[UInt8[ndarray, "v v 3"]]]:
    """The picture and the overlays before and after; the refined grasp from four sides, together as wide as those."""
    mesh = _drawn_mesh(result)
    height, width = result.scene.object_mask.shape
    frame = _frame(result, (0.0, 0.0, float(width), float(height)), PICTURE)
    overlays = _at_once(_overlay, [(frame, _pair(result, mesh, k)) for k in range(2)])
    side = 3 * frame.background.shape[1] // 4
    return [frame.background, *overlays], _from_sides(_pair(result, mesh, 1).drawn(), SIDES, side)


def _pictures(result: Result) -> str:
    given = "masks" if result.scene.image is None else "picture"
    captions = given, "before: the hand as it was seen, the object where OPA has it", "after: the refined grasp"
    return _row("wide", [_figure(*each) for each in zip(_drawings(result)[0], captions, strict=True)])


def _views(result: Result) -> str:
    return _row("narrow", [_figure(picture, side) for side, picture in zip(SIDES, _drawings(result)[1], strict=True)])


def _contact(result: Result, mesh: ObjectMesh) -> str:
    """As the paper's Fig. 9."""
    edge = FINE_EDGE / float(result.after.scale)
    fine = replace(mesh, **finer(Surface(mesh.vertices, mesh.faces), edge, FINE_FACES)._asdict())
    figures: dict[str, list[str]] = {"object": [], "hand": []}
    for k, when in enumerate(WHEN):
        hand_surface, object_surface = _pair(result, fine, k)
        whole = Surface(result.object_vertices(k), result.scene.object.faces)
        of_object = signed_distances(hand_surface, object_surface.vertices)
        of_hand = signed_distances(whole, hand_surface.vertices)
        for name, surface, colours in (
            ("object", object_surface, contact_colours(of_object)),
            ("hand", hand_surface, depth_colours(of_hand)),
        ):
            tiles = _from_sides([(surface.vertices, surface.faces, colours)], SIDES | ENDS, TILE, antialias=1)
            six = np.concatenate([np.concatenate(tiles[k : k + 3], axis=1) for k in (0, 3)])
            figures[name].append(_figure(six, f"{name}, {when}"))
    return (
        _paragraph(f"Each seen from: {', '.join(SIDES | ENDS)}.")
        + _legend("contact: the object near the hand", CONTACT_RAMP, "0 mm", f"{1e3 * CONTACT:.0f} mm away")
        + _legend("interpenetration: the hand inside the object", DEPTH_RAMP, "0 mm", f"{1e3 * DEEPEST:.0f} mm or more")
        + _row("middle", figures["object"] + figures["hand"])
    )


def _measures(result: Result) -> str:
    meanings = GRASP_METRICS | PICTURE_METRICS
    values = result.metrics
    rows = []
    for key in dict.fromkeys([*(key for key in meanings if key in values[0] | values[1]), *values[0], *values[1]]):
        before, after = values[0].get(key), values[1].get(key)
        marked = [_better(key, before, after), _better(key, after, before)]
        cells = [f"{_number(value)}{' ✓' * mark}" for value, mark in zip((before, after), marked, strict=True)]
        rows.append([key, *cells, meanings.get(key, "")])
    return _paragraph("✓ marks the better value, where more or less is better.") + _table(["", *WHEN, "meaning"], rows)


def _candidates(result: Result, mesh: ObjectMesh) -> str:
    config, first = result.config, result.candidates[0]
    text = f"Score = energy + {config.w_mask:g} (1 - masked IoU) + {config.w_agreement:g} (1 - occlusion agreement). "
    if len(result.candidates) > 1:
        second = result.candidates[1]
        text += (
            f"The winner is ahead by {second.score - first.score:.2f}: {first.score:.2f} against {second.score:.2f}."
        )
    else:
        text += "There was no other."
    frame = _frame(result, _pair_box(result, mesh), CANDIDATE)
    pairs = [
        _Pair(Surface(c.hand_vertices, result.hand_faces), Surface(object_at(c.grasp, mesh.vertices), mesh.faces))
        for c in result.candidates
    ]
    figures, pictures = [], _at_once(_overlay, [(frame, pair, 1) for pair in pairs])
    for place, (candidate, picture) in enumerate(zip(result.candidates, pictures, strict=True)):
        caption = (
            f"{place + 1}. pose {candidate.pose}, valley {candidate.valley}, size × {candidate.factor:.3f}; "
            f"energy {candidate.energy:.2f}, masked IoU {candidate.masked_iou:.3f}, "
            f"occlusion agreement {candidate.occlusion_agreement:.3f}; score {candidate.score:.2f}"
        )
        figures.append(_figure(picture, caption))
    return _paragraph(text) + _row("narrow", figures)


def _curves(result: Result) -> str:
    ends = np.cumsum([history.shape[1] for history in result.poses.history], dtype=int)[:-1].tolist()
    energy, terms, poses = energy_curves(result)
    figures = [
        _figure(_plot(energy, "step", "energy", []), "contact: energy of the winner", "PNG"),
        _figure(_plot(terms, "step", "weight × term", []), "contact: terms of the winner", "PNG"),
        _figure(_plot(poses, "step", "energy", ends), "object pose: energy of each pose", "PNG"),
    ]
    return _row("wide", figures)


def energy_curves(result: Result) -> tuple[Lines, Lines, Lines]:
    """Energy of the chosen candidate, its terms times their weights, and energies of OPA's poses, over the steps."""
    contact, history = result.config.contact, result.poses.history
    terms = {
        f"{weight:g} × {name}": (contact.refresh * np.arange(len(result.terms[name])), weight * result.terms[name])
        for name, weight in contact.weights.items()
        if weight and name in result.terms
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
    return _paragraph(use[result.scene.object.size]) + _table(["", "factor"], rows)


def _settings(result: Result) -> str:
    versions = {name: version(name) for name in ("fgs-jax", "jax", "jaxlib", "numpy", "scipy", "libigl")}
    versions |= {"python": platform.python_version(), "platform": platform.platform()}
    lines = {"side": result.scene.side} | flattened(asdict(result.config)) | versions
    return '<div class="small">' + "".join(_paragraph(f"{key}: {value}") for key, value in lines.items()) + "</div>"


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values under dotted names; the place in a sequence of mappings is part of the name."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, tuple | list) and value and isinstance(value[0], Mapping):
            flat |= flattened({str(k): item for k, item in enumerate(value)}, f"{prefix}{key}.")
        elif isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


# --- drawings


class _Pair(NamedTuple):
    """In the camera's frame."""

    hand: Surface
    object: Surface

    def drawn(self) -> list[Mesh]:
        return [(self.object.vertices, self.object.faces, OBJECT), (self.hand.vertices, self.hand.faces, HAND)]


class _Frame(NamedTuple):
    """A part of the picture at another size."""

    camera: Camera
    background: UInt8[ndarray, "h w 3"]


def _frame(result: Result, box: tuple[float, float, float, float], longest: int) -> _Frame:
    """The part of the picture in `box` (left, top, right, bottom; pixels)."""
    corner, extent = np.array(box[:2]), np.array(box[2:]) - box[:2]
    size = np.maximum(np.rint(extent * longest / extent.max()), 1)
    picture = Image.fromarray(_picture(result.scene))
    background = picture.resize((int(size[0]), int(size[1])), Image.Resampling.BICUBIC, box=box)
    focal, principal = np.asarray(result.camera.focal, float), np.asarray(result.camera.principal, float)
    return _Frame(_camera(focal * size / extent, (principal - corner) * size / extent), np.asarray(background))


def _picture(scene: Scene) -> UInt8[ndarray, "h w 3"]:
    """The photo, else its masks on grey."""
    if scene.image is not None:
        return scene.image
    picture = np.full((*scene.object_mask.shape, 3), 128, np.uint8)
    for mask, colour in ((scene.object_mask, OBJECT), (scene.hand_mask, HAND)):
        picture[mask] = np.rint(255 * np.array(colour))
    return picture


def _overlay(frame: _Frame, pair: _Pair, antialias: int = 2) -> UInt8[ndarray, "h w 3"]:
    height, width = frame.background.shape[:2]
    return render(frame.camera, (width, height), pair.drawn(), frame.background, antialias)


def _from_sides(
    meshes: Sequence[Mesh], sides: Mapping[str, tuple[str, int]], size: int, antialias: int = 2
) -> list[UInt8[ndarray, "h w 3"]]:
    """Square pictures, filled by the meshes."""
    points = np.concatenate([np.asarray(vertices, float) for vertices, _, _ in meshes])
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    away = np.array([0, 0, 4 * np.linalg.norm(points - middle, axis=1).max()])
    turned = []
    for axis, degrees in sides.values():
        turn = Rotation.from_euler(axis, degrees, degrees=True)
        turned.append([(turn.apply(np.asarray(v) - middle) + away, faces, colour) for v, faces, colour in meshes])
    seen = np.concatenate([vertices for view in turned for vertices, _, _ in view])
    focal = 0.48 * size / np.abs(seen[:, :2] / seen[:, 2:]).max()
    camera = _camera(np.array([focal, focal]), np.array([size / 2, size / 2]))
    return _at_once(partial(render, antialias=antialias), [(camera, (size, size), view) for view in turned])


def _at_once(draw: Callable[..., UInt8[ndarray, "h w 3"]], arguments: Sequence[tuple]) -> list[UInt8[ndarray, "h w 3"]]:
    """`draw(*arguments[k])` for each k, on all cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda each: draw(*each), arguments))


def finer(surface: Surface, longest: float, most: int) -> Surface:
    """The same surface with edges no longer than `longest`, as far as `most` faces allow; the longest are halved first.

    No crack opens: both faces of an edge share its middle.
    """
    vertices, faces = np.asarray(surface.vertices, float), np.asarray(surface.faces)
    while True:
        sides = np.stack([faces, np.roll(faces, -1, axis=1)], axis=2).reshape(-1, 2)
        edges, edge = np.unique(np.sort(sides, axis=1), axis=0, return_inverse=True)
        length = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
        order = np.argsort(-length, kind="stable")
        new_faces = np.bincount(edge.ravel())[order].cumsum()
        halved = order[(length[order] > max(longest, length.max() / 2)) & (len(faces) + new_faces <= most)]
        if not len(halved):
            return Surface(vertices, faces)
        middle = np.full(len(edges), -1)
        middle[halved] = len(vertices) + np.arange(len(halved))
        vertices = np.concatenate([vertices, vertices[edges[halved]].mean(axis=1)])
        # Where an edge is whole, its first end stands for its middle, and faces without an area drop out.
        middles = np.where(middle[edge.ravel()] < 0, sides[:, 0], middle[edge.ravel()]).reshape(-1, 3)
        (a, b, c), (ab, bc, ca) = faces.T, middles.T
        pieces = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        faces = np.concatenate([np.stack(piece, axis=1) for piece in pieces])
        faces = faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]


def _ramp(share: Float[ndarray, "p"], shown: Bool[ndarray, "p"], ends: tuple[Colour, Colour]) -> Float[ndarray, "p 3"]:
    first, last = np.array(ends)
    colours = first + np.clip(share, 0, 1)[:, None] * (last - first)
    return np.where(shown[:, None], colours, BARE)


def _pair(result: Result, mesh: ObjectMesh, when: int) -> _Pair:
    placed = object_at((result.before, result.after)[when], mesh.vertices)
    return _Pair(Surface(result.hand_vertices[when], result.hand_faces), Surface(placed, mesh.faces))


def _pair_box(result: Result, mesh: ObjectMesh) -> tuple[float, float, float, float]:
    """About the refined pair and the object's mask, with a margin, within the picture; pixels."""
    points = np.concatenate([surface.vertices for surface in _pair(result, mesh, 1)])
    points = points[points[:, 2] > Z_NEAR]
    pixels = points[:, :2] / points[:, 2:] * np.asarray(result.camera.focal) + np.asarray(result.camera.principal)
    left, top, right, bottom = mask_box(result.scene.object_mask)
    pixels = np.concatenate([pixels, [[left, top], [right, bottom]]])
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    margin, limit = 0.08 * (high - low).max(), np.array(result.scene.object_mask.shape[::-1])
    low, high = np.maximum(np.floor(low - margin), 0), np.minimum(np.ceil(high + margin), limit)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _camera(focal: Float[ndarray, "2"], principal: Float[ndarray, "2"]) -> Camera:
    return Camera(focal=jnp.asarray(focal, jnp.float32), principal=jnp.asarray(principal, jnp.float32))


def _plot(lines: Lines, x_label: str, y_label: str, marks: Iterable[int]) -> UInt8[ndarray, "h w 3"]:
    """Lines by their names, on a logarithmic axis where all that is not zero is positive; `marks`: upright lines."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.ticker import LogLocator  # noqa: PLC0415

    figure = Figure(figsize=(5.2, 3.3), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.16, 0.15, 0.58 if len(lines) > 1 else 0.81, 0.81))
    values = np.concatenate([np.zeros(0), *(y for _, y in lines.values())])
    values = values[np.isfinite(values) & (values != 0)]
    logarithmic = len(values) > 0 and values.min() > 0
    for name, (x, y) in lines.items():
        axes.plot(x, np.where(y > 0, y, np.nan) if logarithmic else y, label=name, linewidth=1.4)
    if logarithmic:
        axes.set_yscale("log")
        low, high = max(values.min(), 1e-5 * values.max()) / 1.5, 1.5 * values.max()
        axes.set_ylim(low, high)
        # Powers as matplotlib sets them take most of the time.
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
    for mark in marks:
        axes.axvline(mark, color="0.75", linewidth=0.8)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(color="0.92")
    axes.spines[["top", "right"]].set_visible(False)
    if len(lines) > 1:
        axes.legend(fontsize=8, frameon=False, handlelength=1.2, loc="center left", bbox_to_anchor=(1, 0.5))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3]


# --- HTML


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>\n"


def _row(kind: str, figures: Sequence[str]) -> str:
    return f'<div class="row {kind}">\n{"".join(figures)}</div>\n'


def _figure(picture: UInt8[ndarray, "h w 3"], caption: str, kind: str = "JPEG") -> str:
    """`kind`: "JPEG", or "PNG" for lines and letters."""
    data, text = io.BytesIO(), escape(caption)
    Image.fromarray(picture).save(data, kind, quality=88, subsampling=0, optimize=True)
    code = base64.b64encode(data.getvalue()).decode()
    height, width = picture.shape[:2]
    source = f"data:image/{kind.lower()};base64,{code}"
    image = f'<img src="{source}" width="{width}" height="{height}" alt="{text}">'
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["".join(f"<th>{escape(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>\n" for line in lines) + "</table>\n"


def _legend(title: str, ramp: tuple[Colour, Colour], first: str, last: str) -> str:
    # Drawn, for a background is not printed.
    shares = np.linspace(0, 1, 24)
    colours = np.rint(255 * _ramp(shares, np.ones(24, bool), ramp)).astype(int)
    bars = "".join(
        f'<rect x="{10 * k}" y="18" width="10.5" height="12" fill="rgb({r},{g},{b})"/>'
        for k, (r, g, b) in enumerate(colours)
    )
    labels = f'<text x="0" y="44">{escape(first)}</text><text x="240" y="44" text-anchor="end">{escape(last)}</text>'
    return f'<svg viewBox="0 0 340 50" font-size="13"><text x="0" y="12">{escape(title)}</text>{bars}{labels}</svg>\n'


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _better(key: str, value: float | None, other: float | None) -> bool:
    """Whether a measure is better than the other, as far as its digits show."""
    if value is None or other is None:
        return False
    return BETTER.get(key, 0) * (round(value, 3) - round(other, 3)) > 0
