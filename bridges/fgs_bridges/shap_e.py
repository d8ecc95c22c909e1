"""Shap-E (Jun and Nichol 2023) from diffusers: a coarse mesh of a picture, installed by pip alone."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image as Picture

from fgs_bridges.images import background_colour, object_picture
from fgs_bridges.meshes import clean
from fgs_bridges.pretrained import check_picture, one_line, options_of, quiet, torch_device
from fgs_bridges.provenance import model_files, versions, weight_hashes
from fgs_bridges.types import Image, Mask, Mesh, Provenance
from fgs_jax.errors import BridgeError, BridgeUnavailable, ConfigError
from fgs_jax.files import expanded

NAME = "object.shap-e"


@dataclass
class ShapE:
    """`ShapEImg2ImgPipeline`, in process; the surface is that of a grid of `grid`^3 points.

    The object is matted on white, in the middle of a square. The mesh is cleaned (`meshes.clean`); it lies in
    a cube from -1 to 1.
    """

    model: str = "openai/shap-e-img2img"
    """Id on the hub, or a folder."""
    revision: str | None = None
    variant: str | None = None
    """Such as "fp16", where the model has it."""
    device: str = "auto"
    steps: int = 64
    guidance: float = 3.0
    grid: int = 128
    background: str = "white"
    margin: float = 0.1
    """Left free on each side of the object, as a share of its longer side."""
    faces: int | None = 20_000
    largest: bool = True
    pipeline: Any = field(init=False, repr=False, default=None)
    seed: int | None = field(init=False, repr=False, default=None)
    notes: tuple[str, ...] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        background_colour(self.background)
        for name, least in (("steps", 1), ("grid", 8), ("faces", 4)):
            if (value := getattr(self, name)) is not None and value < least:
                raise ConfigError(f"{NAME}: expected {name} of at least {least}, got {value}")
        for name, most in (("steps", 10_000), ("grid", 512)):
            if getattr(self, name) > most:
                raise ConfigError(f"{NAME}: expected {name} of at most {most}, got {getattr(self, name)}")

    def __call__(self, image: Image, mask: Mask | None = None, *, seed: int) -> Mesh:
        """Mesh of the object in a picture; BridgeError where the network makes no surface."""
        import torch

        check_picture(image, NAME)
        picture, crop = object_picture(image, mask, self.margin, self.background)
        if self.pipeline is None:
            self.pipeline = self._loaded()
        with one_line(NAME, "the network failed", "on a full GPU, take a smaller grid or the CPU"):
            latents = self.pipeline(
                Picture.fromarray(picture),
                num_inference_steps=self.steps,
                guidance_scale=self.guidance,
                generator=torch.Generator("cpu").manual_seed(seed),  # on a GPU a seed means something else
                output_type="latent",
            ).images
            raw = decoded(self.pipeline.shap_e_renderer, latents, self.pipeline.device, self.grid)
        mesh, done = clean(raw, self.faces, largest=self.largest, name=f"{NAME}: its mesh")
        self.seed = seed
        what = "the object's mask" if mask is not None else "the whole picture"
        self.notes = (f"square {crop} about {what}, on {self.background}", *done)
        return mesh

    def provenance(self) -> Provenance:
        revision, files = model_files(self.model, self.revision)
        return Provenance(
            "shap-e",
            model=self.model,
            revision=revision,
            versions=versions("torch", "diffusers", "transformers"),
            weights=weight_hashes(files if self.pipeline is not None else []),
            options=options_of(self),
            seed=self.seed,
            licence="MIT",
            notes=self.notes,
        )

    def _loaded(self) -> Any:
        import diffusers
        import torch
        import transformers

        quiet()
        device = torch_device(self.device, NAME)
        folder = expanded(self.model)
        model = str(folder) if folder.is_dir() else self.model
        dtype = torch.float16 if device.type == "cuda" else torch.float32
        options = {"revision": self.revision or "main", "variant": self.variant}
        advice = "check its files" if folder.is_dir() else f"`hf download {self.model}`, or give a folder as model"
        try:
            with one_line(NAME, f"{self.model}: expected a Shap-E pipeline that can be loaded, got", advice):
                # By itself, for it is told only here which weights are missing; they would be random numbers.
                loaded: Any = transformers.CLIPVisionModel.from_pretrained(
                    model, subfolder="image_encoder", output_loading_info=True, **options
                )
                encoder, report = loaded
                if report["missing_keys"]:
                    raise ValueError(f"an image encoder without {sorted(report['missing_keys'])[0]}")
                pipeline = diffusers.ShapEImg2ImgPipeline.from_pretrained(  # pyright: ignore[reportPrivateImportUsage]
                    model, image_encoder=encoder, **options
                ).to(device, dtype)
        except BridgeError as error:
            if folder.is_dir():
                raise
            raise BridgeUnavailable(str(error)) from error
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


def decoded(renderer: Any, latents: Any, device: Any, grid: int) -> Mesh:
    """The mesh of the first of a pipeline's latents. Raises BridgeError where it has no surface."""
    import torch

    def check(_module: Any, _inputs: Any, output: Any) -> None:
        if not len(output.faces):
            raise BridgeError(
                f"{NAME}: expected a surface, got no surface: take another seed, or a picture of the object alone"
            )

    # The renderer asks for the colours of all vertices next, and fails in another way where there is none.
    hook = renderer.mesh_decoder.register_forward_hook(check)
    try:
        with torch.no_grad():
            return mesh_of(renderer.decode_to_mesh(latents[:1], device, grid_size=grid))
    finally:
        hook.remove()


def mesh_of(output: Any) -> Mesh:
    """Our mesh of a `MeshDecoderOutput`."""
    vertices, faces = (np.array(tensor.detach().cpu().numpy()) for tensor in (output.verts, output.faces))
    return Mesh(vertices.astype(np.float64), faces.astype(np.int64))
