"""Where hand and object are near each other and where they meet, as colours on both, as the paper's Fig. 9."""

from dataclasses import replace
from html import escape

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from fgs_jax.picture.render import Colour
from fgs_jax.results.drawing import ENDS, SIDES, drawn_mesh, from_sides, pair_of
from fgs_jax.results.metrics.contact import CONTACT
from fgs_jax.results.metrics.surface import Surface, signed_distances
from fgs_jax.results.page import figure, paragraph, side_by_side
from fgs_jax.results.result import WHEN, Result

BARE = (0.82, 0.84, 0.87)
"""Colour of what is neither near nor inside."""
CONTACT_RAMP = (0.8, 0.05, 0.05), (1.0, 0.86, 0.4)
"""From touching to `CONTACT` away."""
DEPTH_RAMP = (0.66, 0.45, 0.95), (0.22, 0.0, 0.45)
"""From the object's surface to `DARKEST_DEPTH` inside."""
DARKEST_DEPTH = 0.01
"""Metres; deeper looks no different."""
FINE_FACES, FINE_EDGE = 20_000, 0.004
"""Faces of the object once split for colours, at most; and the edge, in metres, to split it to."""
TILE = 130
"""Side of a drawing, pixels."""


def contact_maps(result: Result) -> str:
    """Both from six sides, before and after, with legends, as HTML."""
    mesh = drawn_mesh(result.scene.object)
    edge = FINE_EDGE / float(result.after.scale)
    fine = replace(mesh, **finer(Surface(mesh.vertices, mesh.faces), edge, FINE_FACES)._asdict())
    figures: dict[str, list[str]] = {"object": [], "hand": []}
    for k, when in enumerate(WHEN):
        hand_surface, object_surface = pair_of(result, fine, k)
        whole = Surface(result.object_vertices(k), result.scene.object.faces)
        of_object = signed_distances(hand_surface, object_surface.vertices)
        of_hand = signed_distances(whole, hand_surface.vertices)
        for name, surface, colours in (
            ("object", object_surface, contact_colours(of_object)),
            ("hand", hand_surface, depth_colours(of_hand)),
        ):
            tiles = from_sides([(surface.vertices, surface.faces, colours)], SIDES | ENDS, TILE, antialias=1)
            six = np.concatenate([np.concatenate(tiles[k : k + 3], axis=1) for k in (0, 3)])
            figures[name].append(figure(six, f"{name}, {when}"))
    return (
        paragraph(f"Each seen from: {', '.join(SIDES | ENDS)}.")
        + _legend("contact: the object near the hand", CONTACT_RAMP, "0 mm", f"{1e3 * CONTACT:.0f} mm away")
        + _legend(
            "interpenetration: the hand inside the object", DEPTH_RAMP, "0 mm", f"{1e3 * DARKEST_DEPTH:.0f} mm or more"
        )
        + side_by_side("middle", figures["object"] + figures["hand"])
    )


def contact_colours(distances: Float[ndarray, "p"]) -> Float[ndarray, "p 3"]:
    """Of points of the object by their distance to the hand in metres: `CONTACT_RAMP` up to `CONTACT`, else `BARE`."""
    return _ramp_colours(distances / CONTACT, distances < CONTACT, CONTACT_RAMP)


def depth_colours(distances: Float[ndarray, "p"]) -> Float[ndarray, "p 3"]:
    """Of points of the hand by their distance to the object in metres: `DEPTH_RAMP` where inside, else `BARE`."""
    return _ramp_colours(-distances / DARKEST_DEPTH, distances < 0, DEPTH_RAMP)


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


def _ramp_colours(
    share: Float[ndarray, "p"], shown: Bool[ndarray, "p"], ends: tuple[Colour, Colour]
) -> Float[ndarray, "p 3"]:
    first, last = np.array(ends)
    colours = first + np.clip(share, 0, 1)[:, None] * (last - first)
    return np.where(shown[:, None], colours, BARE)


def _legend(title: str, ramp: tuple[Colour, Colour], first: str, last: str) -> str:
    # Drawn, for a background is not printed.
    shares = np.linspace(0, 1, 24)
    colours = np.rint(255 * _ramp_colours(shares, np.ones(24, bool), ramp)).astype(int)
    bars = "".join(
        f'<rect x="{10 * k}" y="18" width="10.5" height="12" fill="rgb({r},{g},{b})"/>'
        for k, (r, g, b) in enumerate(colours)
    )
    labels = f'<text x="0" y="44">{escape(first)}</text><text x="240" y="44" text-anchor="end">{escape(last)}</text>'
    return f'<svg viewBox="0 0 340 50" font-size="13"><text x="0" y="12">{escape(title)}</text>{bars}{labels}</svg>\n'
