"""Household shapes made by code: in metres, of real sizes, watertight, wound outward, about their centre of mass.

Lengths inside are in mm. Each shape stands upright along z, or lies flat across it.
"""

from collections.abc import Callable

import numpy as np
import trimesh
from jaxtyping import Float, Int
from manifold3d import CrossSection, FillRule, Manifold
from numpy import ndarray
from scipy.spatial.transform import Rotation

Mesh = tuple[Float[ndarray, "v 3"], Int[ndarray, "f 3"]]
Number = float | int
Point = tuple[Number, Number]

SEGMENTS = 32
"""Of a full turn."""
EDGE = 14.0
"""Longest edge in mm, so that flat sides have vertices too."""


def revolve(*profile: Point) -> Manifold:
    """The outline of (radius, z), closed from its last point to its first, turned about z."""
    return CrossSection([np.array(profile)], FillRule.NonZero).revolve(SEGMENTS)


def ring(radius: Number, thickness: Number) -> Manifold:
    """A round bar of radius `thickness`, bent about z."""
    return CrossSection.circle(thickness, 12).translate((radius, 0)).revolve(SEGMENTS)


def bar(start: tuple[Number, Number, Number], end: tuple[Number, Number, Number], *radii: Number) -> Manifold:
    """A round bar between two points, with round ends; a second radius tapers it."""
    ends = [Manifold.sphere(r, 16).translate(p) for p, r in zip((start, end), (radii * 2)[:2], strict=True)]
    return Manifold.batch_hull(ends)


def box(x: Number, y: Number, z: Number, rounding: Number = 0) -> Manifold:
    """About the origin; `rounding`: radius of the edges along z."""
    inner = CrossSection.square((x - 2 * rounding, y - 2 * rounding), center=True)
    return inner.offset(rounding, circular_segments=24).extrude(z).translate((0, 0, -z / 2))


def plate(thickness: Number, *outline: Point) -> Manifold:
    """An outline in x and y, made thick along z, about z = 0."""
    return CrossSection([np.array(outline)], FillRule.NonZero).extrude(thickness).translate((0, 0, -thickness / 2))


def finished(solid: Manifold) -> Mesh:
    mesh = solid.refine_to_length(EDGE).to_mesh64()
    vertices, faces = np.array(mesh.vert_properties[:, :3], float), np.array(mesh.tri_verts, int)
    return (vertices - trimesh.Trimesh(vertices, faces, process=False).center_mass) / 1000, faces


def mug() -> Mesh:
    handle = ring(26, 5.5).rotate((90, 0, 0)).translate((45, 0, 48))
    outside = revolve((0, 0), (36, 0), (40, 5), (41, 95), (0, 95))
    return finished(outside + handle - revolve((0, 6), (36, 6), (37, 100), (0, 100)))


def bottle() -> Mesh:
    shoulder = ((33, 152), (26, 172), (17, 195), (13.5, 205))
    return finished(
        revolve((0, 0), (32, 0), (36, 5), (36, 135), *shoulder, (13.5, 222), (16, 222), (16, 240), (0, 240))
    )


def can() -> Mesh:
    return finished(revolve((0, 3), (22, 3), (26, 0), (33, 9), (33, 110), (27, 120), (27, 123), (25, 120), (0, 120)))


def phone() -> Mesh:
    bump = box(30, 30, 3, 7).translate((-17, 55, 5))
    lenses = revolve((0, 0), (5, 0), (5, 1.5), (0, 1.5))
    pair = lenses.translate((-24, 62, 6.5)) + lenses.translate((-11, 49, 6.5))
    return finished(box(72, 148, 8, 10) + bump + pair)


def hammer() -> Mesh:
    handle = bar((0, 0, 8), (0, 0, 130), 13, 15) + bar((0, 0, 130), (0, 0, 290), 14, 10)
    face = revolve((0, 0), (14, 0), (15, 2), (15, 18), (11, 24), (11, 60), (0, 60)).rotate((0, -90, 0))
    claw = plate(24, (0, -14), (0, 14), (-35, 10), (-62, -6), (-78, -26), (-56, -14), (-30, -10)).rotate((90, 0, 0))
    return finished(handle.scale((1, 0.8, 1)) + (face.translate((58, 0, 0)) + claw).translate((0, 0, 292)))


def scissors() -> Mesh:
    blade = plate(4, (-20, -6), (-20, 7), (10, 9), (75, 3), (105, -4), (10, -8))
    small = blade + bar((-15, 0, 0), (-42, -10, 0), 5) + ring(17, 4.5).scale((1.3, 1, 1)).translate((-64, -12, 0))
    large = blade.mirror((0, 1, 0)) + bar((-15, 0, 0), (-42, 10, 0), 5)
    large += ring(20, 4.5).scale((1.7, 1, 1)).translate((-76, 17, 0))
    pivot = revolve((0, -4), (5, -4), (5, 4), (0, 4))
    return finished(small.rotate((0, 0, 12)).translate((0, 0, 1.5)) + large.rotate((0, 0, -12)) + pivot)


def wine_glass() -> Mesh:
    foot = ((0, 0), (36, 0), (36, 2), (10, 6), (4.5, 12), (4, 85), (8, 92))
    outside = ((26, 102), (37, 120), (41, 142), (38, 175), (34, 200))
    inside = ((32.5, 200), (36.5, 175), (39, 142), (35.5, 121), (25, 104), (0, 95))
    return finished(revolve(*foot, *outside, *inside))


