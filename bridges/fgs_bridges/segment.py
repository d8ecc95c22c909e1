"""Masks of the visible parts of a hand and of an object: from a box, from a file, from a posed hand.

The SAM back ends have their own pre-processing in Pillow and numpy: that of transformers needs torchvision for SAM 2
and SAM 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import PIL.Image
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from fgs_bridges.geometry import box_iou, is_box
from fgs_bridges.images import large_parts
from fgs_bridges.pretrained import (
    check_picture,
    first_line,
    load_model,
    load_processor,
    made_by,
    one_line,
    options_of,
    torch_device,
)
from fgs_bridges.provenance import versions, weight_hashes
from fgs_bridges.types import Box, Image, Mask, Provenance
from fgs_jax.errors import BridgeError, BridgeUnavailable, ConfigError
from fgs_jax.files import read_input, read_npy
from fgs_jax.picture import images as pictures

PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "pillow")
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of colours: SAM, SAM 2."""
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""SAM 3."""
BONES = tuple((0 if i % 4 == 1 else i - 1, i) for i in range(1, 21)) + ((5, 9), (9, 13), (13, 17))
"""Pairs of OpenPose's 21 keypoints: each finger from the wrist to its tip, and across the knuckles."""
NEAR = 0.01
"""Metres: a triangle of the hand nearer to the camera than this is not drawn."""


@dataclass
class Sam:
    """SAM (Kirillov et al. 2023) through transformers: of its three masks the one of the greatest predicted IoU."""

    model: str = "facebook/sam-vit-huge"
    """Id on the hub, or a folder."""
    revision: str | None = None
    device: str = "auto"
    _model: Any = field(init=False, repr=False, default=None)

    BACKEND: ClassVar[str] = "sam"
    CLASS: ClassVar[str] = "SamModel"
    SQUARE: ClassVar[bool] = False
    """Whether the picture is stretched to a square, or padded to one on the right and below."""

    def __call__(
        self,
        image: Image,
        *,
        box: Box,
        points: Float[ndarray, "n 2"] | None = None,
        point_labels: Int[ndarray, "n"] | None = None,
    ) -> Mask:
        box, points, point_labels = checked_prompt(image, box, points, point_labels, self.BACKEND)
        if self._model is None:
            device = torch_device(self.device, self.BACKEND)
            self._model = load_model(self.CLASS, self.model, self.revision, device, self.BACKEND)
        import torch

        side = _side(self._model.config.prompt_encoder_config.image_size)
        inner = (side, side) if self.SQUARE else longest_side(image.shape[:2], side)
        scale = np.array(inner[::-1]) / np.array(image.shape[1::-1])
        inputs = {
            "pixel_values": prepared(image, inner, side, *IMAGENET)[None],
            "input_boxes": (box * np.tile(scale, 2))[None, None],
        }
        if len(points):
            inputs |= {"input_points": (points * scale)[None, None], "input_labels": point_labels[None, None]}
        with one_line(self.BACKEND, "the segmenter failed", "try device: cpu or another picture"), torch.no_grad():
            outputs = self._model(**_tensors(inputs, self._model.device), multimask_output=True)
            masks = at_picture_size(outputs.pred_masks[0, 0], inner, side, image.shape[:2]) > 0
            mask = masks[int(outputs.iou_scores[0, 0].argmax())].cpu().numpy()
        return _not_empty(mask, f"{self.BACKEND}: box {box.round(1).tolist()}")

    def provenance(self) -> Provenance:
        return made_by(self, PACKAGES, "Apache-2.0")


@dataclass
class Sam2(Sam):
    """SAM 2.1 (Ravi et al. 2024) through transformers: of its three masks the one of the greatest predicted IoU."""

    model: str = "facebook/sam2.1-hiera-large"

    BACKEND: ClassVar[str] = "sam2"
    CLASS: ClassVar[str] = "Sam2Model"
    SQUARE: ClassVar[bool] = True


