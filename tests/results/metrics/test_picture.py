"""How well the picture is met: against pictures counted by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from fgs_jax.results.metrics import (
    PICTURE_METRICS,
    hand_silhouette_iou,
    keypoint_error,
    masked_iou,
    occlusion_agreement,
    picture_metrics,
)
from fgs_jax.types import Camera
from tests.results.metrics.shapes import box, mask


def test_masked_iou_does_not_look_under_the_hand():
    drawn, seen, hidden = mask((0, 4, 0, 6)), mask((0, 4, 1, 4)), mask((0, 10, 3, 5))
    # Outside columns 3 and 4 the drawn one has columns 0, 1, 2, 5 and the mask 1 and 2.
    assert masked_iou(drawn, seen, hidden) == 0.5
    assert masked_iou(drawn, seen, mask()) == 0.5
    assert masked_iou(seen, seen, hidden) == 1.0
    assert masked_iou(mask(), mask((0, 1, 3, 5)), hidden) == 0.0


def hand_points(wrist, knuckle):
    points = np.zeros((21, 2))
    points[0], points[9] = wrist, knuckle
    return points


def test_hand_iou_does_not_count_the_forearm():
    """A hand in rows 0 to 5, its wrist at row 5, and a forearm below it."""
    drawn, seen = mask((0, 6, 4, 8)), mask((0, 10, 4, 8))
    nothing, points = mask(), hand_points((6, 5.0), (6, 1.0))
    # Row 5 lies beyond the line, is drawn and is in the mask: it counts; rows 6 to 9 do not.
    assert hand_silhouette_iou(drawn, seen, nothing, points) == 1.0
    # The same picture with the fingers below: then rows 6 to 9 are hand, and missing.
    assert hand_silhouette_iou(drawn, seen, nothing, hand_points((6, 1.0), (6, 5.0))) == pytest.approx(6 / 10)
    # Drawn beyond the wrist where no hand is seen is wrong.
    assert hand_silhouette_iou(mask((0, 8, 4, 8)), mask((0, 6, 4, 8)), nothing, points) == pytest.approx(6 / 8)
    # The line is at right angles to the hand's direction: a forearm to the side of a slanted hand.
    slanted = hand_points((6, 5.0), (8, 3.0))
    assert hand_silhouette_iou(drawn, mask((0, 6, 4, 8), (3, 10, 0, 4)), nothing, slanted) == 1.0
    assert hand_silhouette_iou(drawn, mask((0, 6, 4, 8), (0, 3, 8, 12)), nothing, slanted) == pytest.approx(24 / 36)
    # A hand that points at the camera has no forearm to leave out.
    assert hand_silhouette_iou(drawn, seen, nothing, hand_points((6, 5.0), (6.2, 4.9))) == pytest.approx(6 / 10)
    assert hand_silhouette_iou(nothing, nothing, nothing, points) == 0.0
    # Bases one and a half pixels from the wrist tell where the forearm is.
    assert hand_silhouette_iou(drawn, seen, nothing, hand_points((6, 5.0), (6, 3.5))) == 1.0
    # A hand that hangs down has its forearm in the rows above the wrist, 0 to 4, and no row of it counts.
    assert hand_silhouette_iou(mask((5, 10, 4, 8)), seen, nothing, hand_points((6, 5.0), (6, 9.0))) == 1.0


def test_hand_iou_does_not_count_what_the_object_hides():
    drawn, seen, object_mask = mask((0, 6, 4, 8)), mask((0, 3, 4, 8)), mask((3, 8, 0, 12))
    points = hand_points((6, 5.0), (6, 1.0))
    assert hand_silhouette_iou(drawn, seen, object_mask, points) == 1.0
    assert hand_silhouette_iou(drawn, mask((0, 4, 4, 8)), object_mask, points) == 1.0
    assert hand_silhouette_iou(drawn, seen, mask((3, 5, 0, 12)), points) == pytest.approx(12 / 16)


def test_keypoint_error_in_pixels_and_of_the_box():
    detected = np.array([[0.0, 0.0], [40, 10], [20, 80], [np.nan, 5]])
    projected = detected + [3, 4]
    projected[2] += [3, 4]
    projected[3] = 1000
    assert keypoint_error(projected, detected) == pytest.approx((20 / 3, 20 / 3 / 80))
    assert keypoint_error(projected[3:], detected[3:]) == (None, None)
    assert keypoint_error(projected[:1], detected[:1]) == (5.0, None)


def test_occlusion_agreement_asks_where_both_are_drawn_and_the_masks_tell():
    hand_depth, object_depth = np.full((10, 12), np.inf), np.full((10, 12), np.inf)
    hand_depth[:, :8], object_depth[:, 4:] = 0.5, 0.6
    # Both are drawn in columns 4 to 7, the hand before the object.
    columns = ((0, 10, 4, 5), (0, 10, 5, 6), (0, 10, 6, 7), (0, 10, 7, 8))
    assert occlusion_agreement(hand_depth, object_depth, mask(columns[0]), mask(*columns[1:])) == 0.25
    assert occlusion_agreement(hand_depth + 0.2, object_depth, mask(columns[0]), mask(*columns[1:])) == 0.75
    # In neither mask, or in both: column 7, and column 6.
    assert occlusion_agreement(hand_depth + 0.2, object_depth, mask(columns[2]), mask(*columns[:3])) == 1.0
    assert occlusion_agreement(hand_depth, object_depth, mask((0, 10, 0, 4)), mask((0, 10, 8, 12))) is None


def test_picture_metrics_of_two_squares():
    """A camera of 10 pixels per metre at 1 m: a hand of 8 x 10 pixels before an object of 10 x 6 that it half hides."""
    camera = Camera(focal=jnp.array([10.0, 10.0]), principal=jnp.array([12.0, 8.0]))
    shape = (16, 24)
    palm = box((0.8, 1.0, 0.02), (-0.4, 0, 1.01))  # its front at 1 m: columns 4 to 12 and rows 3 to 13
    thing = box((2.0, 1.2, 0.02), (0, 0, 2.01))  # its front at 2 m: columns 7 to 17 and rows 5 to 11
    keypoints = np.tile([-0.4, 0.0, 1.0], (21, 1))
    keypoints[0], keypoints[9] = [-0.4, 0.5, 1.0], [-0.4, 0.0, 1.0]  # pixels (8, 13) and (8, 8)
    detected = np.tile([8.0, 8.0], (21, 1))
    detected[0] = [8.0, 18.0]
    hand_mask = mask((3, 16, 4, 12), shape=shape)  # and a forearm down to the picture's edge
    object_mask = mask((5, 11, 12, 18), shape=shape)
    masks = {"hand_mask": hand_mask, "object_mask": object_mask}
    found = picture_metrics(camera, palm, thing, **masks, keypoints=keypoints, detected=detected)
    assert tuple(found) == tuple(PICTURE_METRICS)
    expected = {
        "masked_iou": 30 / 36,  # columns 12 to 17 of 12 to 18
        "hand_iou": 1.0,
        "keypoint_error_px": 5 / 21,
        "keypoint_error_share": 5 / 21 / 10,
        "occlusion_agreement": 1.0,
    }
    assert found == pytest.approx(expected)
    # The object as seen before the hand, in three of the five columns that they share.
    masks = {
        "hand_mask": hand_mask & ~mask((5, 11, 7, 10), shape=shape),
        "object_mask": mask((5, 11, 7, 10), shape=shape),
    }
    found = picture_metrics(camera, palm, thing, **masks, keypoints=keypoints)
    assert found["occlusion_agreement"] == pytest.approx(2 / 5)
    assert found["keypoint_error_px"] is None and found["keypoint_error_share"] is None
    assert found["hand_iou"] == 1.0
