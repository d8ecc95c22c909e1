"""Detectors and segmenters of transformers with tiny random weights: the real classes, saved as a user's folder is."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TUMBLER = Path(__file__).parents[3] / "shared" / "data" / "tumbler"
IMAGE_SIZE = 64
"""Of the tiny models' own pictures."""
BOX = np.array([5.0, 8, 35, 40])
"""Of a thing in a `picture`."""


def picture(height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    """A smooth random picture."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def save_sam(folder: Path, seed: int = 0) -> str:
    import torch
    from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor

    torch.manual_seed(seed)
    config = SamConfig(
        vision_config={
            "hidden_size": 16,
            "output_channels": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": IMAGE_SIZE,
            "patch_size": 8,
            "window_size": 4,
            "global_attn_indexes": [1],
            "num_pos_feats": 8,
            "mlp_dim": 32,
            "initializer_range": 0.1,
        },
        prompt_encoder_config={
            "hidden_size": 16,
            "image_size": IMAGE_SIZE,
            "patch_size": 8,
            "mask_input_channels": 4,
        },
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    SamModel(config).save_pretrained(folder)
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    SamProcessor(SamImageProcessor(size={"longest_edge": IMAGE_SIZE}, pad_size=size)).save_pretrained(folder)
    return str(folder)


def save_sam2(folder: Path, seed: int = 0) -> str:
    import torch
    from transformers import Sam2Config, Sam2Model

    torch.manual_seed(seed)
    config = Sam2Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 8,
                "num_attention_heads": 1,
                "image_size": [IMAGE_SIZE, IMAGE_SIZE],
                "blocks_per_stage": [1, 1, 2, 1],
                "embed_dim_per_stage": [8, 16, 32, 64],
                "num_attention_heads_per_stage": [1, 1, 2, 2],
                "window_size_per_stage": [4, 4, 4, 4],
                "global_attention_blocks": [3],
                "window_positional_embedding_background_size": [4, 4],
            },
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 16,
        },
        prompt_encoder_config={
            "hidden_size": 16,
            "image_size": IMAGE_SIZE,
            "patch_size": 16,
            "mask_input_channels": 4,
        },
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    Sam2Model(config).save_pretrained(folder)
    return str(folder)


def save_sam3(folder: Path, seed: int = 0) -> str:
    import torch
    from transformers import Sam3Config, Sam3Model

    torch.manual_seed(seed)
    tokenizer = clip_tokenizer(32)
    small = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    config = Sam3Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam3_vit_model",
                **small,
                "num_hidden_layers": 2,
                "image_size": IMAGE_SIZE,
                "patch_size": 8,
                "pretrain_image_size": 32,
                "window_size": 4,
                "global_attn_indexes": [1],
            },
            "fpn_hidden_size": 32,
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        },
        text_config={
            **small,
            "vocab_size": len(tokenizer),
            "num_hidden_layers": 1,
            "projection_dim": 32,
            "max_position_embeddings": 32,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        geometry_encoder_config={**small, "num_layers": 1},
        detr_encoder_config={**small, "num_layers": 1},
        detr_decoder_config={**small, "num_layers": 2, "num_queries": 8},
        mask_decoder_config={"hidden_size": 32, "num_attention_heads": 2, "num_upsampling_stages": 2},
        initializer_range=0.1,
    )
    Sam3Model(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def save_grounding_dino(folder: Path, seed: int = 0) -> str:
    import torch
    from transformers import (
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
    )

    torch.manual_seed(seed)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "hand", "travel", "tumbler", "mug", "?"]
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(words)}, model_max_length=32)
    config = GroundingDinoConfig(
        backbone_config={
            "model_type": "swin",
            "image_size": IMAGE_SIZE,
            "patch_size": 4,
            "embed_dim": 8,
            "depths": [1, 1, 1],
            "num_heads": [1, 2, 2],
            "window_size": 4,
            "out_features": ["stage2", "stage3"],
        },
        text_config={
            "model_type": "bert",
            "vocab_size": len(words),
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "max_position_embeddings": 64,
        },
        d_model=32,
        encoder_layers=1,
        encoder_ffn_dim=32,
        encoder_attention_heads=4,
        decoder_layers=2,
        decoder_ffn_dim=32,
        decoder_attention_heads=4,
        num_queries=12,
        num_feature_levels=3,
        max_text_len=32,
        disable_custom_kernels=True,
        init_std=0.5,
    )
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    images = GroundingDinoImageProcessor(size={"shortest_edge": IMAGE_SIZE, "longest_edge": 2 * IMAGE_SIZE})
    GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)
    return str(folder)


def save_owlv2(folder: Path, seed: int = 0) -> str:
    import torch
    from transformers import Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessor, Owlv2Processor

    torch.manual_seed(seed)
    tokenizer = clip_tokenizer(40)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Owlv2Config(
        text_config={
            **small,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 40,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={**small, "image_size": IMAGE_SIZE, "patch_size": 8},
        projection_dim=16,
        initializer_factor=1.0,
    )
    Owlv2ForObjectDetection(config).save_pretrained(folder)
    images = Owlv2ImageProcessor(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE})
    Owlv2Processor(images, tokenizer).save_pretrained(folder)
    return str(folder)


def clip_tokenizer(length: int):
    """A byte-level tokenizer without merges."""
    from transformers import CLIPTokenizer

    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in plain] + [chr(256 + i) for i in range(256 - len(plain))]
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: i for i, token in enumerate(vocabulary)}, merges=[], model_max_length=length)


SAVERS: dict[str, Callable[..., str]] = {
    "sam": save_sam,
    "sam2": save_sam2,
    "sam3": save_sam3,
    "grounding-dino": save_grounding_dino,
    "owlv2": save_owlv2,
}
"""By the back end's name."""


def tumbler(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A real frame: picture, masks of hand and object traced by hand, 21 keypoints. Skips where it is absent."""
    if not TUMBLER.is_dir():
        pytest.skip("../shared/data/tumbler is absent")
    frame = np.asarray(Image.open(TUMBLER / f"{name}.png").convert("RGB"))
    hand, thing = (np.asarray(Image.open(TUMBLER / f"{name}_{what}_mask.png")) > 127 for what in ("hand", "object"))
    meta = json.loads((TUMBLER / "meta.json").read_text())
    return frame, hand, thing, np.array(meta[name]["mediapipe"][0]["landmarks_px"])


def iou(a, b):
    return (a & b).sum() / (a | b).sum()