@dataclass
class Sam3:
    """SAM 3 (Carion et al. 2025) through transformers: all things like the prompt; of these the one nearest to the box.

    The prompt is a text where one is set, else the box itself, for which transformers needs torchvision. The model on
    the hub is gated.
    """

    model: str = "facebook/sam3"
    """Id on the hub, or a folder."""
    revision: str | None = None
    device: str = "auto"
    text: str = ""
    """What to look for, as "hand" or "mug"; empty: what is in the box."""
    threshold: float = 0.3
    """Least score."""
    _parts: Any = field(init=False, repr=False, default=None)

    BACKEND: ClassVar[str] = "sam3"

    def __call__(
        self,
        image: Image,
        *,
        box: Box,
        points: Float[ndarray, "n 2"] | None = None,
        point_labels: Int[ndarray, "n"] | None = None,
    ) -> Mask:
        box, points, _ = checked_prompt(image, box, points, point_labels, self.BACKEND)
        if len(points):
            raise BridgeError(f"{self.BACKEND}: points: expected none, got {len(points)}: SAM 3 takes a box or a text")
        if not self.text and find_spec("torchvision") is None:
            raise BridgeUnavailable(
                f"{self.BACKEND}: a box as prompt needs torchvision, not installed here: pip install torchvision, "
                "or set the option text"
            )
        if self._parts is None:
            device = torch_device(self.device, self.BACKEND)
            model = load_model("Sam3Model", self.model, self.revision, device, self.BACKEND)
            self._parts = load_processor("CLIPTokenizer", self.model, self.revision, self.BACKEND), model
        tokenizer, model = self._parts
        import torch

        side = _side(model.config.vision_config.backbone_config.image_size)
        inputs = {"pixel_values": prepared(image, (side, side), side, *HALF)[None]}
        size = np.array(image.shape[1::-1], float)
        if not self.text:
            centre = np.concatenate([(box[:2] + box[2:]) / 2, box[2:] - box[:2]]) / np.tile(size, 2)
            inputs |= {"input_boxes": centre[None, None], "input_boxes_labels": np.ones((1, 1), int)}
        with one_line(self.BACKEND, "the segmenter failed", "try device: cpu or another picture"), torch.no_grad():
            text = tokenizer(self.text or "visual", padding="max_length", max_length=32, return_tensors="pt")
            outputs = model(**_tensors(inputs, model.device), **text.to(model.device))
            scores = outputs.pred_logits[0].sigmoid() * outputs.presence_logits[0].sigmoid()
            found = torch.nonzero(scores > self.threshold)[:, 0]
            boxes = outputs.pred_boxes[0, found].cpu().numpy() * np.tile(size, 2)
            overlaps = [box_iou(box, np.sort(other.reshape(2, 2), axis=0).ravel()) for other in boxes]
            if not overlaps or max(overlaps) == 0:
                what = f'"{self.text}"' if self.text else "anything"
                raise BridgeError(
                    f"{self.BACKEND}: expected {what} in the box with a score > {self.threshold}, "
                    f"got {len(overlaps)} elsewhere: check box and text"
                )
            logits = outputs.pred_masks[0, found[int(np.argmax(overlaps))]][None]
            # Probabilities are resized, not logits: as the model's own post-processing does it.
            mask = (at_picture_size(logits.sigmoid(), (side, side), side, image.shape[:2]) > 0.5)[0].cpu().numpy()
        return _not_empty(mask, f"{self.BACKEND}: box {box.round(1).tolist()}")

    def provenance(self) -> Provenance:
        return made_by(self, PACKAGES, "SAM licence")


