"""A thousand random rotations of a tumbler, refined against one photo: the pose over time, and the energies.

python examples/opa_thousand_rotations.py --out out
"""

import time
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from PIL import Image, ImageDraw

from fgs_jax.config import FAST_OPA
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.fit import fit_hand
from fgs_jax.hands.mano import hand
from fgs_jax.picture.render import render
from fgs_jax.picture.scene import Scene
from fgs_jax.picture.scene_files import load_scene
from fgs_jax.stages.opa import approximate

SCENE = Path(__file__).parent / "scenes" / "tumbler"
SKIN, PLASTIC = (0.87, 0.70, 0.60), (0.30, 0.55, 0.85)
PLOT = (640, 480)


def tumbler_scene() -> Scene:
    """The frame that ships with the examples, and the hand fitted to its keypoints."""
    scene, model = load_scene(SCENE), load_hand_model("open_hand")
    fit = jax.jit(lambda p, w: fit_hand(model, keypoints_2d=p, camera=scene.camera, world_landmarks=w))(
        jnp.array(scene.keypoints_2d), jnp.array(scene.world_landmarks)
    )
    vertices = np.asarray(hand(model, fit.params).vertices, float)
    return replace(scene, hand_params=fit.params, hand_vertices=vertices, hand_faces=np.asarray(model.faces))


def overlay(scene: Scene, rotation: np.ndarray, translation: np.ndarray, caption: str) -> Image.Image:
    """The object at a pose, and the hand, over the photo."""
    placed, photo = scene.object.vertices @ rotation.T + translation, np.asarray(scene.image)
    meshes = [(placed, scene.object.faces, PLASTIC), (*scene.posed_hand(), SKIN)]
    picture = Image.fromarray(render(scene.camera, photo.shape[1::-1], meshes, background=photo))
    ImageDraw.Draw(picture).text((8, 4), caption, fill=(20, 20, 20), font_size=20)
    return picture


def energies(curves: np.ndarray, caption: str) -> Image.Image:
    """Energy over steps on a logarithmic axis, a line each."""
    picture = Image.new("RGB", PLOT, "white")
    draw = ImageDraw.Draw(picture)
    low, high = np.floor(np.log10(curves.min())), np.ceil(np.log10(curves.max()))
    x = 60 + (PLOT[0] - 80) * np.arange(curves.shape[1]) / (curves.shape[1] - 1)
    y = 40 + (PLOT[1] - 80) * (high - np.log10(curves)) / (high - low)
    for decade in range(int(low), int(high) + 1):
        level = 40 + (PLOT[1] - 80) * (high - decade) / (high - low)
        draw.line((60, level, PLOT[0] - 20, level), fill=(225, 225, 225))
        draw.text((8, level - 8), f"1e{decade}", fill=(90, 90, 90), font_size=14)
    for k in range(len(curves) - 1, -1, -1):
        draw.line(list(zip(x, y[k], strict=True)), fill=(200, 60, 40) if k == 0 else (120, 150, 200), width=2)
    draw.text((60, 8), caption, fill=(20, 20, 20), font_size=18)
    draw.text((PLOT[0] // 2 - 20, PLOT[1] - 26), "step", fill=(90, 90, 90), font_size=14)
    return picture


def main(out: Path = Path("out"), restarts: int = 1000) -> None:
    """Writes OUT/opa_poses.png and OUT/opa_energies.png."""
    scene, key = tumbler_scene(), jax.random.key(0)
    for attempt in ("with compilation", "again"):
        begin = time.perf_counter()
        found = approximate(scene, key, restarts)
        print(f"{restarts} rotations, {attempt}: {time.perf_counter() - begin:.2f} s, masked IoU {found.masked_iou}")
    panels = []
    for phases in range(len(FAST_OPA.phases)):
        config = replace(FAST_OPA, phases=FAST_OPA.phases[: phases + 1], polish_evaluations=0, candidates=1)
        pose = approximate(scene, key, restarts, count=1, config=config)
        caption = f"best after phase {phases + 1}, IoU {pose.masked_iou[0]:.2f}"
        panels.append(overlay(scene, pose.rotation[0], pose.translation[0], caption))
    for k in range(min(2, len(found.scale))):
        caption = f"{'best' if k == 0 else 'next'} after the polish, IoU {found.masked_iou[k]:.3f}"
        panels.append(overlay(scene, found.rotation[k], found.translation[k], caption))
    panels.insert(0, Image.fromarray(np.asarray(scene.image)))
    everyone = replace(FAST_OPA, candidates=64, distinct_angle=0.0, distinct_share=0.0, polish_evaluations=0)
    curves = np.concatenate(approximate(scene, key, restarts, count=64, config=everyone).history, axis=1)
    curves = curves[np.argsort(curves[:, -1])]
    plot = energies(curves, f"energy of the last {len(curves)} of {restarts} starts (red: the best)")
    panels = [*panels[:5], plot]
    sheet = Image.new("RGB", (3 * 640, 2 * 480), "white")
    for place, panel in enumerate(panels):
        sheet.paste(panel, (640 * (place % 3), 480 * (place // 3)))
    out.mkdir(parents=True, exist_ok=True)
    sheet.resize((1440, 720)).save(out / "opa_poses.png", optimize=True)
    plot.save(out / "opa_energies.png")
    print(f"wrote {out / 'opa_poses.png'} and {out / 'opa_energies.png'}")


if __name__ == "__main__":
    tyro.cli(main)
