"""HaMeR in this process: its network and its crops as they are, its files read without running a pickle.

Needs only HaMeR's own package, not its demo's detectors (detectron2, mmcv, ViTPose, chumpy).
"""

import contextlib
import io
import os
import re
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from fgs_bridges.geometry import (
    HAMER_CROP,
    HAMER_FOCAL,
    are_numbers,
    as_floats,
    cam_crop_to_full,
    camera_matrix,
    mirror_estimate,
    project,
)
from fgs_bridges.pretrained import check_picture, first_line, options_of, torch_device
from fgs_bridges.provenance import versions, weight_hashes
from fgs_bridges.types import Detection, HandEstimate, Image, Provenance
from fgs_jax.errors import BridgeError, BridgeUnavailable
from fgs_jax.files import expanded
from fgs_jax.mirror import mirrored_box
from fgs_jax.shipped import shipped

LICENCE = "HaMeR: MIT; MANO: its own, non-commercial"
INSTALL = f"see {shipped('docs/bridges/hands.md')}"


class _Discarded:
    """What a training configuration in a checkpoint becomes: nothing."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


def _empty(*_: Any) -> OrderedDict:
    return OrderedDict()


# Weights-only loading fills plain dicts alone, so that naming yacs' own class does not do: it is a dict of its own.
_STAND_INS: dict[str, Any] = {
    "yacs.config.CfgNode": OrderedDict,
    "collections.defaultdict": _empty,
    "pathlib.PosixPath": _Discarded,
    "typing.Any": _Discarded,
    **{f"builtins.{name}": _Discarded for name in ("bool", "dict", "float", "int", "list", "str")},
    **{f"omegaconf.base.{name}": _Discarded for name in ("ContainerMetadata", "Metadata")},
    "omegaconf.dictconfig.DictConfig": _Discarded,
    "omegaconf.listconfig.ListConfig": _Discarded,
    **{
        f"omegaconf.nodes.{name}Node": _Discarded
        for name in ("Any", "Boolean", "Bytes", "Enum", "Float", "Integer", "InterpolationResult", "Path", "String")
    },
}
"""What stands for the few classes that HaMeR's checkpoint may name beside tensors: its training configuration's."""


@dataclass
class Hamer:
    """Hands in the boxes of a detector that knows left from right, by HaMeR."""

    checkpoint: str = "_DATA/hamer_ckpts/checkpoints/hamer.ckpt"
    """As HaMeR's fetch_demo_data.sh puts it: model_config.yaml lies two folders up, and its paths start three up."""
    mano: str = ""
    """MANO_RIGHT.pkl or .npz; HaMeR's own place, then $FGS_MANO_DIR, unless given."""
    rescale: float = 2.0
    """The crop's size in boxes; HaMeR's demo takes 2."""
    device: str = "auto"
    trust_pickle: bool = False
    """Run the checkpoint's pickle where it cannot be read otherwise: only for a file you trust."""

    _loaded: SimpleNamespace | None = field(init=False, repr=False, default=None)

    def __call__(self, image: Image, hands: tuple[Detection, ...]) -> list[HandEstimate]:
        """One hand per box. BridgeError without boxes, for a box without a side, and for a result that is none."""
        check_picture(image, "hamer")
        sides = check_sides(hands, "hamer")
        loaded = self._load()
        import torch

        height, width = image.shape[:2]
        boxes = np.stack([hand.box for hand in hands]).astype(np.float32)
        right = np.array([side == "right" for side in sides], np.float32)
        bgr = np.ascontiguousarray(image[:, :, ::-1])
        with _quiet(), torch.no_grad():
            crops = loaded.dataset(loaded.cfg, bgr, boxes, right, rescale_factor=self.rescale)
            batch = torch.utils.data.default_collate([crops[k] for k in range(len(crops))])
            output = loaded.model({"img": batch["img"].to(loaded.device)})
        arrays = flat_arrays(output) | {
            "box_center": _numpy(batch["box_center"]),
            "box_size": _numpy(batch["box_size"]),
            "right": right,
        }
        found = hamer_estimates(
            arrays, width=width, height=height, focal=loaded.focal, crop=loaded.crop, faces=loaded.faces
        )
        return [replace(estimate, score=hand.score) for estimate, hand in zip(found, hands, strict=True)]

    def provenance(self) -> Provenance:
        """Of the files and packages in use. Raises BridgeError where the files are not there."""
        checkpoint, _, mano = self._files()
        return Provenance(
            backend="hamer",
            model=str(checkpoint),
            versions=versions("hamer", "torch", "torchvision", "pytorch-lightning", "smplx", "timm", "numpy"),
            weights=weight_hashes([checkpoint, mano]),
            options=options_of(self),
            licence=LICENCE,
        )

    def _files(self) -> tuple[Path, Path, Path]:
        """Checkpoint, its configuration, and MANO's right hand."""
        checkpoint = expanded(self.checkpoint)
        if not checkpoint.is_file():
            raise BridgeError(
                f"{checkpoint}: expected HaMeR's checkpoint, there is none: run HaMeR's fetch_demo_data.sh, and give "
                "its path as `checkpoint`"
            )
        config = checkpoint.parent.parent / "model_config.yaml"
        if not config.is_file():
            raise BridgeError(f"{config}: expected HaMeR's configuration, there is none: it comes with the checkpoint")
        own = _data_folder(checkpoint) / "data" / "mano" / "MANO_RIGHT.pkl"
        folder = expanded(os.environ.get("FGS_MANO_DIR", ""))
        places = [expanded(self.mano)] if self.mano else [own]
        if not self.mano and os.environ.get("FGS_MANO_DIR"):
            places += [folder / "MANO_RIGHT.pkl", folder / "MANO_RIGHT.npz"]
        for place in places:
            if place.is_file():
                return checkpoint, config, place
        raise BridgeError(
            f"{places[0]}: expected MANO's right hand, there is none: register at mano.is.tue.mpg.de, and put "
            "MANO_RIGHT.pkl there, or set $FGS_MANO_DIR to its folder"
        )

    def _load(self) -> SimpleNamespace:
        if self._loaded is not None:
            return self._loaded
        checkpoint, config, mano = self._files()
        try:
            with _quiet():
                from hamer.configs import get_config
                from hamer.datasets.vitdet_dataset import ViTDetDataset
                from hamer.models import HAMER
        except Exception as error:  # OpenGL and compiled packages have errors of their own
            raise BridgeUnavailable(f"hamer: cannot be imported ({first_line(error)}): {INSTALL}") from error

        cfg = get_config(str(config))
        cfg.defrost()
        data = _data_folder(checkpoint)
        for name in ("MODEL_PATH", "MEAN_PARAMS"):
            cfg.MANO[name] = str(data / cfg.MANO[name])
        if cfg.MODEL.BACKBONE.TYPE == "vit" and "BBOX_SHAPE" not in cfg.MODEL:
            cfg.MODEL.BBOX_SHAPE = [192, 256]
        cfg.MODEL.BACKBONE.pop("PRETRAINED_WEIGHTS", None)
        # Given as arrays, MANO's file is not unpickled; the other one is a pickle of points that nothing needs here.
        cfg.MANO.pop("JOINT_REGRESSOR_EXTRA", None)
        dict.__setitem__(cfg.MANO, "DATA_STRUCT", mano_arrays(mano))
        with _quiet():
            model = HAMER(cfg, init_renderer=False)
        load_weights(model, read_checkpoint(checkpoint, trust_pickle=self.trust_pickle), checkpoint)
        device = torch_device(self.device, "hamer")
        self._loaded = SimpleNamespace(
            cfg=cfg,
            model=model.to(device).eval(),
            dataset=ViTDetDataset,
            device=device,
            focal=float(cfg.EXTRA.FOCAL_LENGTH),
            crop=int(cfg.MODEL.IMAGE_SIZE),
            faces=np.array(model.mano.faces, np.int32),
        )
        return self._loaded


