"""Both open hands in several poses and shapes, and one fitted to a photo, as one picture.

python examples/hand_gallery.py --out out/hand_gallery.png
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from PIL import Image, ImageDraw

from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.fit import fit_hand
from fgs_jax.hands.mano import hand, pose_from_joint_angles
from fgs_jax.picture.render import render
from fgs_jax.picture.scene_files import load_scene
from fgs_jax.solve.least_squares import least_squares
from fgs_jax.types import Camera, HandModel, HandParams

SCENE = Path(__file__).parent / "scenes" / "tumbler"
CELL = (320, 340)
SKIN = (0.87, 0.70, 0.60)
REGION_COLOURS = np.array([[9, 3, 2], [9, 7, 2], [4, 7, 3], [2, 5, 8], [6, 4, 7], [4, 7, 7]]) / 10
INDEX, MIDDLE, PINKY, RING, THUMB = (slice(first, first + 3) for first in range(0, 15, 3))

# The camera's axes (right, down, forward) in the hand's rest frame: fingers -x, back of the hand +y, thumb +z.
PALM = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
BACK = np.array([[0, 0, -1], [1, 0, 0], [0, -1, 0]])
THUMB_SIDE = np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]])
OBLIQUE = np.array([[0, 0.7071, 0.7071], [1, 0, 0], [0, 0.7071, -0.7071]])
FROM_ABOVE = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])  # of a hand that is given along a camera's axes


def fist() -> jax.Array:
    """Joint angles (twist, spread, bend) of closed fingers, side by side, and a thumb across them."""
    degrees = np.zeros((15, 3))
    for finger, spread in ((INDEX, -4), (MIDDLE, 6), (RING, 9), (PINKY, 25)):
        degrees[finger] = (0, spread, 80), (0, 0, 100), (0, 0, 60)
    degrees[THUMB] = (40, 22, 40), (0, 0, 30), (0, 0, 30)
    return jnp.deg2rad(degrees)


def pinch(model: HandModel) -> jax.Array:
    """Joint angles near a relaxed hand's that bring the pads of thumb and index together."""
    degrees = np.zeros((15, 3))
    for finger, bend in ((INDEX, 45), (MIDDLE, 30), (RING, 25), (PINKY, 20)):
        degrees[finger, 2] = bend, 0.9 * bend, 0.6 * bend
    degrees[THUMB] = (40, 20, 35), (0, 0, 15), (0, 0, 25)
    relaxed, spread = jnp.deg2rad(degrees), jnp.deg2rad(jnp.array([[5.0, 5.0, 15.0]]))
    thumb, index = (np.flatnonzero(model.regions == k) for k in (0, 1))

    def residuals(offset):
        pose = pose_from_joint_angles(model, relaxed + spread * offset.reshape(15, 3))
        vertices = hand(model, HandParams(pose=pose)).vertices
        gap = jnp.linalg.norm(vertices[thumb].mean(axis=0) - vertices[index].mean(axis=0))
        return jnp.append(offset, (gap - 0.005) / 0.0005)  # pads are round: they touch with their means 5 mm apart

    solution = jax.jit(lambda start: least_squares(residuals, start, steps=20))(jnp.zeros(45))
    return relaxed + spread * solution.value.reshape(15, 3)


def captioned(picture: np.ndarray, caption: str) -> Image.Image:
    image = Image.fromarray(picture)
    ImageDraw.Draw(image).text((8, 4), caption, fill=(40, 40, 40), font_size=16)
    return image


def cell(caption: str, vertices, model: HandModel, axes, *, colours=SKIN, size=CELL) -> Image.Image:
    """The hand about the middle of its box, at 1.3 pixels a millimetre."""
    points = np.asarray(vertices) @ axes.T
    points = points - (points.min(axis=0) + points.max(axis=0)) / 2 + np.array([0, 0, 0.7])
    camera = Camera(focal=jnp.full(2, 910.0), principal=jnp.array([size[0] / 2, size[1] / 2 + 10]))
    return captioned(render(camera, size, [(points, model.faces, colours)]), caption)


def poses_and_shapes(model: HandModel, pinched: jax.Array) -> list[Image.Image]:
    pose = jax.jit(lambda angles, betas: hand(model, HandParams(betas, pose_from_joint_angles(model, angles))))
    flat, mean = jnp.zeros((15, 3)), jnp.zeros(10)
    rest = pose(flat, mean).vertices
    cells = [
        cell(f"{model.name}: rest, palm", rest, model, PALM),
        cell("rest, back", rest, model, BACK),
        cell("rest, thumb side", rest, model, THUMB_SIDE),
        cell("fist, from palm and thumb side", pose(fist(), mean).vertices, model, OBLIQUE),
        cell("pinch, thumb side", pose(pinched, mean).vertices, model, THUMB_SIDE),
    ]
    for k, value in ((0, -2), (0, 2), (1, -2), (1, 2)):
        shaped = pose(flat, mean.at[k].set(value))
        length = 1000 * jnp.linalg.norm(shaped.keypoints[12] - shaped.keypoints[0])  # wrist to middle fingertip
        cells.append(cell(f"beta {k} = {value:+d}: {length:.0f} mm long", shaped.vertices, model, PALM))
    colours = np.where(model.regions[:, None] < 0, SKIN, REGION_COLOURS[model.regions])
    return [*cells, cell("contact regions: pads, palm", rest, model, PALM, colours=colours)]


def fitted_to_photo(model: HandModel) -> list[Image.Image]:
    scene = load_scene(SCENE)
    camera, frame, pixels = scene.camera, np.asarray(scene.image), np.asarray(scene.keypoints_2d)
    fit = jax.jit(lambda *seen: fit_hand(model, keypoints_2d=seen[0], camera=seen[1], world_landmarks=seen[2]))
    fitted = fit(jnp.array(pixels), camera, jnp.array(scene.world_landmarks))
    vertices = hand(model, fitted.params).vertices
    caption = f"{model.name} fitted to landmarks (blue), {fitted.error_2d:.1f} px from them on average"
    size = frame.shape[1], frame.shape[0]
    over = captioned(render(camera, size, [(vertices, model.faces, SKIN)], background=frame), caption)
    for x, y in pixels:
        ImageDraw.Draw(over).ellipse((x - 3, y - 3, x + 3, y + 3), fill=(40, 90, 220))
    plain = captioned(frame, "a frame (OpenCV contributors, Apache-2.0)")
    return [plain, over, cell("the fit from above", vertices, model, FROM_ABOVE, size=(320, 480))]


def main(out: Path = Path("out/hand_gallery.png")) -> None:
    """Draws the gallery and writes it to a PNG file."""
    models = [load_hand_model(name) for name in ("open_hand", "open_hand_full")]
    pinched = pinch(models[0])  # joint angles mean the same on both
    cells = [picture for model in models for picture in poses_and_shapes(model, pinched)] + fitted_to_photo(models[0])
    gallery = Image.new("RGB", (5 * CELL[0], 4 * CELL[1] + 480), "white")
    x = y = 0
    for picture in cells:
        gallery.paste(picture, (x, y))
        x, y = (0, y + picture.height) if x + picture.width == gallery.width else (x + picture.width, y)
    out.parent.mkdir(parents=True, exist_ok=True)
    gallery.save(out, optimize=True)
    print(f"wrote {out}")


if __name__ == "__main__":
    tyro.cli(main)
