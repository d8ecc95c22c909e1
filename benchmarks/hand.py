"""The hand layer against other MANO layers: `python -m benchmarks.hand`.

Forward, and forward with the gradient of sum(vertices**2) in betas, pose, rotation and translation, for batches of
hands, float32. All contenders get the same synthetic file of MANO's format, the same parameters and the same threads,
run in one process turn by turn, and are timed only after their vertices and gradients were found equal to ours.
smplx and manotorch are timed where they are installed; the project needs neither.
"""

import argparse
import os
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from body_models.mano.jax import MANO as JaxMano  # noqa: N811
from body_models.mano.torch import MANO as TorchMano  # noqa: N811

from benchmarks.timing import interleaved_medians, limit_threads, machine, peak_memory, timed, write_section
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.mano import hand
from fgs_jax.testing import synthetic_mano, write_mano_npz, write_mano_pickle
from fgs_jax.types import HandParams

ROUNDS = {1: 200, 64: 60, 1024: 15}
AIM = {"body-models JAX": 4.0, "body-models torch": 6.0}
"""How many times faster than these the layer shall be: forward and backward, batch 1024, two CPU cores."""

Parameters = dict[str, Any]


class Calls(NamedTuple):
    """A contender at one batch size; a call returns when its result is there."""

    forward: Callable[[], Any]
    """The vertices."""
    backward: Callable[[], Any]
    """The four gradients."""


def ours(path: Path, values: Parameters) -> Calls:
    def vertices(model: Any, inputs: Parameters) -> jax.Array:
        return jax.vmap(lambda each: hand(model, HandParams(**each)))(inputs).vertices

    return _jax_calls(vertices, load_hand_model(path), values)


def body_models_jax(path: Path, values: Parameters) -> Calls:
    vertices = _body_models(JaxMano, path)
    return _jax_calls(lambda _, inputs: vertices(inputs), None, values)


def body_models_torch(path: Path, values: Parameters, *, compiled: bool = False) -> Calls:
    return _torch_calls(_body_models(TorchMano, path), values, compiled=compiled)


def smplx(path: Path, values: Parameters) -> Calls:
    import smplx  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

    options = {"use_pca": False, "flat_hand_mean": True, "batch_size": len(values["betas"]), "ext": "npz"}
    model = smplx.create(str(path), model_type="mano", **options).to(_torch_device())

    def vertices(inputs: Parameters) -> torch.Tensor:
        pose, root = inputs["pose"].flatten(1), inputs["rotation"]
        return model(inputs["betas"], root, pose, transl=inputs["translation"]).vertices

    return _torch_calls(vertices, values)


def manotorch(path: Path, values: Parameters) -> Calls:
    from manotorch.manolayer import ManoLayer  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

    options = {"rot_mode": "axisang", "side": "right", "use_pca": False, "flat_hand_mean": True}
    layer = ManoLayer(mano_assets_root=str(path.parents[1]), **options).to(_torch_device())

    def vertices(inputs: Parameters) -> torch.Tensor:
        pose = torch.cat([inputs["rotation"], inputs["pose"].flatten(1)], dim=1)
        return layer(pose, inputs["betas"]).verts + inputs["translation"][:, None]

    return _torch_calls(vertices, values)


CONTENDERS: dict[str, Callable[[Path, Parameters], Calls]] = {
    "fgs_jax": ours,
    "body-models JAX": body_models_jax,
    "body-models torch": body_models_torch,
    "body-models torch.compile": partial(body_models_torch, compiled=True),
    "smplx": smplx,
    "manotorch": manotorch,
}


def _body_models(mano: Any, path: Path) -> Callable[[Parameters], Any]:
    model = mano(model_path=path, flat_hand_mean=True)
    if mano is TorchMano:
        model.to(_torch_device())

    def vertices(inputs: Parameters) -> Any:
        placed = {"wrist_rotation": inputs["rotation"], "global_translation": inputs["translation"]}
        return model.forward_vertices(inputs["pose"], shape=inputs["betas"], **placed)

    return vertices


def _jax_calls(vertices: Callable[[Any, Parameters], jax.Array], model: Any, values: Parameters) -> Calls:
    inputs = jax.tree.map(jnp.asarray, values)
    forward = jax.jit(vertices)
    backward = jax.jit(jax.value_and_grad(lambda inputs, model: (vertices(model, inputs) ** 2).sum()))
    return Calls(
        lambda: jax.block_until_ready(forward(model, inputs)),
        lambda: tuple(jax.block_until_ready(backward(inputs, model))[1].values()),
    )


def _torch_calls(
    vertices: Callable[[Parameters], torch.Tensor], values: Parameters, *, compiled: bool = False
) -> Calls:
    def loss(inputs: Parameters) -> torch.Tensor:
        return (vertices(inputs) ** 2).sum()

    inputs = {key: torch.tensor(value, device=_torch_device()) for key, value in values.items()}
    leaves = {key: value.clone().requires_grad_() for key, value in inputs.items()}
    compiling = partial(torch.compile, dynamic=False, disable=not compiled)
    vertices_pass, loss_pass = compiling(vertices), compiling(loss)
    torch.compiler.reset()  # drops what was compiled for another batch

    def forward() -> torch.Tensor:
        with torch.no_grad():
            return _synchronised(vertices_pass(inputs))

    def backward() -> tuple[torch.Tensor, ...]:
        return _synchronised(torch.autograd.grad(loss_pass(leaves), list(leaves.values())))

    return Calls(forward, backward)


def _torch_device() -> str:
    return "cuda" if jax.default_backend() == "gpu" else "cpu"


def _synchronised(result: Any) -> Any:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result


