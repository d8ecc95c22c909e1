"""Stable Diffusion, SDXL and FLUX.2-klein in diffusers' own classes, random and tiny: 16 x 16 pictures."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

SIZE = 16


def save_tiny(folder: Path, kind: str = "sd", prediction_type: str = "epsilon") -> str:
    """Writes a pipeline of random weights, "sd" or "sdxl", the same at every call."""
    import torch

    diffusers: Any = import_module("diffusers")
    torch.manual_seed(0)
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction_type,
    )
    common: dict[str, Any] = {"vae": _vae(), "scheduler": scheduler, "tokenizer": _tokenizer()}
    if kind == "sd":
        pipe = diffusers.StableDiffusionPipeline(
            **common,
            text_encoder=_text_encoder(projected=False),
            unet=_unet(cross_attention_dim=32),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    else:
        pipe = diffusers.StableDiffusionXLPipeline(
            **common,
            text_encoder=_text_encoder(projected=False),
            text_encoder_2=_text_encoder(projected=True),
            tokenizer_2=_tokenizer(),
            unet=_unet(
                cross_attention_dim=64,
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                projection_class_embeddings_input_dim=6 * 8 + 32,
            ),
            add_watermarker=False,
        )
    pipe.save_pretrained(folder)
    return str(folder)


def save_tiny_flux(folder: Path) -> str:
    """Writes a FLUX.2-klein of random weights; its text encoder has 28 layers, since the pipeline reads the 27th."""
    import torch

    diffusers: Any = import_module("diffusers")
    transformers: Any = import_module("transformers")
    torch.manual_seed(0)
    end = "<|endoftext|>"
    vocabulary = {letter: k for k, letter in enumerate([*_letters(), end])}
    tokenizer = transformers.Qwen2Tokenizer(vocab=vocabulary, merges=[], pad_token=end, eos_token=end, unk_token=end)
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    config = transformers.Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=28,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=512,
    )
    vae = diffusers.AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
        sample_size=SIZE,
    )
    transformer = diffusers.Flux2Transformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=3 * 16,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )
    pipe = diffusers.Flux2KleinPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=vae,
        text_encoder=transformers.Qwen3ForCausalLM(config),
        tokenizer=tokenizer,
        transformer=transformer,
    )
    pipe.save_pretrained(folder)
    return str(folder)


def picture(seed: int, size: int = SIZE, *, dark: bool = False) -> ndarray:
    """Blobs of colour, those of `dark` on black and far from the others."""
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    noise = noise // 4 if dark else 255 - noise // 4
    return np.kron(noise, np.ones((size // 4, size // 4, 1), np.uint8))


def _vae() -> Any:
    """Random, but no two pictures have one latent: noise would hide them all without the bias, and a factor of 0.18215
    makes random latents nearly equal, so that a loss on one set of pictures is that on any other."""
    import torch

    diffusers: Any = import_module("diffusers")
    vae = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
        sample_size=SIZE,
    ).eval()
    with torch.no_grad():
        vae.quant_conv.bias[4:] = -12
        pictures = np.stack([picture(seed, dark=seed % 2 == 1) for seed in range(8)])
        pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1
        vae.register_to_config(scaling_factor=float(1 / vae.encode(pixels).latent_dist.mean.std()))
    return vae


def _unet(**options: Any) -> Any:
    diffusers: Any = import_module("diffusers")
    return diffusers.UNet2DConditionModel(
        sample_size=SIZE // 2,
        block_out_channels=(32,),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=8,
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",),
        **options,
    )


def _tokenizer() -> Any:
    """Byte pairs without a merge: one token for each letter."""
    transformers: Any = import_module("transformers")
    letters = _letters()
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return transformers.CLIPTokenizer(vocab={word: k for k, word in enumerate(words)}, merges=[], model_max_length=77)


def _letters() -> list[str]:
    """What byte pairs are made of."""
    letters = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256))]
    return letters + [chr(256 + code) for code in range(256 - len(letters))]


def _text_encoder(*, projected: bool) -> Any:
    transformers: Any = import_module("transformers")
    tokenizer = _tokenizer()
    config = transformers.CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        projection_dim=32,
        num_attention_heads=2,
        num_hidden_layers=2,
        max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return kind(config)