@dataclass
class GrabCut:
    """GrabCut (Rother et al. 2004) of OpenCV: colours alone, no learnt weights; a fallback that has to be asked for.

    Outside of the box all is background. Points inside are joined to a hand's skeleton where they are 21 keypoints in
    OpenPose's order, and are discs otherwise; so are points outside. What they cover is certain. With a skeleton inside
    a band of twice its width is probably the hand, and the rest of the box probably is not; else the whole box is
    probably the thing. Every part of at least `least_part` of the largest one is kept: fingers split what they hold.
    """

    iterations: int = 5
    seed: int = 0
    band: float = 0.16
    """Width of the skeleton, in parts of the distance from the wrist to the middle finger's knuckle."""
    least_part: float = 0.05

    BACKEND: ClassVar[str] = "grabcut"

    def __call__(
        self,
        image: Image,
        *,
        box: Box,
        points: Float[ndarray, "n 2"] | None = None,
        point_labels: Int[ndarray, "n"] | None = None,
    ) -> Mask:
        import cv2

        box, points, point_labels = checked_prompt(image, box, points, point_labels, self.BACKEND)
        seeds = grabcut_seeds(image.shape[:2], box, points, point_labels, self.band)
        inside = np.isin(seeds, (cv2.GC_FGD, cv2.GC_PR_FGD))
        if not inside.any() or inside.all():
            what = "nothing" if not inside.any() else "the whole picture"
            raise BridgeError(f"{self.BACKEND}: box: expected some background about it, got {what}: give another box")
        with one_line(self.BACKEND, "OpenCV failed", "give another box or use another segmenter"):
            cv2.setRNGSeed(self.seed)
            models = np.zeros((1, 65)), np.zeros((1, 65))
            blue_first = np.ascontiguousarray(image[..., ::-1])
            cv2.grabCut(blue_first, seeds, (0, 0, 0, 0), *models, self.iterations, cv2.GC_INIT_WITH_MASK)
        mask = np.isin(seeds, (cv2.GC_FGD, cv2.GC_PR_FGD))
        return _not_empty(large_parts(mask, self.least_part), f"{self.BACKEND}: box {box.round(1).tolist()}")

    def provenance(self) -> Provenance:
        packages = versions("opencv-python-headless", "opencv-python", "opencv-contrib-python", "numpy")
        return Provenance(
            backend=self.BACKEND,
            versions=packages,
            options=options_of(self),
            seed=self.seed,
            licence="Apache-2.0",
            notes=("masks by colour alone, without a learnt model",),
        )


@dataclass
class MaskFile:
    """A mask that is a file: a picture of the photo's size, 255 inside and 0 outside, a cut-out with its alpha, or
    booleans as .npy."""

    path: str = ""

    BACKEND: ClassVar[str] = "file"

    def __post_init__(self) -> None:
        if not self.path:
            raise ConfigError("file: path: expected a mask file, got none: give the option path")

    def __call__(
        self,
        image: Image,
        *,
        box: Box,
        points: Float[ndarray, "n 2"] | None = None,
        point_labels: Int[ndarray, "n"] | None = None,
    ) -> Mask:
        where = f"file: {self.path}"
        box, _, _ = checked_prompt(image, box, points, point_labels, self.BACKEND)
        mask = read_mask(self.path)
        if mask.shape != image.shape[:2]:
            raise BridgeError(f"{where}: expected the picture's size, {image.shape[:2]}, got {mask.shape}: rescale it")
        left, top = np.floor(box[:2]).astype(int).clip(0)
        right, bottom = np.ceil(box[2:]).astype(int)
        if mask.any() and not mask[top:bottom, left:right].any():
            raise BridgeError(f"{where}: expected pixels in the box {box.round(1).tolist()}, got none: another file?")
        return _not_empty(mask, where)

    def provenance(self) -> Provenance:
        files = [Path(self.path)] if Path(self.path).is_file() else []
        return Provenance(
            backend=self.BACKEND,
            model=self.path,
            versions=versions("numpy", "pillow"),
            weights=weight_hashes(files),
            options=options_of(self),
        )


def visible_masks(hand_mask: Mask, object_mask: Mask, *, silhouette: bool = False) -> tuple[Mask, Mask]:
    """Masks of hand and object without common pixels.

    Common pixels are the hand's: fingers are in front of what they hold, and masks of objects run over them. They are
    the object's where they are more than half of it, as then the hand's mask has run over the object, and where the
    hand's mask is a `silhouette`, which holds hidden parts too. Raises BridgeError where nothing of one is left.
    """
    if hand_mask.shape != object_mask.shape or hand_mask.dtype != bool or object_mask.dtype != bool:
        came = f"{hand_mask.dtype} {hand_mask.shape} and {object_mask.dtype} {object_mask.shape}"
        raise BridgeError(f"masks: expected booleans of one shape, got {came}: use masks of one picture")
    common = hand_mask & object_mask
    to_object = silhouette or common.sum() > object_mask.sum() / 2
    hand, thing = (hand_mask & ~common, object_mask) if to_object else (hand_mask, object_mask & ~common)
    for name, mask in (("hand", hand), ("object", thing)):
        if not mask.any():
            raise BridgeError(f"masks: expected pixels of the {name} alone, got none: segment it with another box")
    return hand, thing


