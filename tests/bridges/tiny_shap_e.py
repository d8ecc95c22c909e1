"""A real Shap-E pipeline, a thousand times smaller, whose networks are set so that its surface is a ball.

It is no reconstruction: whatever the picture, the surface is a ball, of a radius that depends a little on the seed.
"""

import itertools
from pathlib import Path
from typing import Any

RADIUS = 0.6


def save(folder: Path, radius: float = RADIUS) -> Path:
    """Saves the pipeline; a negative radius gives one without a surface, and so does nan."""
    import torch
    from diffusers.models.transformers.prior_transformer import PriorTransformer
    from diffusers.pipelines.shap_e.pipeline_shap_e_img2img import ShapEImg2ImgPipeline
    from diffusers.pipelines.shap_e.renderer import ShapERenderer
    from diffusers.schedulers.scheduling_heun_discrete import HeunDiscreteScheduler
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

    torch.manual_seed(0)
    hidden = 4
    vision = CLIPVisionConfig(
        hidden_size=16, image_size=32, intermediate_size=16, num_attention_heads=2, num_hidden_layers=1, patch_size=8
    )
    shapes: Any = ((12, hidden),)
    renderer = ShapERenderer(param_names=("nerstf.mlp.6.weight",), param_shapes=shapes, d_latent=8, d_hidden=hidden)
    prior = PriorTransformer(
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=1,
        embedding_dim=8,
        num_embeddings=12,
        additional_embeddings=0,
        embedding_proj_dim=16,
        clip_embed_dim=16,
        time_embed_dim=16,
        time_embed_act_fn="gelu",
        norm_in_type="layer",
        embedding_proj_norm_type="layer",
        encoder_hid_proj_type=None,
        added_emb_type=None,
    )
    with torch.no_grad():
        _make_ball(renderer, radius)
    pipeline = ShapEImg2ImgPipeline(
        prior=prior,
        image_encoder=CLIPVisionModel(vision),
        image_processor=CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        scheduler=HeunDiscreteScheduler(
            beta_schedule="exp",
            num_train_timesteps=1024,
            prediction_type="sample",
            use_karras_sigmas=True,
            clip_sample=True,
            clip_sample_range=1.0,
        ),
        shap_e_renderer=renderer,
    )
    pipeline.save_pretrained(folder)
    return folder


def _make_ball(renderer: Any, radius: float) -> None:
    """Sets the network so that its signed distance is tanh(c - |x|^2), with c = radius^2, within a few percent."""
    import torch
    from diffusers.pipelines.shap_e.renderer import encode_position

    for parameter in renderer.mlp.parameters():
        parameter.zero_()
    points = torch.rand(4000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    features = torch.cat([encode_position(points), torch.ones(len(points), 1, dtype=torch.float64)], dim=1)
    wanted = -(points**2).sum(dim=1)[:, None]
    weights = torch.linalg.lstsq(features, wanted, driver="gelsd").solution[:, 0]
    layers = renderer.mlp.mlp
    # The activation leaves numbers about 20 as they are.
    layers[0].weight[0] = weights[:-1].float()
    layers[0].bias[0] = weights[-1].float() + radius * abs(radius) + 20
    for layer in layers[1:-1]:
        layer.weight[0, 0] = 1
    layers[-1].bias[0] = -20
    # The last layer's weights come from the latents: a small share of each, and the rest is fixed.
    (projection,) = renderer.params_proj.projections.values()
    projection.norm.weight.fill_(2e-4)
    fixed = torch.zeros(12, layers[-1].in_features)
    fixed[0, 0] = 1
    projection.proj.bias.copy_(fixed.reshape(-1))
    renderer.mesh_decoder.cases[:], renderer.mesh_decoder.masks[:] = _marching_cubes()


def _marching_cubes() -> tuple[Any, Any]:
    """Edges of the triangles of each case, and which of the five places hold one.

    Corner x + 2 y + 4 z is a bit of the case; edges are numbered along x, y, then z. Cases of more than five triangles,
    which a smooth surface does not have, have none.
    """
    import torch

    edges = [(axis, u, v) for axis in range(3) for v in (0, 1) for u in (0, 1)]
    ends = []
    for axis, u, v in edges:
        low = [u, v]
        low.insert(axis, 0)
        high = [u, v]
        high.insert(axis, 1)
        ends.append((_bit(low), _bit(high)))
    cases, masks = torch.zeros(256, 5, 3, dtype=torch.long), torch.zeros(256, 5, dtype=torch.bool)
    for case in range(256):
        inside = [bool(case >> corner & 1) for corner in range(8)]
        next_to: dict[int, list[int]] = {}
        for axis, at in itertools.product(range(3), (0, 1)):
            face = {_bit(corner) for corner in itertools.product((0, 1), repeat=3) if corner[axis] == at}
            crossed = [edge for edge, (a, b) in enumerate(ends) if {a, b} <= face and inside[a] != inside[b]]
            for corner in face if len(crossed) == 4 else [None]:  # four: cut off each inner corner
                pair = [edge for edge in crossed if corner is None or (corner in ends[edge] and inside[corner])]
                if len(pair) == 2:
                    next_to.setdefault(pair[0], []).append(pair[1])
                    next_to.setdefault(pair[1], []).append(pair[0])
        triangles = []
        while next_to:
            loop = [next(iter(next_to))]
            while step := [edge for edge in next_to[loop[-1]] if edge not in loop]:
                loop.append(step[0])
            triangles += [(loop[0], loop[k], loop[k + 1]) for k in range(1, len(loop) - 1)]
            next_to = {edge: others for edge, others in next_to.items() if edge not in loop}
        if 0 < len(triangles) <= 5:
            cases[case, : len(triangles)] = torch.tensor(triangles)
            masks[case, : len(triangles)] = True
    return cases, masks


def _bit(corner: Any) -> int:
    x, y, z = corner
    return x + 2 * y + 4 * z
