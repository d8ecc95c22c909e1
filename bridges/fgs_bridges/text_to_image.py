"""Pictures of a text: any text-to-image model of diffusers, or pictures that the user has; Eq. 2 of the paper."""

import json
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pictures

from fgs_bridges.pretrained import first_line, options_of, quiet, torch_device
from fgs_bridges.provenance import model_files, versions, weight_hashes
from fgs_bridges.types import Image, Provenance, TextToImage
from fgs_jax.errors import BridgeError, BridgeUnavailable, ConfigError
from fgs_jax.files import expanded, read_input, write_whole
from fgs_jax.picture import images as pictures
from fgs_jax.strict import read_json

SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
OBJECT_PROMPT = "a photo of a {object}, white background"
LORA_FILE = "pytorch_lora_weights.safetensors"
LICENCES = {
    SD15: "CreativeML OpenRAIL-M",
    "stabilityai/stable-diffusion-xl-base-1.0": "CreativeML OpenRAIL++-M",
    "black-forest-labs/FLUX.2-klein-base-4B": "Apache-2.0",
    "black-forest-labs/FLUX.2-klein-4B": "Apache-2.0",
}
DTYPES = ("auto", "float32", "float16", "bfloat16")
PACKAGES = ("diffusers", "transformers", "torch", "peft", "accelerate", "safetensors", "bitsandbytes", "numpy")


