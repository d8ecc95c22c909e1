"""Fewer vertices for a mesh that will be bent: half-edge collapses judged on several of its shapes at once.

Quadric error metrics (Garland and Heckbert 1997), summed over the shapes. A collapse moves a vertex onto its neighbour,
so the vertices that stay are a subset and keep their skinning weights and blend shapes as they are.
"""

import heapq
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

# Costs are in mm: squared distance times area. The small terms in the length of the edge decide where it is flat.
PER_LENGTH = 0.02
PER_SQUARED_LENGTH = 1e-3
LEAST_COSINE = (0.4, 0.1)
"""How far one collapse may turn a triangle's normal: in the first shape, and in the others, which are bent already."""
LEAST_QUALITY = 0.15
"""Of triangles in the first shape; equilateral is 1. One that is worse already may not get worse."""


def decimate(
    shapes: Float[ndarray, "s v 3"], faces: Int[ndarray, "f 3"], vertex_count: int, fixed: Iterable[int]
) -> tuple[Int[ndarray, "kept"], Int[ndarray, "g 3"]]:
    """The ids of the vertices that stay, ascending, and the faces between them, counted in those that stay.

    `shapes` are the same mesh, in metres; the triangles of the first are kept well shaped. `fixed` vertices stay.
    """
    mesh = _ShrinkingMesh(np.asarray(shapes) * 1e3, faces)
    movable = set(range(shapes.shape[1])) - set(fixed)
    version = [0] * shapes.shape[1]
    heap: list[tuple[float, int, int, int, int]] = []

    def push(gone: int, target: int) -> None:
        if gone in movable:
            heapq.heappush(heap, (mesh.cost(gone, target), gone, target, version[gone], version[target]))

    for vertex in range(shapes.shape[1]):
        for other in mesh.neighbours(vertex):
            push(vertex, other)
    alive = shapes.shape[1]
    while alive > vertex_count and heap:
        _, gone, target, *seen = heapq.heappop(heap)
        if seen != [version[gone], version[target]] or not mesh.may_collapse(gone, target):
            continue
        mesh.collapse(gone, target)
        alive -= 1
        version[gone] += 1
        version[target] += 1
        for other in mesh.neighbours(target):
            push(target, other)
            push(other, target)

    remaining = np.array([face for face in mesh.faces if face])
    kept, corners = np.unique(remaining, return_inverse=True)
    return kept, corners.reshape(remaining.shape)


class _ShrinkingMesh:
    """A triangle mesh in several shapes, in mm. A face that is gone is an empty list."""

    def __init__(self, shapes: Float[ndarray, "s v 3"], faces: Int[ndarray, "f 3"]):
        self.shapes = shapes
        self.faces: list[list[int]] = faces.tolist()
        self.homogeneous = np.concatenate([shapes, np.ones_like(shapes[..., :1])], axis=-1)
        self.quadrics = _quadrics(shapes, faces)
        self.faces_at: list[set[int]] = [set() for _ in range(shapes.shape[1])]
        for index, face in enumerate(self.faces):
            for vertex in face:
                self.faces_at[vertex].add(index)

    def neighbours(self, vertex: int) -> set[int]:
        return {other for face in self.faces_at[vertex] for other in self.faces[face]} - {vertex}

    def cost(self, gone: int, target: int) -> float:
        quadrics = self.quadrics[:, gone] + self.quadrics[:, target]
        point = self.homogeneous[:, target]
        length = np.linalg.norm(self.shapes[:, gone] - self.shapes[:, target], axis=1).mean()
        error = np.einsum("sa,sab,sb->", point, quadrics, point)
        return float(error + PER_SQUARED_LENGTH * length**2 + PER_LENGTH * length)

    def may_collapse(self, gone: int, target: int) -> bool:
        """Whether the mesh stays a manifold, no triangle turns over, and none becomes a sliver."""
        shared = self.faces_at[gone] & self.faces_at[target]
        if len(shared) != 2 or len(self.neighbours(gone) & self.neighbours(target)) != 2:
            return False
        before = np.array([self.faces[face] for face in self.faces_at[gone] - shared])
        after = np.where(before == gone, target, before)
        old, new = _doubled_area_vectors(self.shapes, before), _doubled_area_vectors(self.shapes, after)
        old_area, new_area = np.linalg.norm(old, axis=-1), np.linalg.norm(new, axis=-1)
        least_cosine = np.where(np.arange(len(self.shapes)) == 0, *LEAST_COSINE)[:, None]
        turned = (old * new).sum(axis=-1) < least_cosine * old_area * new_area
        if (turned | (new_area < 1e-4)).any():
            return False
        quality = _quality(self.shapes[0], after)
        return bool((quality >= np.minimum(LEAST_QUALITY, _quality(self.shapes[0], before))).all())

    def collapse(self, gone: int, target: int) -> None:
        for index in self.faces_at[gone]:
            face = self.faces[index]
            if target in face:
                for vertex in set(face) - {gone}:
                    self.faces_at[vertex].discard(index)
                self.faces[index] = []
            else:
                self.faces[index] = [target if vertex == gone else vertex for vertex in face]
                self.faces_at[target].add(index)
        self.faces_at[gone] = set()
        self.quadrics[:, target] += self.quadrics[:, gone]


def _doubled_area_vectors(shapes: Float[ndarray, "*s v 3"], faces: Int[ndarray, "f 3"]) -> Float[ndarray, "*s f 3"]:
    a, b, c = (shapes[..., faces[:, k], :] for k in range(3))
    return np.cross(b - a, c - a)


def _quadrics(shapes: Float[ndarray, "s v 3"], faces: Int[ndarray, "f 3"]) -> Float[ndarray, "s v 4 4"]:
    """Per vertex, the sum over its faces of area times squared distance to the face's plane, as a quadratic form."""
    vectors = _doubled_area_vectors(shapes, faces)
    doubled_area = np.linalg.norm(vectors, axis=-1, keepdims=True)
    normals = vectors / (doubled_area + 1e-18)
    planes = np.concatenate([normals, -(normals * shapes[:, faces[:, 0]]).sum(axis=-1, keepdims=True)], axis=-1)
    forms = np.einsum("sfa,sfb,sf->sfab", planes, planes, doubled_area[..., 0] / 2)
    quadrics = np.zeros((*shapes.shape[:2], 4, 4))
    for k in range(3):
        for shape in range(len(shapes)):
            np.add.at(quadrics[shape], faces[:, k], forms[shape])
    return quadrics


def _quality(vertices: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"]) -> Float[ndarray, "f"]:
    """Area over that of an equilateral triangle with the same sum of squared edges."""
    corners = vertices[faces]
    squared_edges = ((corners - np.roll(corners, 1, axis=1)) ** 2).sum(axis=(1, 2))
    return 2 * np.sqrt(3) * np.linalg.norm(_doubled_area_vectors(vertices, faces), axis=-1) / (squared_edges + 1e-12)
