"""Hands and objects by their names, through transformers. These models do not tell left hands from right ones."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import PIL.Image
from jaxtyping import Float
from numpy import ndarray

from fgs_bridges.detect import cut_to_picture, ordered, without_duplicates
from fgs_bridges.pretrained import check_picture, load_model, load_processor, made_by, one_line, torch_device
from fgs_bridges.types import Detected, Detection, Image, Provenance
from fgs_jax.errors import ConfigError

PACKAGES = ("torch", "transformers", "tokenizers", "torchvision", "numpy", "pillow")


@dataclass
class _ByName:
    """A model that finds what it is told the names of."""

    model: str = ""
    """Id on the hub, or a folder."""
    revision: str | None = None
    device: str = "auto"
    threshold: float = 0.0
    """Least score of a box."""
    overlap: float = 0.7
    """IoU from which two boxes are taken for one thing; the better one stays."""
    hand_name: str = "hand"
    _parts: Any = field(init=False, repr=False, default=None)

    BACKEND: ClassVar[str]

    def provenance(self) -> Provenance:
        return made_by(self, PACKAGES, "Apache-2.0")


@dataclass
class GroundingDino(_ByName):
    """Hands and objects by their names (Liu et al. 2023), through transformers. It does not tell left from right.

    A box's score for a name is its greatest probability over the tokens of that name, and a box goes to the name that
    it has the greater score for.
    """

    model: str = "IDEA-Research/grounding-dino-tiny"
    threshold: float = 0.3

    BACKEND: ClassVar[str] = "grounding-dino"

    def __call__(self, image: Image, object_name: str) -> Detected:
        check_picture(image, self.BACKEND)
        names = _names(self.hand_name, object_name, self.BACKEND)
        if self._parts is None:
            self._parts = _load(self, "GroundingDinoForObjectDetection", "GroundingDinoProcessor")
        processor, model = self._parts
        inputs, outputs = _run(self, processor, model, image, " ".join(f"{name}." for name in names))
        phrases = phrase_tokens(inputs["input_ids"][0].tolist(), processor.tokenizer.convert_tokens_to_ids("."))
        boxes, scores = from_grounding_dino(*_raw(outputs), phrases, image.shape[:2])
        return _found(self, boxes, scores, names, image)


@dataclass
class Owlv2(_ByName):
    """Hands and objects by their names (Minderer et al. 2023), through transformers. It does not tell left from right.

    It sees the picture padded to a square on the right and below, and its boxes are parts of that square.
    """

    model: str = "google/owlv2-base-patch16-ensemble"
    threshold: float = 0.1

    BACKEND: ClassVar[str] = "owlv2"

    def __call__(self, image: Image, object_name: str) -> Detected:
        check_picture(image, self.BACKEND)
        names = _names(self.hand_name, object_name, self.BACKEND)
        if self._parts is None:
            self._parts = _load(self, "Owlv2ForObjectDetection", "Owlv2Processor")
        processor, model = self._parts
        texts = [f"a photo of a {name}" for name in names]
        most = processor.tokenizer.model_max_length
        if any(len(processor.tokenizer(text)["input_ids"]) > most for text in texts):
            raise ConfigError(f'{self.BACKEND}: expected names of at most {most} tokens, got "{names[1]}": shorten it')
        _, outputs = _run(self, processor, model, image, [texts])
        boxes, scores = from_owlv2(*_raw(outputs), image.shape[:2])
        return _found(self, boxes, scores, names, image)


def from_grounding_dino(
    logits: Float[ndarray, "n tokens"],
    boxes: Float[ndarray, "n 4"],
    phrases: Sequence[Sequence[int]],
    size: tuple[int, ...],
) -> tuple[Float[ndarray, "n 4"], Float[ndarray, "n phrases"]]:
    """Boxes in pixels, and their greatest probability over the tokens of each phrase; `size` is (height, width)."""
    probabilities = _sigmoid(logits)
    scores = np.stack([probabilities[:, list(places)].max(axis=1) for places in phrases], axis=1)
    return boxes_from_centres(boxes, (size[1], size[0])), scores


def from_owlv2(
    logits: Float[ndarray, "n texts"], boxes: Float[ndarray, "n 4"], size: tuple[int, ...]
) -> tuple[Float[ndarray, "n 4"], Float[ndarray, "n texts"]]:
    """Boxes in pixels, and each box's probability for each text; `size` is (height, width)."""
    return boxes_from_centres(boxes, (max(size), max(size))), _sigmoid(logits)


def boxes_from_centres(boxes: Float[ndarray, "n 4"], size: tuple[float, float]) -> Float[ndarray, "n 4"]:
    """(left, top, right, bottom) in pixels from (centre x, centre y, width, height) in parts of (width, height)."""
    centre, extent = boxes[:, :2].astype(float), boxes[:, 2:].astype(float)
    return np.concatenate([centre - extent / 2, centre + extent / 2], axis=1) * np.array([*size, *size], float)


def phrase_tokens(tokens: Sequence[int], full_stop: int) -> list[list[int]]:
    """Places of the tokens of each phrase; a phrase ends with a full stop, and the first token is a start mark."""
    stops = [0, *(place for place, token in enumerate(tokens) if token == full_stop)]
    return [list(range(start + 1, stop)) for start, stop in pairwise(stops)]


def _found(backend: _ByName, boxes: ndarray, scores: ndarray, names: tuple[str, str], image: Image) -> Detected:
    """Detections of boxes with a score for each name, (n, 2)."""
    best = scores.argmax(axis=1)
    both = [
        [Detection(box, float(score), name) for box, score in zip(boxes[here], scores[here, i], strict=True)]
        for i, name in enumerate(names)
        for here in [(best == i) & (scores[:, i] > backend.threshold)]
    ]
    hands, objects = (without_duplicates(cut_to_picture(entries, image), backend.overlap) for entries in both)
    where = f'{backend.BACKEND}: score > {backend.threshold} for "{names[0]}" and "{names[1]}"'
    return ordered(hands, objects, image, where)


def _load(backend: _ByName, model_class: str, processor_class: str) -> tuple[Any, Any]:
    device = torch_device(backend.device, backend.BACKEND)
    model = load_model(model_class, backend.model, backend.revision, device, backend.BACKEND)
    return load_processor(processor_class, backend.model, backend.revision, backend.BACKEND), model


def _run(backend: _ByName, processor: Any, model: Any, image: Image, text: Any) -> tuple[Any, Any]:
    import torch

    with one_line(backend.BACKEND, "the detector failed", "try device: cpu or another picture"), torch.no_grad():
        # As a Pillow picture: of arrays with 1 or 3 rows the processors take the rows for colours.
        inputs = processor(images=PIL.Image.fromarray(image), text=text, return_tensors="pt").to(model.device)
        return inputs, model(**inputs)


def _names(hand_name: str, object_name: str, backend: str) -> tuple[str, str]:
    """Lower case and without full stops, which end a phrase."""
    hand, thing = (" ".join(name.lower().replace(".", " ").split()) for name in (hand_name, object_name))
    if not hand or not thing:
        raise ConfigError(f'{backend}: expected names of hand and object, got "{hand_name}" and "{object_name}"')
    return hand, thing


def _raw(outputs: Any) -> tuple[ndarray, ndarray]:
    """Logits and boxes of the one picture."""
    logits, boxes = (np.array(item[0].detach().float().cpu().numpy()) for item in (outputs.logits, outputs.pred_boxes))
    return logits, boxes


def _sigmoid(logits: ndarray) -> ndarray:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-logits.astype(float)))
