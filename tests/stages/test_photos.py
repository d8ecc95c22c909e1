"""The main job on real pictures: object pose against the pseudo truth, and the grasp that comes of it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fgs_jax.picture.scene_files import load_scene
from fgs_jax.picture.view import Similarity, masked_iou_of_pose
from fgs_jax.stages.refine import refine
from fgs_jax.testing import of_unknown_size as unknown_size
from tools.photos import DATA, SCENES, TUMBLERS, exact_scenes, photo_scene, photos

needs_photos = pytest.mark.skipif(not photos(exact=True), reason="needs ../shared/data/photos, which is not shipped")


pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def results():
    return {name: refine(scene) for name, scene in exact_scenes().items()}


def test_tumbler_pose(results):
    for name in results.keys() & set(TUMBLERS):
        assert results[name].poses.masked_iou[0] >= 0.95, name


@needs_photos
def test_poses_are_as_good_as_the_pseudo_truth(results):
    meta = json.loads((DATA / "photos" / "meta.json").read_text())
    for name in photos(exact=True):
        truth = meta[name]["pseudo_gt_object_pose"]
        pose = Similarity(np.array(truth["R"]), np.array(truth["t_m"]), 0.0)
        assert results[name].poses.masked_iou[0] >= masked_iou_of_pose(photo_scene(name), pose) - 0.01, name


def test_objects_are_at_the_hand_s_depth(results):
    for name, result in results.items():
        wrist = result.hand_keypoints[0][0, 2]
        assert abs(result.object_vertices(0)[:, 2].mean() - wrist) < 0.1, name


def test_grasps_touch_without_entering_and_stay_on_the_photo(results):
    before, after = ([result.metrics[when] for result in results.values()] for when in range(2))
    before, after = ({key: [m[key] for m in measured] for key in measured[0]} for measured in (before, after))
    assert np.mean(after["mpd_mm"]) <= 1 and np.max(after["mpd_mm"]) <= 2
    assert np.mean(after["siv_cm3"]) <= 0.2
    assert np.mean(after["fingers_in_contact"]) >= 4
    assert np.mean(after["keypoint_error_share"]) <= 0.06
    assert np.mean(after["occlusion_agreement"]) >= 0.75 and np.mean(before["mpd_mm"]) > 5
    for result in results.values():
        assert (result.metrics[1]["masked_iou"] or 0.0) >= result.poses.masked_iou[0] - 0.005


@needs_photos
def test_similar_meshes():
    """Of another object of the kind, whose size is not this one's."""
    ious = []
    for name in photos(exact=False):
        scene = photo_scene(name)
        result = refine(replace(scene, object=replace(scene.object, size="unknown")))
        ious.append(result.poses.masked_iou[0])
        assert (result.metrics[1]["mpd_mm"] or 0.0) <= 2
    assert np.mean(ious) >= 0.85


def test_sizes_are_found():
    """Of meshes scaled by factors between 0.01 and 100."""
    off, touching = [], []
    for seed, name in enumerate(TUMBLERS):
        scaled, factor = unknown_size(load_scene(SCENES / name), seed)
        result = refine(scaled)
        off.append(abs(float(result.after.scale) * factor - 1))
        touching.append(result.metrics[1]["fingers_in_contact"])
        assert (result.metrics[1]["mpd_mm"] or 0.0) <= 2
    assert np.median(off) <= 0.15 and np.mean(touching) >= 4
