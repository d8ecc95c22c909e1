"""WiLoR through WiLoR-mini's pipeline, which has a detector of its own that tells left from right.

Potamias et al., "WiLoR: End-to-end 3D hand localization and reconstruction in-the-wild", 2025. Its camera is HaMeR's,
and it mirrors left hands back itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from fgs_bridges.geometry import are_numbers, as_floats, camera_matrix, match_boxes, rotation_matrices
from fgs_bridges.pretrained import check_picture, first_line, one_line, options_of, torch_device
from fgs_bridges.provenance import versions, weight_hashes
from fgs_bridges.types import Detection, HandEstimate, Image, Provenance
from fgs_jax.errors import BridgeError, BridgeUnavailable, ConfigError
from fgs_jax.files import expanded
from fgs_jax.mirror import mirrored_faces
from fgs_jax.shipped import shipped

FILES = ("wilor_final.ckpt", "detector.pt", "MANO_RIGHT.pkl")
"""Pickles, all of which its pipeline runs."""


@dataclass
class Wilor:
    """Hands of a picture, or of boxes. Its pipeline downloads its files itself and runs them as pickles."""

    folder: str = ""
    """Where pretrained_models/ with its files is, or is downloaded to; inside its package unless given."""
    device: str = "auto"
    half: bool = False
    """Half precision."""
    rescale: float = 2.5
    """The crop's size in boxes."""
    confidence: float = 0.3
    """Least score of a hand that its detector finds."""
    trust_pickle: bool = False
    """Its pipeline unpickles its checkpoint, detector and MANO file: it does not run without this."""

    _pipeline: Any = field(init=False, repr=False, default=None)

    def __call__(self, image: Image, hands: tuple[Detection, ...]) -> list[HandEstimate]:
        """One hand per box, else all that its detector finds. Sides are the boxes', or its detector's where a box has
        none. BridgeError where it finds no hand in a box.
        """
        check_picture(image, "wilor")
        pipeline = self._load()
        height, width = image.shape[:2]
        sided = bool(hands) and all(hand.side in ("right", "left") for hand in hands)
        with one_line("wilor", "failed", "try another picture or another hand back end"):
            if sided:
                boxes = np.stack([hand.box for hand in hands])
                rights = [int(hand.side == "right") for hand in hands]
                found = pipeline.predict_with_bboxes(image, boxes, rights, rescale_factor=self.rescale)
            else:
                found = pipeline.predict(image, rescale_factor=self.rescale, hand_conf=self.confidence)
            faces = np.array(pipeline.wilor_model.mano.faces, np.int32)
        if hands and not sided:
            found = _of_boxes(found, hands)
        if not found:
            raise BridgeError("wilor: expected a hand, found none: try another picture, or another hand back end")
        estimates = [wilor_estimate(one, width=width, height=height, faces=faces) for one in found]
        scores = [hand.score for hand in hands] or [1.0] * len(estimates)
        return [replace(one, score=score) for one, score in zip(estimates, scores, strict=True)]

    def provenance(self) -> Provenance:
        """Of the files and packages in use."""
        files = [path for name in FILES if (path := self._folder() / "pretrained_models" / name).is_file()]
        return Provenance(
            backend="wilor",
            model="warmshao/WiLoR-mini",
            versions=versions("wilor_mini", "torch", "ultralytics", "smplx", "numpy"),
            weights=weight_hashes(files),
            options=options_of(self),
            licence="WiLoR: CC BY-NC-ND; ultralytics, its detector's package: AGPL-3.0; MANO: its own, non-commercial",
        )

    def _folder(self) -> Path:
        if self.folder:
            return expanded(self.folder)
        import wilor_mini

        return Path(next(iter(wilor_mini.__path__)))

    def _load(self) -> Any:
        if self._pipeline is not None:
            return self._pipeline
        if not self.trust_pickle:
            raise ConfigError(
                f"wilor: its pipeline runs {', '.join(FILES)} as pickles, which can run any program: set trust_pickle "
                "if you trust where they come from, or take another hand back end"
            )
        try:
            import torch
            from wilor_mini.pipelines.wilor_hand_pose3d_estimation_pipeline import WiLorHandPose3dEstimationPipeline
        except Exception as error:  # compiled packages have errors of their own
            raise BridgeUnavailable(
                f"wilor: cannot be imported ({first_line(error)}): see {shipped('docs/bridges/hands.md')}"
            ) from error
        options: dict[str, Any] = {"wilor_pretrained_dir": str(self._folder())}
        with one_line("wilor", "cannot be loaded", "download its files, and give their folder"):
            self._pipeline = WiLorHandPose3dEstimationPipeline(
                device=torch_device(self.device, "wilor"),
                dtype=torch.float16 if self.half else torch.float32,
                verbose=False,
                **options,
            )
        return self._pipeline


def wilor_estimate(
    found: Mapping[str, Any], *, width: int, height: int, faces: Int[ndarray, "f 3"] | None = None
) -> HandEstimate:
    """One hand of WiLoR-mini's result for a picture (width, height). `faces`: MANO's right ones.

    Raises BridgeError for what is missing or not finite.
    """
    try:
        side = "right" if found["is_right"] > 0.5 else "left"
        values = {name: as_floats(value) for name, value in found["wilor_preds"].items()}
        translation = values["pred_cam_t_full"].reshape(3)
        estimate = HandEstimate(
            side=side,
            K=camera_matrix(float(values["scaled_focal_length"]), width, height),
            keypoints_2d=values["pred_keypoints_2d"].reshape(-1, 2)[:21],
            pose=rotation_matrices(values["hand_pose"].reshape(15, 3)),
            rotation=rotation_matrices(values["global_orient"].reshape(3)),
            translation=translation,
            betas=values["betas"].reshape(-1),
            vertices=values["pred_vertices"].reshape(-1, 3) + translation,
            faces=faces if faces is None or side == "right" else mirrored_faces(faces),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BridgeError(f"wilor: expected WiLoR-mini's result, got another ({error}): check its version") from error
    if not all(are_numbers(value) for value in values.values()) or translation[2] <= 0:
        raise BridgeError("wilor: expected finite numbers and a hand before the camera, got others: check its weights")
    return estimate


def _of_boxes(found: list[Any], hands: tuple[Detection, ...]) -> list[Any]:
    """What was found in each of the boxes."""
    places = match_boxes([hand.box for hand in hands], [np.array(one["hand_bbox"], float) for one in found])
    for hand, place in zip(hands, places, strict=True):
        if place is None:
            box = np.round(hand.box).astype(int).tolist()
            raise BridgeError(f"wilor: expected a hand in box {box}, found none: say its side, or try another picture")
    return [found[place] for place in places if place is not None]