@dataclass
class Diffusers:
    """Any text-to-image pipeline of diffusers. Weights are safetensors only: nothing is unpickled.

    Picture k of a call is that of seed + k alone, drawn on the CPU, so that it depends neither on n nor on the device's
    random numbers.
    """

    model: str = SD15
    """Id on the Hugging Face hub, or a folder."""
    revision: str = ""
    """Branch, tag or commit on the hub."""
    variant: str = ""
    """Of the weight files, such as "fp16"."""
    lora: str = ""
    """A safetensors file, or a folder that holds one."""
    steps: int | None = None
    """Of denoising; None is the pipeline's own default, as for the next three."""
    guidance: float | None = None
    height: int | None = None
    """Pixels."""
    width: int | None = None
    dtype: str = "auto"
    """"auto" is bfloat16 on a GPU that has it, float16 on any other and float32 on the CPU."""
    device: str = "auto"
    offload: bool = False
    """Whether only the part that computes is on the GPU: slower, and needs less memory."""
    safety_checker: bool = True
    """False leaves out the model's filter of unsafe pictures, which also takes some pictures of skin for such."""
    _pipe: Any = field(init=False, repr=False, default=None)
    _lora_file: Path | None = field(init=False, repr=False, default=None)
    _seed: int | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ConfigError(f"diffusers: dtype: expected one of {', '.join(DTYPES)}, got {self.dtype!r}; change it")
        for name, most in {"steps": 10_000, "height": 8192, "width": 8192}.items():
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"diffusers: {name}: expected at least 1, got {value}; change it")
            if value is not None and value > most:
                raise ConfigError(f"diffusers: {name}: expected at most {most}, got {value}; change it")
        if self.lora:
            self._lora_file = _lora_file(self.lora)

    def __call__(self, prompt: str, *, seed: int, n: int = 1) -> list[Image]:
        """Raises BridgeError where the model cannot be loaded, fails, or gives a picture that means nothing."""
        if not prompt.strip():
            raise ConfigError("prompt: expected a text, got an empty one; say what the picture shows")
        if self._pipe is None:
            self._pipe = self._loaded()
        self._seed = seed
        return [self._picture(prompt, seed + k) for k in range(n)]

    def provenance(self) -> Provenance:
        revision, files = model_files(self.model, self.revision or None)
        lora = [self._lora_file] if self._lora_file else []
        options = {name: value for name, value in options_of(self).items() if value not in ("", None)}
        return Provenance(
            backend="diffusers",
            model=self.model,
            revision=revision,
            versions=versions(*PACKAGES),
            weights={} if self._pipe is None else weight_hashes(files) | weight_hashes(lora),
            options={name: value for name, value in options.items() if name not in ("model", "revision")},
            seed=self._seed,
            licence=licence(self.model),
            notes=() if self._pipe is None else (f"{type(self._pipe).__name__}, {self._pipe.dtype}, {self._device()}",),
        )

    def _loaded(self) -> Any:
        import torch

        device = self._device()
        dtype = self.dtype
        if dtype == "auto":
            dtype = "float32"
            if device.startswith("cuda"):
                dtype = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
        pipe = load_pipeline(
            self.model,
            revision=self.revision,
            variant=self.variant,
            dtype=dtype,
            safety_checker=self.safety_checker,
        )
        if self._lora_file is not None:
            _load_lora(pipe, self._lora_file)
        try:
            if self.offload:
                pipe.enable_model_cpu_offload(device=device)
            else:
                pipe.to(device)
        except (RuntimeError, ValueError, AssertionError) as error:
            raise BridgeError(
                f"diffusers: {self.model}: cannot be moved to {device} ({first_line(error)}); offload: true needs less "
                "memory, device: cpu none of the GPU's"
            ) from error
        return pipe

    def _device(self) -> str:
        return str(torch_device(self.device, "diffusers"))

    def _picture(self, prompt: str, seed: int) -> Image:
        import torch

        options = {
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance,
            "height": self.height,
            "width": self.width,
        }
        try:
            with warnings.catch_warnings():  # the picture is checked for NaN below
                warnings.filterwarnings("ignore", "invalid value encountered in cast", RuntimeWarning)
                result = self._pipe(
                    prompt=prompt,
                    generator=torch.Generator("cpu").manual_seed(seed),
                    output_type="np",
                    **{name: value for name, value in options.items() if value is not None},
                )
        except (RuntimeError, ValueError, TypeError, OSError) as error:
            raise BridgeError(
                f"diffusers: {self.model}: no picture of {prompt!r} ({first_line(error)}); check its options, or where "
                "memory is short offload, dtype, height and width"
            ) from error
        pixels = np.asarray(result.images[0])
        if any(getattr(result, "nsfw_content_detected", None) or ()):
            raise BridgeError(
                f"diffusers: {self.model}: its safety checker blackened the picture of {prompt!r}, seed {seed}; take "
                "another seed or text, or safety_checker: false"
            )
        if not np.isfinite(pixels).all() or np.ptp(pixels) == 0:
            raise BridgeError(
                f"diffusers: {self.model}: expected a picture of {prompt!r}, got NaN or one colour; take dtype: float32"
            )
        size = tuple(wanted or came for wanted, came in zip((self.height, self.width), pixels.shape, strict=False))
        if pixels.shape[:2] != size:
            came = " x ".join(map(str, pixels.shape[:2]))
            raise BridgeError(
                f"diffusers: {self.model}: expected a picture of {size[0]} x {size[1]}, got {came}, its nearest; give "
                "height and width that it has"
            )
        return (pixels * 255).round().astype(np.uint8)


@dataclass
class Files:
    """Pictures that the user has. Picture k of a call is number seed + k of the list, which starts anew at its end."""

    images: list[str] = field(default_factory=list)
    _seed: int | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        if isinstance(self.images, str) or not self.images:
            raise ConfigError(f"files: images: expected a list of pictures, got {self.images!r}; give their paths")

    def __call__(self, prompt: str, *, seed: int, n: int = 1) -> list[Image]:
        """Raises BridgeError for a picture that cannot be read, and where there are less than n."""
        if n > len(self.images):
            raise BridgeError(f"files: expected at least {n} pictures, got {len(self.images)}; add to images")
        self._seed = seed
        return [read_picture(Path(self.images[(seed + k) % len(self.images)])) for k in range(n)]

    def provenance(self) -> Provenance:
        paths = [expanded(name) for name in self.images]
        return Provenance(
            backend="files",
            weights=weight_hashes(path for path in paths if path.is_file()),
            options={"images": list(self.images)},
            seed=self._seed,
            notes=("pictures of the user; the text was not used",),
        )