def tea_box() -> Mesh:
    return finished(box(130, 65, 90))


def bowl() -> Mesh:
    outside = ((0, 0), (32, 0), (34, 6), (52, 20), (66, 40), (73, 65))
    return finished(revolve(*outside, (70, 65), (63, 41), (50, 23), (33, 10), (0, 8)))


def pan() -> Mesh:
    body = revolve((0, 0), (85, 0), (92, 6), (105, 45), (101, 45), (88, 8), (83, 4), (0, 4))
    handle = bar((106, 0, 36), (140, 0, 46), 7, 9) + bar((140, 0, 46), (265, 0, 60), 9, 12)
    return finished(body + handle.scale((1, 1, 0.7)).translate((0, 0, 9)))


def spray_bottle() -> Mesh:
    body = revolve((0, 0), (38, 0), (42, 6), (42, 110), (34, 150), (16, 180), (0, 180)).scale((1, 0.7, 1))
    neck = revolve((0, 170), (14, 170), (14, 205), (17, 205), (17, 225), (0, 225))
    head = plate(24, (-32, 222), (-28, 250), (40, 258), (62, 250), (62, 238), (25, 232), (20, 222)).rotate((90, 0, 0))
    trigger = plate(14, (24, 240), (46, 240), (40, 215), (52, 185), (44, 180), (30, 210)).rotate((90, 0, 0))
    return finished(body + neck + head + trigger)


def camera() -> Mesh:
    lens = revolve((0, 0), (32, 0), (32, 22), (35, 26), (35, 52), (29, 52), (26, 46), (0, 46))
    hump = plate(30, (-24, 34), (-15, 54), (15, 54), (24, 34)).rotate((90, 0, 0))
    grip = bar((-52, 16, -26), (-52, 16, 26), 13)
    button = revolve((0, 36), (8, 36), (8, 42), (0, 42)).translate((-50, 10, 0))
    return finished(box(130, 38, 76, 10) + lens.rotate((-90, 0, 0)).translate((12, 15, -2)) + hump + grip + button)


def soap() -> Mesh:
    return finished(Manifold.sphere(34, SEGMENTS).scale((1.1, 0.7, 1.4)))


def knife() -> Mesh:
    blade = plate(2, (0, -12), (0, 14), (120, 12), (165, -8), (150, -12))
    return finished(blade + box(110, 24, 16, 6).translate((-52, 0, 0)))


def small_box() -> Mesh:
    return finished(box(62, 38, 90))


# Radius and height above the base, in mm. Given: the lid is 77 mm wide and 30 mm high, the whole is 200 mm high. Read
# off frame 072: where lid and body meet, the lid is 123 pixels wide and the body 110, so the body is 69 mm wide. Its 94
# pixels at the base are perspective: a straight body that leans 29 degrees, seen by the camera of scenes/tumbler,
# fits the object mask with both heights within 1 mm of those given. A base rounded by 12 mm fits better than by 9 mm.
TUMBLER_PROFILE = np.array(
    [
        *((0, 0), (22.5, 0), (27.1, 0.9), (31.0, 3.5), (33.6, 7.4), (34.5, 12)),
        *((34.5, 38), (34.5, 64), (34.5, 90), (34.5, 116), (34.5, 142), (34.5, 158), (34.5, 170)),
        *((37.5, 170), (38.5, 171), (38.5, 178), (38.5, 187), (38.5, 197), (37.6, 199.1), (35.5, 200), (0, 200)),
    ]
)


def tumbler(sections: int = 64) -> Mesh:
    """A travel tumbler with its lid on, the object in examples/scenes: its axis is z, the lid is up.

    About the middle of its axis; `sections`: of the full turn.
    """
    mesh = trimesh.creation.revolve((TUMBLER_PROFILE - [0, 100]) / 1000, sections=sections)
    return np.asarray(mesh.vertices, float), np.asarray(mesh.faces, int)


SHAPES: dict[str, Callable[[], Mesh]] = {
    **{"mug": mug, "bottle": bottle, "can": can, "phone": phone, "hammer": hammer, "scissors": scissors},
    **{"wine_glass": wine_glass, "box": tea_box, "bowl": bowl, "pan": pan, "spray_bottle": spray_bottle},
    **{"camera": camera, "tumbler": tumbler},
}
HELD: dict[str, Callable[[], Mesh]] = SHAPES | {"soap": soap, "knife": knife, "small_box": small_box}
"""Those that true grasps are made on."""
REVOLVED = frozenset({"bottle", "can", "wine_glass", "bowl", "tumbler"})
BLOCKS = frozenset({"box", "small_box", "soap"})
ASYMMETRIC = frozenset({"mug", "phone", "hammer", "scissors", "pan", "spray_bottle", "camera"})
"""Not like itself after any turn; at most one mirror plane."""


def symmetries(name: str, steps: int = 360) -> Float[ndarray, "s 3 3"]:
    """Rotations that turn an object of `HELD` into itself; of a round one as many as `steps`, about its axis."""
    if name in BLOCKS:
        signs = ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))
        return np.stack([np.diag(sign).astype(float) for sign in signs])
    angles = np.linspace(0, 2 * np.pi, steps if name in REVOLVED else 1, endpoint=False)
    return Rotation.from_rotvec(angles[:, None] * [0, 0, 1]).as_matrix()
