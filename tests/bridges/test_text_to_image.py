"""The diffusers back end on tiny random pipelines of the real classes, and the user's own pictures."""

import json
import os
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pictures

from fgs_bridges.provenance import sha256
from fgs_bridges.registry import create
from fgs_bridges.text_to_image import (
    OBJECT_PROMPT,
    SD15,
    Diffusers,
    Files,
    generate,
    load_pipeline,
    read_picture,
    write_generated,
)
from fgs_jax.errors import BridgeError, ConfigError, FgsError
from tests.bridges.tiny_diffusion import SIZE, picture, save_tiny, save_tiny_flux

torch = pytest.importorskip("torch", reason='pip install "fgs-jax[bridges]"')
pytest.importorskip("diffusers", reason='pip install "fgs-jax[bridges]"')

PROMPT = "a hand drinks water from a mug"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny(tmp_path_factory.mktemp("sd") / "model")


@pytest.fixture(scope="module")
def tiny_xl(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny(tmp_path_factory.mktemp("sdxl") / "model", "sdxl")


@pytest.mark.parametrize("kind", ["tiny", "tiny_xl"])
def test_a_seed_is_a_picture(kind: str, request: pytest.FixtureRequest) -> None:
    backend = Diffusers(model=request.getfixturevalue(kind), steps=2)
    first, second = backend(PROMPT, seed=3, n=2)
    assert first.shape == (SIZE, SIZE, 3) and first.dtype == np.uint8
    assert np.array_equal(backend(PROMPT, seed=3)[0], first)
    assert np.array_equal(backend(PROMPT, seed=4)[0], second)
    assert not np.array_equal(first, second)
    assert not np.array_equal(backend("a knife", seed=3)[0], first)
    again = Diffusers(model=request.getfixturevalue(kind), steps=2)
    assert np.array_equal(again(PROMPT, seed=4)[0], second)


def test_flux_2_klein_and_its_lora(tmp_path: Path) -> None:
    peft: Any = pytest.importorskip("peft", reason='pip install "fgs-jax[bridges]"')
    model = save_tiny_flux(tmp_path / "flux")
    options: dict[str, Any] = {"model": model, "steps": 2, "height": SIZE, "width": SIZE}
    backend = Diffusers(**options)
    plain = backend(PROMPT, seed=0)[0]
    assert plain.shape == (SIZE, SIZE, 3)
    assert np.array_equal(Diffusers(**options)(PROMPT, seed=0)[0], plain)
    assert backend.provenance().notes == ("Flux2KleinPipeline, torch.float32, cpu",)
    transformer = backend._pipe.transformer
    torch.manual_seed(0)
    transformer.add_adapter(
        peft.LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=["to_k", "to_v"])
    )
    layers = peft.get_peft_model_state_dict(transformer)
    type(backend._pipe).save_lora_weights(str(tmp_path / "lora"), transformer_lora_layers=layers)
    tuned = backend(PROMPT, seed=0)[0]
    assert not np.array_equal(tuned, plain)
    loaded = Diffusers(**options, lora=str(tmp_path / "lora"))
    assert np.array_equal(loaded(PROMPT, seed=0)[0], tuned)
    lora_file = tmp_path / "lora" / "pytorch_lora_weights.safetensors"
    assert loaded.provenance().weights[lora_file.name] == sha256(lora_file)


def test_a_saved_pipeline_gives_the_same_picture(tiny: str, tmp_path: Path) -> None:
    backend = Diffusers(model=tiny, steps=2)
    expected = backend(PROMPT, seed=0)[0]
    backend._pipe.save_pretrained(tmp_path / "again")
    assert np.array_equal(Diffusers(model=str(tmp_path / "again"), steps=2)(PROMPT, seed=0)[0], expected)


