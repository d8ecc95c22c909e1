"""Build the example scenes: three frames of a clip of a hand that holds a travel tumbler.

Usage: python tools/build_tumbler_scenes.py SOURCE [OUT_DIR], with SOURCE a folder of the frames, their masks,
meta.json, LICENSE and COPYRIGHT. Writes tumbler (frame 72), tumbler_005 and tumbler_199 to OUT_DIR, which is
examples/scenes unless given, with the licence beside them; scenes that are there are replaced.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fgs_bridges.mediapipe_hands import pictured_landmarks
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.fit import clearer_landmarks
from fgs_jax.objects.mesh import load_object
from fgs_jax.picture.scene import Scene, camera_from_matrix
from fgs_jax.picture.scene_files import save_scene
from fgs_jax.testing.shapes import tumbler

EXAMPLES = Path(__file__).parent.parent / "examples"
SCENES = {"tumbler": 72, "tumbler_005": 5, "tumbler_199": 199}
ATTRIBUTION = (
    "Frame {frame} of doc/js_tutorials/js_assets/cup.mp4, OpenCV, Copyright (C) the OpenCV contributors, "
    "Apache License 2.0; see LICENSE and COPYRIGHT beside this folder"
)


def tumbler_scene(source: Path, frame: int) -> Scene:
    """A frame with what was detected in it, and the tumbler's mesh."""
    name = f"tumbler_{frame:03d}"
    meta = json.loads((source / "meta.json").read_text())[name]
    pictures = (Image.open(source / f"{name}{end}.png") for end in ("", "_object_mask", "_hand_mask"))
    image, object_mask, hand_mask = (np.array(picture) for picture in pictures)
    detected = meta["mediapipe"][0]
    provenance: dict[str, Any] = {
        "image": ATTRIBUTION.format(frame=frame),
        "masks": "traced by hand, visible parts; the hand's holds the forearm",
        "camera": "assumed: the camera of the clip is not known",
        "keypoints": (
            f"MediaPipe {detected['version']}, hand landmarks, score {detected['score']}; it labels this right hand "
            f"{detected['mediapipe_label'].lower()}, because it expects mirrored pictures"
        ),
        "world_landmarks": (
            "the keypoints in the picture with MediaPipe's relative depth, at the size of its world landmarks: these "
            "have the fingers before the thumb"
        ),
        "object": "fgs_jax/testing/shapes.py: revolved from a profile, in metres",
    }
    world = np.array(detected["world_landmarks_m"])
    pictured = pictured_landmarks(np.array(detected["landmarks_px"]), np.array(detected["landmarks_rel_z_px"]), world)
    landmarks = clearer_landmarks(load_hand_model("open_hand"), world, pictured)
    if np.allclose(landmarks, world):
        del provenance["world_landmarks"]
    mesh = tumbler()
    return Scene(
        camera=camera_from_matrix(np.array(meta["K_assumed"])),
        object_mask=object_mask > 127,
        hand_mask=hand_mask > 127,
        hand_vertices=None,
        hand_faces=None,
        object=load_object(mesh, name=meta["object"]),
        image=image,
        side="right",
        keypoints_2d=np.array(detected["landmarks_px"]),
        world_landmarks=np.asarray(landmarks, float),
        prompt=meta["prompt"],
        provenance=provenance,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the example scenes.")
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path, nargs="?", default=EXAMPLES / "scenes")
    arguments = parser.parse_args()
    for name, frame in SCENES.items():
        save_scene(tumbler_scene(arguments.source, frame), arguments.out / name, overwrite=True)
        print(f"wrote {arguments.out / name}")
    for name in ("LICENSE", "COPYRIGHT"):
        shutil.copyfile(arguments.source / name, arguments.out / name)


if __name__ == "__main__":
    main()