def hamer_estimates(
    output: Mapping[str, ndarray],
    *,
    width: int,
    height: int,
    focal: float = HAMER_FOCAL,
    crop: int = HAMER_CROP,
    faces: Int[ndarray, "f 3"] | None = None,
) -> list[HandEstimate]:
    """HaMeR's output for a picture (width, height) as hands of their own sides, before the whole picture's camera.

    `output` has HaMeR's names: global_orient (n, 1, 3, 3), hand_pose (n, 15, 3, 3), betas (n, 10), pred_cam (n, 3),
    box_center (n, 2), box_size (n,), right (n,), and where it has them pred_vertices (n, v, 3) and pred_keypoints_3d
    (n, 21, 3). HaMeR sees a left hand as a right one in a mirror; here it is mirrored back. Raises BridgeError for what
    is missing, not finite, or behind the camera.
    """
    needed = ("global_orient", "hand_pose", "betas", "pred_cam", "box_center", "box_size", "right")
    if absent := [name for name in needed if name not in output]:
        raise BridgeError(f"hamer: expected {', '.join(needed)} in its output, missing {', '.join(absent)}: save all")
    arrays = {name: as_floats(value) for name, value in output.items()}
    for name, array in arrays.items():
        if not are_numbers(array):
            raise BridgeError(
                f"hamer: expected finite numbers in {name}, got NaN, infinity or huge ones: check its weights"
            )
    if (arrays["pred_cam"][:, 0] <= 0).any() or (arrays["box_size"] <= 0).any():
        came = f"scale {arrays['pred_cam'][:, 0].min():.3g}, crop {arrays['box_size'].min():.3g} px"
        raise BridgeError(f"hamer: expected hands before the camera in crops with a size, got {came}: check the boxes")
    scaled_focal = focal / crop * max(width, height)
    K = camera_matrix(scaled_focal, width, height)
    estimates = []
    for k, is_right in enumerate(arrays["right"] > 0.5):
        centre = arrays["box_center"][k]
        if not is_right:
            centre = mirrored_box(np.concatenate([centre, centre]), width)[:2]
        translation = cam_crop_to_full(
            arrays["pred_cam"][None, k],
            centre[None],
            arrays["box_size"][None, k],
            width=width,
            height=height,
            focal=scaled_focal,
        )[0]
        vertices, keypoints = (
            arrays[name][k] + translation if name in arrays else None for name in ("pred_vertices", "pred_keypoints_3d")
        )
        seen = HandEstimate(
            side="right",
            K=K,
            keypoints_2d=None if keypoints is None else project(K, keypoints[:21]),
            pose=arrays["hand_pose"][k].reshape(15, 3, 3),
            rotation=arrays["global_orient"][k].reshape(3, 3),
            translation=translation,
            betas=arrays["betas"][k],
            vertices=vertices,
            faces=None if vertices is None or faces is None else np.asarray(faces, np.int32),
        )
        estimates.append(seen if is_right else mirror_estimate(seen, width))
    return estimates