def silhouette_mask(
    vertices: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"], K: Float[ndarray, "3 3"], size: tuple[int, int]
) -> Mask:
    """Pixels whose centres a mesh covers, hidden parts and all; `size` is (height, width).

    Vertices in metres, camera frame; K in pixels, corner convention. Raises BridgeError where none is covered.
    """
    height, width = size
    mask = np.zeros(size, bool)
    projected = vertices.astype(float) @ np.asarray(K, float).T
    seen = faces[(vertices[faces][..., 2] > NEAR).all(axis=1)]
    for a, b, c in (projected[seen][..., :2] / projected[seen][..., 2:])[..., :2]:
        left, top = np.floor(np.minimum(np.minimum(a, b), c)).clip(0, (width, height)).astype(int)
        right, bottom = np.ceil(np.maximum(np.maximum(a, b), c)).clip(0, (width, height)).astype(int)
        u, v = np.arange(left, right)[None] + 0.5, np.arange(top, bottom)[:, None] + 0.5
        turns = np.stack([(q[0] - p[0]) * (v - p[1]) - (q[1] - p[1]) * (u - p[0]) for p, q in ((a, b), (b, c), (c, a))])
        mask[top:bottom, left:right] |= (turns >= 0).all(axis=0) | (turns <= 0).all(axis=0)
    return _not_empty(mask, "silhouette: check the hand's camera")


def checked_prompt(
    image: Any, box: Any, points: Any, point_labels: Any, backend: str
) -> tuple[Box, Float[ndarray, "n 2"], Int[ndarray, "n"]]:
    """Box cut to the picture, points and their labels (1, inside, where none are given). Raises BridgeError."""
    check_picture(image, backend)
    box = np.asarray(box, float)
    if not is_box(box):
        raise BridgeError(
            f"{backend}: box: expected [left, top, right, bottom], got {box.tolist()}: check the detector"
        )
    size = np.array(image.shape[1::-1] * 2, float)
    cut = np.clip(box, 0, size)
    if not (cut[:2] < cut[2:]).all():
        came = f"{box.tolist()} in one of {image.shape[1]} x {image.shape[0]}"
        raise BridgeError(f"{backend}: box: expected one within the picture, got {came}: check the detector")
    if points is None:
        if point_labels is not None:
            raise BridgeError(f"{backend}: point_labels: expected points with them, got none: give points")
        return cut, np.empty((0, 2)), np.empty(0, int)
    points = np.asarray(points, float)
    labels = np.ones(len(points), int) if point_labels is None else np.asarray(point_labels)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all() or labels.shape != points.shape[:1]:
        came = f"{points.shape} and {labels.shape}"
        raise BridgeError(f"{backend}: points: expected (n, 2) finite numbers and n labels, got {came}: check them")
    if not np.isin(labels, (0, 1)).all():
        raise BridgeError(f"{backend}: point_labels: expected 1 (inside) or 0 (outside), got {labels.tolist()}")
    return cut, points, labels.astype(int)


