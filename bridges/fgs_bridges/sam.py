"""Masks by the Segment Anything models. Their pictures are prepared here, in Pillow and numpy: transformers' own
preparation needs torchvision for SAM 2 and SAM 3."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
import PIL.Image
from jaxtyping import Float, Int
from numpy import ndarray

from fgs_bridges.geometry import box_iou
from fgs_bridges.pretrained import load_model, load_processor, made_by, one_line, torch_device
from fgs_bridges.segment import checked_prompt, not_empty
from fgs_bridges.types import Box, Image, Mask, Provenance
from fgs_jax.errors import BridgeError, BridgeUnavailable

PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "pillow")

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of colours: SAM, SAM 2."""

HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""SAM 3."""


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
        return not_empty(mask, f"{self.BACKEND}: box {box.round(1).tolist()}")

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
        return not_empty(mask, f"{self.BACKEND}: box {box.round(1).tolist()}")

    def provenance(self) -> Provenance:
        return made_by(self, PACKAGES, "SAM licence")


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


def _tensors(arrays: dict[str, ndarray], device: Any) -> dict[str, Any]:
    import torch

    kinds = {"f": torch.float32, "i": torch.int64}
    return {name: torch.tensor(array, dtype=kinds[array.dtype.kind], device=device) for name, array in arrays.items()}


def _side(size: Any) -> int:
    return int(size if isinstance(size, int) else size[0])
