"""Drawings from the sides."""

import numpy as np

from fgs_jax.results import drawing


def test_each_side_shows_its_own_face():
    """A cube whose faces differ in colour: x and y point right and down, and the camera looks along z."""
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 0.1
    vertices, faces, colours = [], [], []
    for axis in range(3):
        for sign in (-1, 1):
            square = np.insert(corners, axis, sign * 0.1, axis=1)
            quad = np.array([[0, 1, 2], [0, 2, 3]])
            outward = np.cross(square[1] - square[0], square[2] - square[0])[axis] * sign > 0
            faces.append((quad if outward else quad[:, ::-1]) + 4 * len(vertices))
            vertices.append(square + [0.3, 0.2, 2.0])
            colours.append(np.tile(np.eye(3)[axis] if sign > 0 else 1 - np.eye(3)[axis], (4, 1)))
    mesh = np.concatenate(vertices), np.concatenate(faces), np.concatenate(colours)
    seen = drawing.from_sides([mesh], drawing.SIDES | drawing.ENDS, 40)
    shown = [picture[20, 20] > 30 for picture in seen]
    x, y, z = np.eye(3, dtype=bool)
    np.testing.assert_array_equal(shown, [~z, x, z, ~x, ~y, y])
    for picture in seen:
        assert (picture[[0, -1]] == 255).all() and (picture[:, [0, -1]] == 255).all(), "all of it is in the picture"
        assert (picture[20] != 255).any(axis=1).sum() >= 24, "and it fills it"