def test_picture_is_the_pipelines_own(tiny: str) -> None:
    pipe = load_pipeline(tiny)
    options: dict[str, Any] = {"num_inference_steps": 2, "guidance_scale": 3.0, "height": 24, "width": 32}
    expected = pipe(PROMPT, generator=torch.Generator().manual_seed(5), **options).images[0]
    got = Diffusers(model=tiny, steps=2, guidance=3.0, height=24, width=32)(PROMPT, seed=5)[0]
    assert got.shape == (24, 32, 3)
    assert np.array_equal(got, np.asarray(expected))


def test_provenance(tiny: str) -> None:
    backend = Diffusers(model=tiny, steps=2, guidance=1.0)
    assert backend.provenance().seed is None
    backend(PROMPT, seed=11)
    made = backend.provenance().as_dict()
    assert (made["backend"], made["model"], made["seed"]) == ("diffusers", tiny, 11)
    assert made["weights"]["unet/diffusion_pytorch_model.safetensors"] == sha256(
        Path(tiny) / "unet" / "diffusion_pytorch_model.safetensors"
    )
    assert made["options"]["steps"] == 2 and made["options"]["guidance"] == 1.0
    assert made["versions"].keys() >= {"torch", "diffusers", "transformers"}
    assert made["notes"] == ["StableDiffusionPipeline, torch.float32, cpu"]
    json.dumps(made)
    assert Diffusers().provenance().licence == "CreativeML OpenRAIL-M"


def test_another_tasks_pipeline_becomes_text_to_image(tiny: str, tmp_path: Path) -> None:
    shutil.copytree(tiny, tmp_path / "model")
    index = tmp_path / "model" / "model_index.json"
    index.write_text(index.read_text().replace('"StableDiffusionPipeline"', '"StableDiffusionImg2ImgPipeline"'))
    other = Diffusers(model=str(tmp_path / "model"), steps=2)
    assert np.array_equal(other(PROMPT, seed=0)[0], Diffusers(model=tiny, steps=2)(PROMPT, seed=0)[0])


def test_safety_checker(tiny: str, tmp_path: Path) -> None:
    transformers: Any = import_module("transformers")
    stable_diffusion: Any = import_module("diffusers.pipelines.stable_diffusion.safety_checker")
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = transformers.CLIPVisionConfig(**small, image_size=8, patch_size=4).to_dict()
    checker = stable_diffusion.StableDiffusionSafetyChecker(
        transformers.CLIPConfig(vision_config=vision, projection_dim=8)
    )
    checker.concept_embeds_weights.data.fill_(-2)  # every picture is nearer than that
    pipe = load_pipeline(tiny)
    size = {"height": 8, "width": 8}
    pipe.register_modules(
        safety_checker=checker,
        feature_extractor=import_module("transformers").CLIPImageProcessor(size={"shortest_edge": 8}, crop_size=size),
    )
    pipe.register_to_config(requires_safety_checker=True)
    pipe.save_pretrained(tmp_path)
    with pytest.raises(BridgeError, match=r"safety checker blackened .*, seed 0; take another seed"):
        Diffusers(model=str(tmp_path), steps=2)(PROMPT, seed=0)
    free = Diffusers(model=str(tmp_path), steps=2, safety_checker=False)
    assert np.array_equal(free(PROMPT, seed=0)[0], Diffusers(model=tiny, steps=2)(PROMPT, seed=0)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"model": "nobody/nothing"},
            r"nobody/nothing: expected a diffusers model's id or folder.*hf download nobody/nothing",
        ),
        ({"model": "MODEL/unet"}, r"unet: expected a diffusers model's id or folder"),
        ({"height": 15}, r"expected a picture of 15 x 16, got 16 x 16"),
        ({"guidance": "much"}, r"no picture of "),
        ({"steps": 0}, r"steps: expected at least 1, got 0"),
        ({"dtype": "float8"}, r"dtype: expected one of auto, float32"),
        ({"lora": "gone.safetensors"}, r"gone\.safetensors: expected a safetensors file or its folder, there is none"),
        ({"lora": "MODEL/model_index.json"}, r"expected safetensors, which run no code, got \.json"),
        ({"lora": "MODEL/scheduler"}, r"expected one safetensors file, got 0"),
        ({"lora": "MODEL/unet"}, r"expected a LoRA of this model"),
    ],
)
def test_errors_are_one_line(tiny: str, options: dict[str, Any], message: str) -> None:
    options = {k: v.replace("MODEL", tiny) if isinstance(v, str) else v for k, v in options.items()}
    with pytest.raises(FgsError, match=message) as caught:
        Diffusers(**({"model": tiny, "steps": 2} | options))(PROMPT, seed=0)
    assert "\n" not in str(caught.value)