def longest_side(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """(height, width) with the longer one `side`, rounded half up."""
    height, width = (int(length * side / max(shape) + 0.5) for length in shape)
    return height, width


def prepared(
    image: Image, inner: tuple[int, int], side: int, mean: Sequence[float], std: Sequence[float]
) -> Float[ndarray, "3 s s"]:
    """What the SAM models see: resized to `inner` (height, width) by an antialiased bilinear filter, colours less
    their mean in standard deviations, then zeros on the right and below up to a square of `side`."""
    with one_line("picture", "cannot be resized", "use a picture of another shape"):
        resized = PIL.Image.fromarray(image).resize((inner[1], inner[0]), PIL.Image.Resampling.BILINEAR)
    values = (np.asarray(resized, np.float32) / 255 - np.array(mean, np.float32)) / np.array(std, np.float32)
    padded = np.zeros((3, side, side), np.float32)
    padded[:, : inner[0], : inner[1]] = values.transpose(2, 0, 1)
    return padded


def at_picture_size(masks: Any, inner: tuple[int, int], side: int, size: tuple[int, ...]) -> Any:
    """Masks (n, h, w) of the padded square, resized bilinearly to the picture's (height, width) without the padding."""
    from torch.nn.functional import interpolate

    masks = masks[None].float()
    if inner != (side, side):
        masks = interpolate(masks, (side, side), mode="bilinear", align_corners=False)[..., : inner[0], : inner[1]]
    return interpolate(masks, tuple(size), mode="bilinear", align_corners=False)[0]


def grabcut_seeds(
    shape: tuple[int, ...],
    box: Box,
    points: Float[ndarray, "n 2"],
    point_labels: Int[ndarray, "n"],
    band: float = 0.16,
) -> ndarray:
    """OpenCV's labels (0 background, 1 foreground, 2 probably back-, 3 probably foreground), bytes (h, w)."""
    seeds = np.zeros(shape, np.uint8)
    (left, top), (right, bottom) = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
    within = np.zeros(shape, bool)
    within[top:bottom, left:right] = True
    inside, outside = points[point_labels == 1], points[point_labels == 0]
    radius = max(1.0, 0.02 * float(np.linalg.norm(box[2:] - box[:2])))
    seeds[within] = 2 if len(inside) == 21 else 3
    if len(inside) == 21:
        seeds[within & _covered(shape, inside, 2 * band, radius)] = 3
    seeds[within & _covered(shape, inside, band / 2, radius)] = 1
    seeds[_covered(shape, outside, band / 2, radius)] = 0
    return seeds


def read_mask(path: str) -> Mask:
    """Booleans of a .npy file, or the mask of a picture (`fgs_jax.picture.images.read_mask`). Raises BridgeError."""
    expected = "a picture or a .npy file"
    try:
        data = read_input(Path(path), expected, BridgeError)
        if Path(path).suffix.lower() != ".npy":
            return pictures.read_mask(data)
        mask = read_npy(data)
    except BridgeError as error:
        raise BridgeError(f"file: {error}") from error
    except pictures.NotAMaskError as error:
        raise BridgeError(f"file: {path}: {error}") from error
    except Exception as error:  # of damaged arrays numpy has several
        came = f"none ({first_line(error)})"
        raise BridgeError(f"file: {path}: expected {expected}, got {came}: check the file") from error
    if mask.ndim != 2 or mask.dtype != bool:
        came = f"{mask.dtype} {mask.shape}"
        raise BridgeError(f"file: {path}: expected booleans of shape (h, w), got {came}: threshold it")
    return mask


def _covered(shape: tuple[int, ...], points: Float[ndarray, "n 2"], band: float, radius: float) -> Bool[ndarray, "h w"]:
    """Pixels of a skeleton of 21 keypoints, `band` hand lengths wide; of discs about other points."""
    if len(points) != 21:
        y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
        discs = [np.hypot(x - point[0], y - point[1]) <= radius for point in points]
        return np.any(discs, axis=0) if discs else np.zeros(shape, bool)
    import cv2

    drawn = np.zeros(shape, np.uint8)
    # OpenCV draws pixel (0, 0) about its centre, keypoints count from its corner; 4 bits are a sixteenth of a pixel.
    places = np.round((points - 0.5) * 16).astype(int)
    width = max(1, round(band * float(np.linalg.norm(points[0] - points[9]))))
    for a, b in BONES:
        cv2.line(drawn, places[a].tolist(), places[b].tolist(), 1, width, shift=4)
    return drawn > 0


def _tensors(arrays: dict[str, ndarray], device: Any) -> dict[str, Any]:
    import torch

    kinds = {"f": torch.float32, "i": torch.int64}
    return {name: torch.tensor(array, dtype=kinds[array.dtype.kind], device=device) for name, array in arrays.items()}


def _side(size: Any) -> int:
    return int(size if isinstance(size, int) else size[0])


def _not_empty(mask: Mask, where: str) -> Mask:
    if not mask.any():
        raise BridgeError(f"{where}: expected a mask, got an empty one: give another box, points or segmenter")
    return mask