@dataclass(frozen=True, eq=False)
class Generated:
    """I_hoi and I_obj of Eq. 2."""

    interaction: Image
    object: Image
    prompt: str
    object_prompt: str
    provenance: dict[str, Any]
    """Of "interaction" and "object", in values that JSON knows."""


def generate(
    prompt: str,
    object_name: str,
    backend: TextToImage,
    seed: int = 0,
    object_backend: TextToImage | None = None,
) -> Generated:
    """I_hoi, I_obj = G(T), Eq. 2: one model, asked for the functional text and for the object alone (OBJECT_PROMPT).

    The paper does not say what the object is asked for with. `object_backend` is used in place of `backend` for the
    object, such as a second `Files`. Raises ConfigError for an empty text or name, BridgeError where a picture fails.
    """
    if not object_name.strip():
        raise ConfigError("object: expected the object's name, got an empty one; name it, such as mug")
    object_prompt = OBJECT_PROMPT.format(object=object_name.strip())
    object_backend = object_backend or backend
    interaction = backend(prompt, seed=seed)[0]
    made = {"interaction": backend.provenance().as_dict() | {"prompt": prompt}}
    object_picture = object_backend(object_prompt, seed=seed)[0]
    made["object"] = object_backend.provenance().as_dict() | {"prompt": object_prompt}
    return Generated(interaction, object_picture, prompt, object_prompt, made)


def write_generated(generated: Generated, folder: Path) -> None:
    """Writes interaction.png, object.png and provenance.json to a folder, all or nothing."""

    def write_files(temporary: Path) -> None:
        Pictures.fromarray(generated.interaction).save(temporary / "interaction.png")
        Pictures.fromarray(generated.object).save(temporary / "object.png")
        write_provenance(temporary, generated.provenance)

    try:
        write_whole(expanded(folder).absolute(), write_files)
    except OSError as error:
        raise BridgeError(
            f"{folder}: cannot be written ({error.strerror}); free some space or choose another"
        ) from error


def write_provenance(folder: Path, values: Mapping[str, Any]) -> None:
    """provenance.json of a folder."""
    (folder / "provenance.json").write_text(json.dumps(values, indent=1, default=str) + "\n", encoding="utf-8")


def read_picture(path: Path) -> Image:
    """A picture as RGB, turned as its camera was; what is transparent becomes white. Raises BridgeError."""
    data = read_input(path, "a picture", BridgeError)
    try:
        return pictures.read_picture(data)
    except ValueError as error:
        raise BridgeError(f"{path}: expected a picture, cannot be read ({error}); convert it") from error


def load_pipeline(
    model: str, *, revision: str = "", variant: str = "", dtype: str = "float32", safety_checker: bool = True
) -> Any:
    """A text-to-image pipeline, on the CPU, from safetensors.

    A pipeline of another task, such as inpainting, becomes its text-to-image sibling; a class that AutoPipeline does
    not know is taken as it is. Raises BridgeError where it cannot be loaded.
    """
    try:
        torch: Any = import_module("torch")
        diffusers: Any = import_module("diffusers")
    except ImportError as error:
        raise BridgeUnavailable(
            f'diffusers: cannot be imported ({first_line(error)}): pip install "fgs-jax[bridges]"'
        ) from error
    quiet()
    folder = expanded(model)
    source = str(folder) if folder.is_dir() else model
    options: dict[str, Any] = {"revision": revision or None}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The `local_dir_use_symlinks` argument is deprecated", UserWarning)
            config = diffusers.DiffusionPipeline.load_config(source, **options)
            if not safety_checker and "safety_checker" in config:
                options |= {"safety_checker": None, "requires_safety_checker": False}
            options |= {"variant": variant or None, "dtype": getattr(torch, dtype), "use_safetensors": True}
            options |= _text_encoders(source, config, options)
            try:
                pipe = diffusers.AutoPipelineForText2Image.from_pretrained(source, **options)
            except ValueError as error:
                if "can't find a pipeline linked to" not in str(error):
                    raise
                pipe = diffusers.DiffusionPipeline.from_pretrained(source, **options)
        _check_whole(pipe, model)
    except BridgeError:
        raise
    except Exception as error:  # safetensors, huggingface_hub and transformers each raise their own
        advice = f"check the name, and for a machine without network fetch it on another: hf download {model}"
        if folder.is_dir():
            advice = "check what is in it"
        raise BridgeError(
            f"diffusers: {model}: expected a diffusers model's id or folder, cannot be loaded ({first_line(error)}); "
            + advice
        ) from error
    pipe.set_progress_bar_config(disable=None)  # None: shown on terminals only
    return pipe


