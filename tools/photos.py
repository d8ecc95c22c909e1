"""Real pictures as scenes: the tumbler's three frames, and six photos of a folder that is not shipped."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from fgs_bridges.mediapipe_hands import pictured_landmarks
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.fit import clearer_landmarks
from fgs_jax.objects.mesh import load_object
from fgs_jax.picture.scene import Scene, camera_from_matrix
from fgs_jax.picture.scene_files import load_scene

DATA = Path(__file__).parents[2] / "shared" / "data"
SCENES = Path(__file__).parents[1] / "examples" / "scenes"
TUMBLERS = ("tumbler", "tumbler_005", "tumbler_199")


def exact_scenes() -> dict[str, Scene]:
    """Scenes whose mesh has the object's exact shape."""
    return {name: photo_scene(name) for name in photos(exact=True)} | {n: load_scene(SCENES / n) for n in TUMBLERS}


def photos(*, exact: bool) -> list[str]:
    """Names of the photos whose mesh is of the object itself, or of a similar one; none where the folder is missing."""
    if not (DATA / "photos" / "meta.json").exists():
        return []
    meta = json.loads((DATA / "photos" / "meta.json").read_text())
    return [name for name, entry in meta.items() if entry["object_mesh_is_exact_shape"] == exact]


def photo_scene(name: str) -> Scene:
    """A photo with its masks, landmarks and mesh, of the side that the hand looks like."""
    folder = DATA / "photos"
    entry = json.loads((folder / "meta.json").read_text())[name]
    pictures = (np.array(Image.open(folder / f"{name}{end}.png")) for end in ("", "_object_mask", "_hand_mask"))
    image, object_mask, hand_mask = pictures
    detected = entry["mediapipe"][0]
    mesh = next(path for base in (folder, folder.parent) if (path := base / entry["object_mesh"]).exists())
    pixels, world = np.array(detected["landmarks_px"]), np.array(detected["world_landmarks_m"])
    pictured = pictured_landmarks(pixels, np.array(detected["landmarks_rel_z_px"]), world)
    model = load_hand_model("open_hand", entry["appearance_hand"])
    return Scene(
        camera=camera_from_matrix(np.array(entry["K_focal480"]), integer_centres=True),
        object_mask=object_mask > 127,
        hand_mask=hand_mask > 127,
        hand_vertices=None,
        hand_faces=None,
        object=load_object(mesh, name=name),
        image=image[..., :3],
        side=entry["appearance_hand"],
        keypoints_2d=pixels,
        world_landmarks=np.asarray(clearer_landmarks(model, world, pictured), float),
    )
