"""The model that DreamBooth tunes, its optimiser and its data: one step after another, checkpoints, samples, result."""

import hashlib
import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from fgs_bridges.dreambooth_config import KINDS, Dreambooth, Kind
from fgs_bridges.dreambooth_data import Encoded, draw, encode_text, fitted
from fgs_bridges.dreambooth_folder import picture_hashes, plain_values
from fgs_bridges.pretrained import first_line, torch_device
from fgs_bridges.provenance import model_files, versions, weight_hashes
from fgs_bridges.text_to_image import PACKAGES, licence, load_pipeline, read_picture, write_provenance
from fgs_bridges.types import Image, Provenance
from fgs_jax.errors import BridgeError, BridgeUnavailable, ConfigError
from fgs_jax.files import write_whole

TRAINED = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")

ATTENTION = ["to_k", "to_q", "to_v", "to_out.0"]
"""The layers that a LoRA adapts."""


class Trainer:
    """The model, its optimiser and its data, after `step` steps."""

    def __init__(self, config: Dreambooth, prior: dict[str, list[Path]]) -> None:
        diffusers: Any = import_module("diffusers")
        self.config, self.step = config, 0
        self.pipe = load_pipeline(config.model, revision=config.revision)
        _check_pipeline(self.pipe, config)
        self.accelerator = _accelerator(config)
        self.device = self.accelerator.device
        self.noise = diffusers.DDPMScheduler.from_config(self.pipe.scheduler.config)
        for part in ("vae", "text_encoder", "text_encoder_2", "unet"):
            if getattr(self.pipe, part, None) is not None:
                getattr(self.pipe, part).requires_grad_(False)
        self.examples, self.prior = self._encoded(prior)
        unet = self.pipe.unet
        if config.method == "lora":
            self._add_lora(unet)
        else:
            unet.requires_grad_(True)
        if config.gradient_checkpointing:
            unet.enable_gradient_checkpointing()
        self.unet = self.accelerator.prepare(unet)
        self.trained = {name: weight for name, weight in unet.named_parameters() if weight.requires_grad}
        self.optimizer = self.accelerator.prepare(_optimizer(config)(list(self.trained.values())))

    def advance(self) -> tuple[float, float]:
        """One step of the optimiser; the means of the two terms of Eq. 13, the prior's without lambda."""
        config, sums = self.config, np.zeros(2)
        self.unet.train()
        for part in range(config.accumulation):
            with self.accelerator.accumulate(self.unet):
                terms = self._losses(part)
                self.accelerator.backward(terms[0] + config.prior_weight * terms[1])
                if self.accelerator.sync_gradients and config.clip:
                    self.accelerator.clip_grad_norm_(list(self.trained.values()), config.clip)
                self.optimizer.step()
                self.optimizer.zero_grad()
                sums += [float(term.detach()) for term in terms]
        if not np.isfinite(sums).all():
            raise BridgeError(
                f"dreambooth: step {self.step + 1}: the loss is not finite; take a smaller learning_rate, or "
                "mixed_precision: no"
            )
        self.step += 1
        return tuple(sums / config.accumulation)

    def errors(self, batch: Sequence[Encoded], latents: Any, noise: Any, times: Any) -> Any:
        """Mean squared error of the prediction for each picture, (n,): w_t |x^ - x|^2 / size of Eq. 13."""
        latents, noise, times = latents.to(self.device), noise.to(self.device), times.to(self.device)
        prediction = self.predict(self.noise.add_noise(latents, noise, times), times, batch)
        return ((prediction - self.target(latents, noise, times)) ** 2).mean(dim=(1, 2, 3))

    def predict(self, noisy: Any, times: Any, batch: Sequence[Encoded]) -> Any:
        """The UNet's prediction, float32."""
        torch: Any = import_module("torch")
        added = {}
        if batch[0].pooled is not None:
            added = {
                "text_embeds": torch.cat([item.pooled for item in batch]).to(self.device),
                "time_ids": torch.cat([item.time_ids for item in batch]).to(self.device),
            }
        text = torch.cat([item.text for item in batch]).to(self.device)
        dtype = self.unet.dtype if self.config.method == "lora" else noisy.dtype
        return self.unet(
            noisy.to(dtype),
            times,
            text.to(dtype),
            added_cond_kwargs=added or None,
        ).sample.float()

    def target(self, latents: Any, noise: Any, times: Any) -> Any:
        """What the UNet should predict: the noise, or for models of `v_prediction` the velocity (w_t = 1/sigma_t^2)."""
        if self.noise.config.prediction_type == "epsilon":
            return noise
        return self.noise.get_velocity(latents, noise, times)

    def save(self, folder: Path) -> None:
        """Writes a checkpoint, all or nothing."""
        torch: Any = import_module("torch")
        safetensors: Any = import_module("safetensors.torch")
        scaler = self.accelerator.scaler
        state = {
            "optimizer": self.optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else {},
        }

        def write_files(temporary: Path) -> None:
            weights = {name: weight.detach().cpu().contiguous() for name, weight in self.trained.items()}
            safetensors.save_file(weights, str(temporary / "weights.safetensors"))
            torch.save(state, temporary / "optimizer.pt")
            (temporary / "state.json").write_text(
                json.dumps({"step": self.step, "seed": self.config.seed}), encoding="utf-8"
            )

        write_whole(folder, write_files)

    def load(self, folder: Path) -> None:
        """Reads a checkpoint. Raises BridgeError where it is damaged."""
        torch: Any = import_module("torch")
        safetensors: Any = import_module("safetensors.torch")
        try:
            weights = safetensors.load_file(str(folder / "weights.safetensors"))
            state = torch.load(folder / "optimizer.pt", map_location="cpu", weights_only=True)
            step = json.loads((folder / "state.json").read_text(encoding="utf-8"))["step"]
            with torch.no_grad():
                for name, weight in self.trained.items():
                    weight.copy_(weights[name])
            self.optimizer.load_state_dict(state["optimizer"])
        except Exception as error:  # safetensors, zipfile and pickle each raise their own
            raise BridgeError(f"{folder}: damaged checkpoint ({first_line(error)}); delete it and run again") from error
        if self.accelerator.scaler is not None and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step = step

    def samples(self) -> Image:
        """A grid: a row for each sample prompt, two seeds in each."""
        config, torch = self.config, import_module("torch")
        kinds = (config.interaction, config.object)
        default = [prompt for kind in kinds for prompt in (kind.pairs[0].text, kind.class_prompt)]
        self.unet.eval()
        self.pipe.to(self.device)
        self.pipe.set_progress_bar_config(disable=True)
        rows = []
        for prompt in config.sample_prompts or default:
            made = [
                self.pipe(
                    prompt,
                    num_inference_steps=config.prior_steps or 50,
                    height=config.resolution,
                    width=config.resolution,
                    generator=torch.Generator("cpu").manual_seed(config.seed + column),
                    output_type="np",
                ).images[0]
                for column in range(2)
            ]
            rows.append(np.concatenate(made, axis=1))
        self._rest()
        return (np.nan_to_num(np.concatenate(rows)) * 255).round().astype(np.uint8)

    def write_result(self, folder: Path) -> None:
        """Writes what `Diffusers` loads, and its provenance."""
        config = self.config
        unet = self.accelerator.unwrap_model(self.unet, keep_fp32_wrapper=False)
        if config.method == "full":
            self.pipe.to("cpu")
            self.pipe.save_pretrained(folder)
        else:
            peft, diffusers = import_module("peft"), import_module("diffusers.utils")
            layers = diffusers.convert_state_dict_to_diffusers(peft.get_peft_model_state_dict(unet))
            type(self.pipe).save_lora_weights(str(folder), unet_lora_layers=layers)
        revision, files = model_files(config.model, config.revision or None)
        made = Provenance(
            backend="dreambooth",
            model=config.model,
            revision=revision,
            versions=versions(*PACKAGES),
            weights=weight_hashes(files),
            options=plain_values(config) | {"pictures": picture_hashes(config)},
            seed=config.seed,
            licence=licence(config.model),
            notes=(
                "Eq. 13 as the error of the predicted noise, with a class prompt in its prior term",
                str(self.device),
            ),
        )
        write_provenance(folder, made.as_dict())

    def _losses(self, part: int) -> Sequence[Any]:
        """The two terms of Eq. 13, over one batch, without lambda."""
        torch: Any = import_module("torch")
        config = self.config
        generator = torch.Generator("cpu").manual_seed(_seed(config.seed, self.step, part))
        first = (self.step * config.accumulation + part) * config.batch
        drawn = [self._example(first + k) for k in range(config.batch)]
        batch = [example for _, example in drawn]
        if config.prior_weight:
            for name, _ in drawn:
                of_kind = self.prior[name]
                batch.append(of_kind[int(torch.randint(len(of_kind), (), generator=generator))])
        errors = self.errors(batch, *draw(batch, self.noise.config.num_train_timesteps, generator))
        n = config.batch
        return errors[:n].mean(), errors[n:].mean() if config.prior_weight else torch.zeros((), device=self.device)

    def _example(self, position: int) -> tuple[str, Encoded]:
        """Kind and picture at a place in an endless row of shuffles."""
        epoch, place = divmod(position, len(self.examples))
        return self.examples[np.random.default_rng([self.config.seed, epoch]).permutation(len(self.examples))[place]]

    def _encoded(self, prior: dict[str, list[Path]]) -> tuple[list[tuple[str, Encoded]], dict[str, list[Encoded]]]:
        """The pictures and texts of the user by kind, and the prior's, through VAE and text encoders, once for all."""
        self._move("vae", "text_encoder", "text_encoder_2", device=self.device)
        config, texts = self.config, {}
        for name in KINDS:
            kind: Kind = getattr(config, name)
            for text in (kind.class_prompt, *(pair.text for pair in kind.pairs)):
                texts[text] = encode_text(self.pipe, text, self.device)
        examples = [
            (name, self._encode(Path(pair.image), texts[pair.text]))
            for name in KINDS
            for pair in getattr(config, name).pairs
        ]
        of_prior = {
            name: [self._encode(path, texts[getattr(config, name).class_prompt]) for path in prior[name]]
            for name in KINDS
        }
        self._rest()
        return examples, of_prior

    def _encode(self, path: Path, text: Sequence[Any]) -> Encoded:
        torch: Any = import_module("torch")
        resolution = self.config.resolution
        pixels, size, corner = fitted(read_picture(path), resolution)
        vae = self.pipe.vae
        with torch.no_grad():
            tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(self.device)
            latent = vae.encode(tensor).latent_dist
        mean, std = latent.mean, latent.std
        shift = getattr(vae.config, "shift_factor", None) or 0.0
        factor = vae.config.scaling_factor
        made = Encoded(((mean - shift) * factor).cpu(), (std * factor).cpu(), *text)
        if made.pooled is None:
            return made
        return made._replace(time_ids=torch.tensor([[*size, *corner, resolution, resolution]], dtype=torch.float32))

    def _add_lora(self, unet: Any) -> None:
        torch: Any = import_module("torch")
        peft: Any = import_module("peft")
        helpers: Any = import_module("diffusers.training_utils")
        unet.to(self.device, {"fp16": torch.float16, "bf16": torch.bfloat16}.get(self.config.mixed_precision))
        rank = self.config.rank
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            unet.add_adapter(
                peft.LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=ATTENTION)
            )
        helpers.cast_training_params(unet, dtype=torch.float32)

    def _rest(self) -> None:
        """What is not trained leaves the GPU."""
        self._move("vae", "text_encoder", "text_encoder_2", "safety_checker", device="cpu")

    def _move(self, *parts: str, device: Any) -> None:
        for part in parts:
            if getattr(self.pipe, part, None) is not None:
                getattr(self.pipe, part).to(device)