def read_checkpoint(path: Path, *, trust_pickle: bool = False) -> dict[str, Any]:
    """The weights of a Lightning checkpoint, read without running its pickle.

    The training configuration in it is thrown away. Raises BridgeError where the file names anything else beside
    tensors, unless `trust_pickle`, which runs the pickle; where it is damaged; and where it has no weights.
    """
    import torch

    stand_ins: list[Any] = [(stand_in, name) for name, stand_in in _STAND_INS.items()]
    try:
        with torch.serialization.safe_globals(stand_ins):
            content = torch.load(path, map_location="cpu", weights_only=not trust_pickle)
    except Exception as error:  # zipfile, pickle and torch each have their own for a damaged file
        if strange := re.search(r"GLOBAL (\S+)", str(error)):
            raise BridgeError(
                f"{path}: expected tensors and a configuration, it asks for {strange[1]}; nothing was run: set "
                "trust_pickle if you trust this file"
            ) from error
        reason = " ".join(str(error).split())[:120]
        raise BridgeError(f"{path}: cannot be read as a checkpoint ({reason}): download it again") from error
    weights = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not weights:
        raise BridgeError(f"{path}: expected weights under state_dict, got none: is it HaMeR's checkpoint?")
    return weights


def load_weights(model: Any, weights: Mapping[str, Any], path: Path) -> None:
    """Puts weights into HaMeR. Raises BridgeError where its backbone or head would keep random ones, or do not fit."""
    try:
        missing = model.load_state_dict(weights, strict=False).missing_keys
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if "size mismatch" in line]
        reason = lines[0][:160] if lines else first_line(error)
        raise BridgeError(f"{path}: expected the weights of this configuration, got others ({reason})") from error
    if lost := [name for name in missing if name.startswith(("backbone.", "mano_head."))]:
        raise BridgeError(
            f"{path}: expected all weights of HaMeR's backbone and head, {len(lost)} are missing, {lost[0]} among "
            "them: is it HaMeR's checkpoint?"
        )


def mano_arrays(path: Path) -> SimpleNamespace:
    """MANO's file as smplx takes it in place of a path; read without running a pickle, and without chumpy."""
    from fgs_jax.errors import HandFileError
    from fgs_jax.hands.files import read_hand_file

    try:
        arrays = read_hand_file(path)
    except HandFileError as error:
        raise BridgeError(str(error)) from error
    if str(arrays["side"]) != "right":
        raise BridgeError(f"{path}: expected MANO's right hand, which is all that HaMeR takes, came a left one")
    names = ("v_template", "f", "weights", "J_regressor", "shapedirs", "posedirs", "kintree_table")
    return SimpleNamespace(**{name: arrays[name] for name in (*names, "hands_mean", "hands_components")})


def check_sides(hands: tuple[Detection, ...], name: str) -> list[str]:
    """The sides of all boxes. BridgeError without boxes, and for a box without a side: none is guessed."""
    if not hands:
        raise BridgeError(f"{name}: expected boxes of hands, got none: run a detector, or give a box by hand")
    sides = [str(hand.side) for hand in hands]
    for number, side in enumerate(sides):
        if side not in ("right", "left"):
            raise BridgeError(
                f"{name}: expected the side of every hand, right or left, got {side} for box {number}: take it from "
                "mediapipe, wilor or 100DOH, or say it"
            )
    return sides


def flat_arrays(output: Mapping[str, Any]) -> dict[str, Float[ndarray, "..."]]:
    """Tensors of a nested output under their last names, as arrays of their own."""
    arrays = {}
    for name, value in output.items():
        arrays |= flat_arrays(value) if isinstance(value, Mapping) else {name: _numpy(value)}
    return arrays


def _data_folder(checkpoint: Path) -> Path:
    return checkpoint.resolve().parents[2]


def _numpy(tensor: Any) -> ndarray:
    return np.array(tensor.detach().cpu().numpy())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """smplx and HaMeR's crops print, and the packages that HaMeR imports warn of each other."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
