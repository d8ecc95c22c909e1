"""Pictures as a training sees them."""

import numpy as np

from fgs_bridges.dreambooth_data import fitted


def test_a_picture_is_cut_about_its_middle() -> None:
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = 255
    pixels, size, corner = fitted(wide, 4)
    assert (size, corner) == ((4, 12), (0, 4))
    assert pixels.dtype == np.float32 and (pixels == 1).all()
    pixels, size, corner = fitted(np.zeros((20, 10, 3), np.uint8), 16)
    assert (pixels.shape, size, corner) == ((16, 16, 3), (20, 10), (8, 0))
    assert (pixels == -1).all()
