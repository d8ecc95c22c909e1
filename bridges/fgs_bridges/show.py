"""All that a scene holds, drawn into one picture, to be looked at before anything is refined."""

import io
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_erosion
from scipy.spatial.transform import Rotation

from fgs_bridges.estimates import pose
from fgs_jax.errors import SceneError
from fgs_jax.files import write_file_whole
from fgs_jax.objects.mesh import ObjectMesh
from fgs_jax.objects.simplifying import simplify
from fgs_jax.picture.render import render
from fgs_jax.picture.scene import Scene
from fgs_jax.types import Camera

HAND, OBJECT = (240, 150, 60), (60, 130, 240)
FINGERS = {
    "thumb": (230, 60, 60),
    "index": (240, 190, 40),
    "middle": (90, 200, 80),
    "ring": (60, 200, 220),
    "pinky": (190, 90, 230),
}
WIDEST, VIEW, MARGIN, LINE = 900, 260, 12, 20
"""Pixels: the picture's longer side as drawn, a view of a mesh, and text."""
VIEWS = {"from +z": (0, 0), "from +x": (0, -90), "from +y": (90, 0)}
"""Of the object, by the axis of its file that points at us: turns about x and y, degrees."""


def show_scene(scene: Scene, path: Path, *, overwrite: bool = False) -> None:
    """Writes `overlay(scene)` as a PNG file, whole or not at all.

    Raises SceneError where the file is there already or cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise SceneError(f"{path}: expected the name of a PNG file; end it with .png")
    if path.exists() and not overwrite:
        raise SceneError(f"{path}: is there already; give another --out, or --overwrite to replace it")
    Image.fromarray(overlay(scene)).save(buffer := io.BytesIO(), "PNG")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file_whole(path, buffer.getvalue())
    except OSError as error:
        raise SceneError(f"{path}: cannot be written ({error.strerror}); choose another place") from error


def overlay(scene: Scene) -> UInt8[ndarray, "h w 3"]:
    """The picture with both masks tinted and outlined, boxes, keypoints and the posed hand; the object's mesh beside
    it, and the scene's numbers in words."""
    picture, notes = _annotated(scene)
    column = _meshes(scene)
    lines = [*words_of(scene), *notes]
    height = max(picture.height, column.height) + 2 * MARGIN
    width = picture.width + column.width + 3 * MARGIN
    wrapped = [part for line in lines for part in _wrapped(line, width - 2 * MARGIN)]
    page = Image.new("RGB", (width, height + LINE * (len(wrapped) + 2)), "white")
    page.paste(picture, (MARGIN, MARGIN))
    page.paste(column, (picture.width + 2 * MARGIN, MARGIN))
    draw = ImageDraw.Draw(page)
    _legend(draw, MARGIN, height)
    for k, line in enumerate(wrapped):
        draw.text((MARGIN, height + LINE * (k + 1)), line, fill="black", font=_font(14))
    return np.array(page)


def posed_vertices(scene: Scene) -> tuple[Float[ndarray, "v 3"], ndarray] | None:
    """The hand's mesh: the scene's own, else its parameters posed where their hand model is here, else None."""
    if scene.hand_vertices is not None and scene.hand_faces is not None:
        return scene.hand_vertices, scene.hand_faces
    if scene.hand_params is None:
        return None
    return pose(scene.hand_model, scene.side, scene.hand_params)