def test_a_gpu_that_there_is_not(tiny: str) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(BridgeError, match="expected a GPU that torch finds, got cuda"):
        Diffusers(model=tiny, device="cuda")(PROMPT, seed=0)


def test_an_empty_prompt(tiny: str) -> None:
    with pytest.raises(ConfigError, match="prompt: expected a text, got an empty one"):
        Diffusers(model=tiny)(" ", seed=0)


def test_pickled_weights_are_refused(tiny: str, tmp_path: Path) -> None:
    safetensors: Any = import_module("safetensors.torch")
    shutil.copytree(tiny, tmp_path / "model")
    weights = tmp_path / "model" / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(safetensors.load_file(str(weights)), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(BridgeError, match=r"cannot be loaded .*safetensors"):
        Diffusers(model=str(tmp_path / "model"))(PROMPT, seed=0)


@pytest.mark.parametrize("part", ["unet/diffusion_pytorch_model", "text_encoder/model"])
def test_damaged_weights(tiny: str, tmp_path: Path, part: str) -> None:
    shutil.copytree(tiny, tmp_path / "model")
    weights = tmp_path / "model" / f"{part}.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(BridgeError, match=r"cannot be loaded .*; check what is in it") as caught:
        Diffusers(model=str(tmp_path / "model"))(PROMPT, seed=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["unet/diffusion_pytorch_model", "text_encoder/model"])
def test_missing_weights_are_not_random(tiny: str, tmp_path: Path, part: str) -> None:
    safetensors: Any = import_module("safetensors.torch")
    shutil.copytree(tiny, tmp_path / "model")
    file = tmp_path / "model" / f"{part}.safetensors"
    weights = safetensors.load_file(str(file))
    weights.pop(next(name for name in weights if name.endswith("weight") and weights[name].ndim == 2))
    safetensors.save_file(weights, str(file))
    with pytest.raises(BridgeError, match=r"(unet|text_encoder): expected all weights, 1 are missing, .*weight among"):
        Diffusers(model=str(tmp_path / "model"))(PROMPT, seed=0)


def test_pictures_that_mean_nothing_are_refused(tiny: str) -> None:
    backend = Diffusers(model=tiny, steps=2)
    backend(PROMPT, seed=0)
    with torch.no_grad():
        backend._pipe.unet.conv_out.bias.fill_(float("nan"))
    with pytest.raises(BridgeError, match="got NaN or one colour; take dtype: float32"):
        backend(PROMPT, seed=0)


def test_files(tmp_path: Path) -> None:
    pictures = [picture(seed) for seed in range(3)]
    paths = [str(tmp_path / f"{k}.png") for k in range(3)]
    for path, array in zip(paths, pictures, strict=True):
        Pictures.fromarray(array).save(path)
    backend = create("text_to_image", "files", images=paths)
    for got, expected in zip(backend("any", seed=1, n=3), [pictures[1], pictures[2], pictures[0]], strict=True):
        assert np.array_equal(got, expected)
    made = backend.provenance().as_dict()
    assert made["weights"]["2.png"] == sha256(tmp_path / "2.png")
    assert made["notes"] == ["pictures of the user; the text was not used"]
    with pytest.raises(BridgeError, match="expected at least 4 pictures, got 3"):
        backend("any", seed=0, n=4)
    with pytest.raises(BridgeError, match=r"gone\.png: expected a picture, there is none"):
        Files([str(tmp_path / "gone.png")])("any", seed=0)
    for images in ([], "a.png"):
        with pytest.raises(ConfigError, match="images: expected a list of pictures"):
            Files(images)  # pyright: ignore[reportArgumentType]


def test_reading_pictures(tmp_path: Path) -> None:
    clear = np.zeros((4, 6, 4), np.uint8)
    clear[0, 0] = (10, 20, 30, 255)
    Pictures.fromarray(clear).save(tmp_path / "clear.png")
    read = read_picture(tmp_path / "clear.png")
    assert read[0, 0].tolist() == [10, 20, 30] and (read.reshape(-1, 3)[1:] == 255).all()
    turned = Pictures.fromarray(np.zeros((4, 6, 3), np.uint8))
    turned.getexif()[0x0112] = 6  # the camera was turned by 90 degrees
    turned.save(tmp_path / "turned.png", exif=turned.getexif())
    assert read_picture(tmp_path / "turned.png").shape == (6, 4, 3)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(BridgeError, match=r"text\.png: expected a picture, cannot be read") as caught:
        read_picture(tmp_path / "text.png")
    assert "\n" not in str(caught.value)


def test_files_that_are_no_pictures(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    frames = [Pictures.new("L", (4, 4), grey) for grey in (0, 200)]
    frames[0].save(tmp_path / "moves.gif", save_all=True, append_images=frames[1:])
    for name, message in {
        "pipe.png": "expected a picture, came a pipe; save what it brings as a file first",
        "folder.png": "expected a picture, came a folder",
        "moves.gif": "cannot be read .several pictures in one file",
        "x" * 300 + ".png": "cannot be read .File name too long",
    }.items():
        with pytest.raises(BridgeError, match=message) as caught:
            read_picture(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_generate(tiny: str, tmp_path: Path) -> None:
    backend = Diffusers(model=tiny, steps=2)
    made = generate(PROMPT, "mug", backend, seed=2)
    assert np.array_equal(made.interaction, backend(PROMPT, seed=2)[0])
    assert made.object_prompt == "a photo of a mug, white background" == OBJECT_PROMPT.format(object="mug")
    assert np.array_equal(made.object, backend(made.object_prompt, seed=2)[0])
    write_generated(made, tmp_path / "pictures")
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == [
        "interaction.png",
        "object.png",
        "provenance.json",
    ]
    assert np.array_equal(read_picture(tmp_path / "pictures" / "object.png"), made.object)
    record = json.loads((tmp_path / "pictures" / "provenance.json").read_text())
    assert record["object"]["prompt"] == made.object_prompt and record["interaction"]["prompt"] == PROMPT
    assert record["interaction"]["seed"] == 2 and record["interaction"]["model"] == tiny
    with pytest.raises(ConfigError, match="object: expected the object's name"):
        generate(PROMPT, "", backend)


def test_generate_from_two_lists(tmp_path: Path) -> None:
    for name, seed in (("hand.png", 0), ("mug.png", 1)):
        Pictures.fromarray(picture(seed)).save(tmp_path / name)
    made = generate(PROMPT, "mug", Files([str(tmp_path / "hand.png")]), 0, Files([str(tmp_path / "mug.png")]))
    assert np.array_equal(made.interaction, picture(0)) and np.array_equal(made.object, picture(1))


@pytest.mark.weights
@pytest.mark.gpu
def test_stable_diffusion_as_published() -> None:
    from huggingface_hub import try_to_load_from_cache

    if not torch.cuda.is_available() or not isinstance(try_to_load_from_cache(SD15, "model_index.json"), str):
        pytest.skip(f"needs a GPU and the weights: hf download {SD15}")
    made = generate(PROMPT, "mug", Diffusers(), seed=0)
    for image in (made.interaction, made.object):
        assert image.shape == (512, 512, 3) and image.std() > 10
