"""HaMeR's own network and files, tiny and with random weights, on a synthetic MANO hand."""

from pathlib import Path
from typing import Any

import numpy as np

from fgs_jax.testing import synthetic_mano
from fgs_jax.testing import write_mano_pickle as write_pickle

CONFIG = """
MODEL:
  IMAGE_SIZE: 256
  IMAGE_MEAN: [0.485, 0.456, 0.406]
  IMAGE_STD: [0.229, 0.224, 0.225]
  BACKBONE: {TYPE: vit, PRETRAINED_WEIGHTS: hamer_training_data/vitpose_backbone.pth}
  MANO_HEAD:
    TYPE: transformer_decoder
    IN_CHANNELS: 2048
    TRANSFORMER_DECODER: {dim: 32, depth: 1, heads: 2, mlp_dim: 32, dim_head: 8, dropout: 0.0, emb_dropout: 0.0,
                          norm: layer, context_dim: 32}
MANO: {DATA_DIR: _DATA/data/, MODEL_PATH: data/mano, GENDER: neutral, NUM_HAND_JOINTS: 15,
       MEAN_PARAMS: data/mano_mean_params.npz, CREATE_BODY_POSE: FALSE}
LOSS_WEIGHTS: {ADVERSARIAL: 0.0}
EXTRA: {FOCAL_LENGTH: 5000}
"""


def tiny_backbone(_: Any) -> Any:
    """HaMeR's ViT with one narrow layer; its own has no settings."""
    from hamer.models.backbones.vit import ViT

    return ViT(img_size=(256, 192), patch_size=16, embed_dim=32, depth=1, num_heads=2, qkv_bias=True)


def write_files(folder: Path) -> Path:
    """Configuration, mean parameters and MANO, where HaMeR's download puts them; the path of the checkpoint to be."""
    (folder / "hamer_ckpts" / "checkpoints").mkdir(parents=True)
    (folder / "data" / "mano").mkdir(parents=True)
    write_pickle(folder / "data" / "mano" / "MANO_RIGHT.pkl", synthetic_mano())
    random = np.random.default_rng(0)
    pose = np.tile([1.0, 0, 0, 1, 0, 0], 16) + random.normal(0, 0.2, 96)
    np.savez(
        folder / "data" / "mano_mean_params.npz", pose=pose, shape=random.normal(0, 0.5, 10), cam=np.array([6.0, 0, 0])
    )
    (folder / "hamer_ckpts" / "model_config.yaml").write_text(CONFIG)
    return folder / "hamer_ckpts" / "checkpoints" / "hamer.ckpt"


def write_checkpoint(checkpoint: Path) -> None:
    """As Lightning writes it, the configuration among the weights. HaMeR's backbone must be `tiny_backbone`."""
    import torch
    from hamer.configs import get_config
    from hamer.models import HAMER

    from fgs_bridges.hamer import mano_arrays

    data = checkpoint.parents[2] / "data"
    cfg = get_config(str(checkpoint.parent.parent / "model_config.yaml"))
    cfg.defrost()
    cfg.MODEL.BACKBONE.pop("PRETRAINED_WEIGHTS")
    cfg.MANO.MODEL_PATH, cfg.MANO.MEAN_PARAMS = str(data / "mano"), str(data / "mano_mean_params.npz")
    stored = cfg.clone()
    dict.__setitem__(cfg.MANO, "DATA_STRUCT", mano_arrays(data / "mano" / "MANO_RIGHT.pkl"))
    torch.manual_seed(0)
    model = HAMER(cfg, init_renderer=False)
    for weight in model.mano_head.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.05)
    torch.nn.init.normal_(model.mano_head.deccam.weight, std=0.002)  # hands stay in their crops
    torch.save({"state_dict": model.state_dict(), "hyper_parameters": {"cfg": stored}}, checkpoint)