def _accelerator(config: Dreambooth) -> Any:
    accelerate: Any = import_module("accelerate")
    device = torch_device(config.device, "dreambooth").type
    if config.mixed_precision == "fp16" and device == "cpu":
        raise ConfigError("mixed_precision: expected no or bf16 on the CPU, got fp16; change it")
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)  # or one process has one precision
    accelerator = accelerate.Accelerator(
        cpu=device == "cpu",
        mixed_precision=config.mixed_precision,
        gradient_accumulation_steps=config.accumulation,
    )
    if accelerator.num_processes > 1:
        raise ConfigError(f"dreambooth: expected one process, got {accelerator.num_processes}; do not launch several")
    return accelerator


def _optimizer(config: Dreambooth) -> Any:
    torch: Any = import_module("torch")
    kind = torch.optim.AdamW
    if config.optimizer == "adam-8bit":
        try:
            kind = import_module("bitsandbytes").optim.AdamW8bit
        except ImportError as error:
            raise BridgeUnavailable(
                "optimizer: adam-8bit needs bitsandbytes, not installed here: pip install bitsandbytes"
            ) from error
    return lambda weights: kind(weights, lr=config.learning_rate, weight_decay=config.weight_decay)


def _check_pipeline(pipe: Any, config: Dreambooth) -> None:
    name = type(pipe).__name__
    if name not in TRAINED:
        raise BridgeError(
            f"dreambooth: {config.model}: expected {' or '.join(TRAINED)}, got {name}, which Eq. 13 is not for; train "
            "a LoRA with diffusers' script for it, and give it as the lora of the diffusers back end"
        )
    kind = pipe.scheduler.config.prediction_type
    if kind not in ("epsilon", "v_prediction"):
        raise BridgeError(f"dreambooth: {config.model}: expected a model that predicts noise or velocity, got {kind}")
    if config.resolution % pipe.vae_scale_factor:
        factor = pipe.vae_scale_factor
        raise ConfigError(f"resolution: expected a multiple of {factor}, got {config.resolution}; change it")


def _seed(*parts: int) -> int:
    digest = hashlib.sha256(" ".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