def random_parameters(batch: int) -> Parameters:
    """Hands of a photo: bent fingers, any rotation."""
    random = np.random.default_rng(0)
    sizes = {"betas": ((10,), 1.0), "pose": ((15, 3), 0.6), "rotation": ((3,), 1.5), "translation": ((3,), 0.3)}
    return {k: (random.normal(size=(batch, *shape)) * sigma).astype(np.float32) for k, (shape, sigma) in sizes.items()}


def set_up() -> None:
    """The same threads and the same precision for all, and no program compiled by an earlier run."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    jax.config.update("jax_enable_compilation_cache", False)
    jax.config.update("jax_default_matmul_precision", "highest")  # as torch's default: no TF32
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # leaves torch its part of a GPU
    torch.compiler.config.force_disable_caches = True
    warnings.filterwarnings("ignore", category=UserWarning, module=r"torch\._dynamo")


def prepare_backward(name: str, path: Path, batch: int) -> Callable[[], Any]:
    """The call whose memory is measured, in a process of its own."""
    set_up()
    return CONTENDERS[name](path, random_parameters(batch)).backward


def why_skipped(name: str, path: Path) -> str | None:
    """Why this contender cannot take part here; None where it can."""
    try:
        CONTENDERS[name](path, random_parameters(1)).backward()
    except ImportError as error:
        return f"not installed ({error})"
    except Exception as error:
        return f"does not run here: {str(error).splitlines()[0]}"
    return None


def check_equal(name: str, calls: Calls, reference: Calls) -> None:
    """Ends the program where vertices differ by 1e-5 m, or a gradient by 1e-4 of its norm."""

    def arrays(results: Any) -> list[np.ndarray]:
        return [np.asarray(each.cpu() if isinstance(each, torch.Tensor) else each) for each in results]

    found, expected = (arrays([each.forward(), *each.backward()]) for each in (calls, reference))
    metres = np.abs(found[0] - expected[0]).max()
    pairs = zip(found[1:], expected[1:], strict=True)
    relative = max(np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in pairs)
    if not (metres <= 1e-5 and relative <= 1e-4):
        raise SystemExit(f"{name}: not the same function, vertices differ by {metres:.1e} m, gradients {relative:.1e}")


def measure(path: Path, names: list[str], batch: int) -> tuple[dict[tuple[str, str], float], dict[str, float]]:
    """Median seconds by contender and direction; by contender how much longer the first backward call took."""
    contenders = {name: CONTENDERS[name](path, random_parameters(batch)) for name in names}
    first = {name: timed(calls.backward) for name, calls in contenders.items()}
    for name, calls in contenders.items():
        check_equal(name, calls, contenders["fgs_jax"])
    calls = {(name, kind): getattr(contenders[name], kind) for kind in Calls._fields for name in names}
    medians = interleaved_medians(calls, ROUNDS[batch])
    return medians, {name: max(0.0, first[name] - medians[name, "backward"]) for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, metavar="N", help="cores for every contender; default all")
    parser.add_argument("--batches", type=int, nargs="+", choices=ROUNDS, default=list(ROUNDS), metavar="B")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="put the table into its section of this file")
    parser.add_argument("--gate", action="store_true", help="exit 1 where the aim is missed on CPU at batch 1024")
    options = parser.parse_args()
    if options.gate and 1024 not in options.batches:
        parser.error("--gate: the aim is set for batch 1024, add it to --batches")
    limit_threads(options.threads)
    set_up()
    backend, last_line = jax.default_backend(), machine("jax", "torch", "body-models")

    columns = ("forward, ms", "theirs / ours", "forward + backward, ms", "theirs / ours", "compile, s", "memory, MB")
    rows = [f"| batch | layer | {' | '.join(columns)} |", f"|--:|---|{'--:|' * len(columns)}"]
    ratios = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "models" / "MANO_RIGHT.npz"
        path.parent.mkdir()
        write_mano_npz(path, synthetic_mano())
        write_mano_pickle(path.with_suffix(".pkl"), synthetic_mano())  # the one format that manotorch reads
        skipped = {name: why_skipped(name, path) for name in CONTENDERS if name != "fgs_jax"}
        names = [name for name in CONTENDERS if not skipped.get(name)]
        for batch in options.batches:
            medians, compilation = measure(path, names, batch)
            for name in names:
                cells = [str(batch), name]
                for kind in Calls._fields:
                    ratios[batch, name, kind] = medians[name, kind] / medians["fgs_jax", kind]
                    cells += [f"{float(f'{1e3 * medians[name, kind]:.3g}'):g}", f"{ratios[batch, name, kind]:.1f}"]
                memory = f"{peak_memory(prepare_backward, name, path, batch):.0f}" if batch == 1024 else ""
                rows.append(f"| {' | '.join([*cells, f'{compilation[name]:.1f}', memory])} |")

    lines = [f"## Hand layer, {backend}", "", *rows, ""]
    lines += [f"{name}: {reason}.  " for name, reason in skipped.items() if reason]
    lines += [
        f"Medians of {', '.join(str(ROUNDS[batch]) for batch in options.batches)} rounds. Compile: the first call of "
        "forward + backward less a later one. Memory: the most that the first call adds, compilation included.  ",
        last_line,
    ]
    print("\n".join(lines))
    if options.markdown:
        write_section(options.markdown, f"hand:{backend}", "\n".join(lines))
    missed = [name for name, aim in AIM.items() if ratios.get((1024, name, "backward"), 0.0) < aim]
    if options.gate and backend == "cpu" and missed:
        raise SystemExit(f"aim missed, forward + backward of 1024 hands: {', '.join(missed)}")


if __name__ == "__main__":
    main()