def licence(model: str) -> str:
    """Of a model known here, or of the one that a folder of ours was trained from."""
    with_record = expanded(model) / "provenance.json"
    if with_record.is_file():
        with suppress(ValueError, AttributeError):
            return str(read_json(with_record.read_bytes()).get("licence", ""))
    return LICENCES.get(model, "see the model's page")


def _text_encoders(source: str, config: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The parts that transformers loads, which would fill missing weights with random numbers. Raises BridgeError."""
    torch: Any = import_module("torch")
    transformers: Any = import_module("transformers")
    wanted = {name: options[name] for name in ("revision", "variant", "dtype", "use_safetensors")}
    found = {}
    for name, part in config.items():
        if not isinstance(part, list | tuple) or part[0] != "transformers":
            continue
        kind = getattr(transformers, part[1], None)
        if not isinstance(kind, type) or not issubclass(kind, torch.nn.Module):
            continue
        loader: Any = kind
        found[name], report = loader.from_pretrained(source, subfolder=name, output_loading_info=True, **wanted)
        known = {weight for weight, _ in found[name].named_parameters()}
        _check_missing(source, name, known & set(report["missing_keys"]))
    return found


def _check_whole(pipe: Any, model: str) -> None:
    """Raises BridgeError for weights that the files do not have; diffusers leaves them without a value."""
    for name, part in pipe.components.items():
        if hasattr(part, "named_parameters"):
            _check_missing(model, name, {weight for weight, value in part.named_parameters() if value.is_meta})


def _check_missing(model: str, part: str, absent: set[str]) -> None:
    if absent:
        raise BridgeError(
            f"diffusers: {model}: {part}: expected all weights, {len(absent)} are missing, {min(absent)} among them; "
            "fetch the model again"
        )


def _lora_file(lora: str) -> Path:
    path = expanded(lora)
    if path.is_dir():
        files = sorted(path.glob("*.safetensors"))
        if path / LORA_FILE in files:
            files = [path / LORA_FILE]
        if len(files) != 1:
            raise ConfigError(f"lora: {lora}: expected one safetensors file, got {len(files)}; name the file")
        return files[0]
    if not path.is_file():
        raise ConfigError(f"lora: {lora}: expected a safetensors file or its folder, there is none; check the path")
    if path.suffix != ".safetensors":
        raise ConfigError(f"lora: {lora}: expected safetensors, which run no code, got {path.suffix}; convert it")
    return path


def _load_lora(pipe: Any, file: Path) -> None:
    try:
        if not hasattr(pipe, "load_lora_weights"):
            raise ValueError(f"{type(pipe).__name__} takes none")
        pipe.load_lora_weights(str(file.parent), weight_name=file.name, local_files_only=True)
        loaded = bool(pipe.get_active_adapters())
    except Exception as error:  # safetensors, peft and diffusers each raise their own
        raise BridgeError(
            f"{file}: expected a LoRA of this model, cannot be loaded ({first_line(error)}); give the model it is for"
        ) from error
    if not loaded:
        raise BridgeError(f"{file}: expected a LoRA of this model, none of its weights fit; give the model it is for")