def _annotated(scene: Scene) -> tuple[Image.Image, list[str]]:
    """The picture with all that lies in its plane, and what could not be drawn."""
    height, width = scene.object_mask.shape
    scale = WIDEST / max(height, width)
    size = round(scale * width), round(scale * height)
    photo = np.full((height, width, 3), 128, np.uint8) if scene.image is None else scene.image
    pixels = np.array(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC)).astype(float)
    notes = [] if scene.image is not None else ["no picture: masks on grey"]
    for mask, colour in ((scene.hand_mask, HAND), (scene.object_mask, OBJECT)):
        large = np.array(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        pixels[large] += 0.35 * (np.array(colour) - pixels[large])
        pixels[_outline(large)] = colour
    posed = posed_vertices(scene)
    if posed is not None:
        camera = Camera(focal=scene.camera.focal * scale, principal=scene.camera.principal * scale)
        background = np.rint(pixels).astype(np.uint8)
        drawn = render(camera, size, [(*posed, (0.92, 0.9, 0.86))], background, antialias=1)
        pixels += 0.6 * (drawn - pixels)
    elif scene.hand_params is not None:
        notes.append(f"hand parameters of {scene.hand_model}, which is not here: its mesh is not drawn")
    picture = Image.fromarray(np.rint(pixels).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for name, box, colour in (("hand", scene.hand_box, HAND), ("object", scene.object_box, OBJECT)):
        if box is not None:
            left, top, right, bottom = (float(scale * x) for x in box)
            draw.rectangle((left, top, right, bottom), outline=colour, width=3)
            _label(draw, (left + 4, top + 3), name, colour)
    if scene.keypoints_2d is not None:
        _skeleton(draw, scale * scene.keypoints_2d, scene.keypoint_confidence)
    return picture, notes


def _outline(mask: Bool[ndarray, "h w"]) -> Bool[ndarray, "h w"]:
    """Two pixels wide, inside."""
    return mask & ~np.asarray(binary_erosion(mask, iterations=2), bool)


def _skeleton(
    draw: ImageDraw.ImageDraw, points: Float[ndarray, "21 2"], confidence: Float[ndarray, "21"] | None
) -> None:
    """Bones and keypoints, a colour for each finger; keypoints of no confidence are left out."""
    seen = np.isfinite(points).all(axis=1) & (np.ones(21) if confidence is None else confidence > 0).astype(bool)
    for finger, colour in enumerate(FINGERS.values()):
        chain = [0, *range(4 * finger + 1, 4 * finger + 5)]
        for a, b in pairwise(chain):
            if seen[a] and seen[b]:
                draw.line([*points[a], *points[b]], fill="black", width=5)
                draw.line([*points[a], *points[b]], fill=colour, width=3)
        for k in chain[1:]:
            if seen[k]:
                _dot(draw, points[k], colour)
    if seen[0]:
        _dot(draw, points[0], (255, 255, 255))


def _dot(draw: ImageDraw.ImageDraw, point: Float[ndarray, "2"], colour: tuple[int, int, int]) -> None:
    x, y = point
    draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=colour, outline="black")


def _meshes(scene: Scene) -> Image.Image:
    """The object's mesh from three sides, and the picture of the object alone, if there is one, in a column."""
    mesh = simplify(scene.object, 5000)
    tiles = [(name, _view(mesh, *turn)) for name, turn in VIEWS.items()]
    if scene.object_image is not None:
        alone = Image.fromarray(scene.object_image)
        alone.thumbnail((VIEW, VIEW))
        tiles.append(("its picture", alone))
    column = Image.new("RGB", (VIEW, sum(tile.height for _, tile in tiles)), "white")
    draw, top = ImageDraw.Draw(column), 0
    for name, tile in tiles:
        column.paste(tile, (0, top))
        draw.text((4, top + 3), name, fill="black", font=_font(13))
        top += tile.height
    return column


def _view(mesh: ObjectMesh, about_x: float, about_y: float) -> Image.Image:
    points = mesh.vertices - (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2
    points = points / np.linalg.norm(points, axis=1).max()
    # y up here, y down in the camera.
    turned = Rotation.from_euler("yx", [about_y, 180 + about_x], degrees=True).apply(points)
    camera = Camera(focal=np.full(2, 1.9 * VIEW), principal=np.full(2, VIEW / 2))  # pyright: ignore[reportArgumentType]
    red, green, blue = (x / 255 for x in OBJECT)
    return Image.fromarray(render(camera, (VIEW, VIEW), [(turned + [0, 0, 4.2], mesh.faces, (red, green, blue))]))


def words_of(scene: Scene) -> list[str]:
    """What a scene holds, a line each."""
    height, width = scene.object_mask.shape
    focal, principal = (np.asarray(array, float) for array in (scene.camera.focal, scene.camera.principal))
    thing, extent = scene.object, np.ptp(scene.object.vertices, axis=0)
    size = (
        " x ".join(f"{1e3 * x:.0f}" for x in extent) + " mm"
        if thing.size == "metric"
        else "of unknown size, " + " x ".join(f"{x:.3g}" for x in extent) + " in its own units"
    )
    known = {
        "21 keypoints": scene.keypoints_2d is not None,
        "world landmarks": scene.world_landmarks is not None,
        f"parameters ({scene.hand_model})": scene.hand_params is not None,
        "posed mesh": scene.hand_vertices is not None,
    }
    closed = "watertight" if thing.watertight else "open"
    lines = [f'"{scene.prompt}"'] if scene.prompt else []
    lines += [
        f"{scene.side} hand: {', '.join(name for name, there in known.items() if there)}",
        f"object: {thing.name}, {size}, {len(thing.faces)} faces, {closed}",
        f"picture: {width} x {height}; focal length {_pair(focal)} px, principal point {_pair(principal)}",
        f"visible: hand {int(scene.hand_mask.sum())} px, object {int(scene.object_mask.sum())} px, "
        f"both {int((scene.hand_mask & scene.object_mask).sum())} px",
    ]
    said = ((name, scene.provenance.get(key)) for name, key in (("camera", "camera"), ("hand", "hand_pose")))
    return lines + [f"{name}: {words}" for name, words in said if isinstance(words, str)]


def _pair(values: Float[ndarray, "2"]) -> str:
    return " ".join(f"{x:.1f}" for x in values)


def _legend(draw: ImageDraw.ImageDraw, left: int, top: int) -> None:
    for name, colour in {"hand mask": HAND, "object mask": OBJECT, **FINGERS}.items():
        draw.rectangle((left, top + 2, left + 12, top + 14), fill=colour, outline="black")
        draw.text((left + 17, top), name, fill="black", font=_font(13))
        left += 32 + round(draw.textlength(name, font=_font(13)))


def _label(draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, colour: tuple[int, int, int]) -> None:
    draw.text(place, text, fill=colour, font=_font(16), stroke_width=2, stroke_fill="black")


def _wrapped(line: str, width: int) -> list[str]:
    font, lines = _font(14), [""]
    for word in line.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
