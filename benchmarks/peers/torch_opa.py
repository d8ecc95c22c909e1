"""The paper's OPA (Eq. 8-11) in PyTorch: batched over starts, torch's Adam, the two learning rates of Table 2.

The same function as `fgs_jax.stages.opa_terms.opa_terms` in the paper's form. Written as a PyTorch user would, in three
forms that differ in how each mask pixel finds its nearest projected point; each runs as it is and through
torch.compile.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, cast, get_args

import numpy as np
import torch
from torch import Tensor

from fgs_jax.config import OpaConfig
from fgs_jax.picture.camera import Z_NEAR
from fgs_jax.stages.opa_problem import PoseProblem

Form = Literal["cdist", "cdist argmin", "difference argmin"]
"""`cdist`: the gradient goes through all pairs. The others find an index without a gradient and gather; `difference`
writes the pairs out, which the compiler can fuse."""
FORMS: tuple[Form, ...] = get_args(Form)


class Problem(NamedTuple):
    """A `PoseProblem` as tensors."""

    focal: Tensor
    principal: Tensor
    points: Tensor
    """(n, 3)"""
    targets: Tensor
    """(m, 2)"""
    nearest_pixel: Tensor
    """(g * g, 2)"""
    hand_depth: Tensor
    """(g * g,)"""
    grid_origin: Tensor
    cell: Tensor
    mask_area: Tensor


class Found(NamedTuple):
    """The best iterate of each start, and the energy at each step (starts, steps)."""

    rotation: Tensor
    translation: Tensor
    energy: Tensor
    history: Tensor


def torch_problem(problem: PoseProblem, points: int, targets: int, device: str = "cpu") -> Problem:
    """The first `points` and `targets` of a problem."""
    arrays = (
        problem.camera.focal,
        problem.camera.principal,
        problem.points[:points],
        problem.targets[:targets],
        problem.nearest_pixel.reshape(-1, 2),
        problem.hand_depth.ravel(),
        problem.grid_origin,
        problem.cell,
        problem.mask_area,
    )
    return Problem(*(torch.tensor(np.asarray(array), device=device) for array in arrays))


def rotation_matrix(vector: Tensor) -> Tensor:
    """Rodrigues' formula, (..., 3) to (..., 3, 3), with its gradient at zero."""
    squared = (vector**2).sum(-1)[..., None, None]
    small = squared < 1e-8
    angle = torch.where(small, torch.ones_like(squared), squared).sqrt()
    first = torch.where(small, 1 - squared / 6, angle.sin() / angle)
    second = torch.where(small, 0.5 - squared / 24, (1 - angle.cos()) / angle**2)
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    return torch.eye(3, device=vector.device) + first * cross + second * (cross @ cross)


def energies(
    problem: Problem,
    start: Tensor,
    rotation: Tensor,
    translation: Tensor,
    config: OpaConfig,
    *,
    form: Form,
    chunk: int = 64,
) -> Tensor:
    """Eq. 11 of each start: (b, 3, 3), (b, 3), (b, 3) to (b,). All pairs are made for `chunk` starts at a time."""
    placed = problem.points @ (start @ rotation_matrix(rotation)).mT + translation[:, None]
    depth = placed[..., 2]
    pixels = problem.focal * placed[..., :2] / depth.clamp(min=Z_NEAR)[..., None] + problem.principal

    with torch.no_grad():
        side = round(len(problem.hand_depth) ** 0.5)
        cell = ((pixels - problem.grid_origin) / problem.cell).floor().nan_to_num().clamp(0, side - 1).long()
        cell = cell[..., 1] * side + cell[..., 0]
    beyond = (pixels - problem.nearest_pixel[cell]).abs() - problem.cell.clamp(min=1.0) / 2
    dist = beyond.relu().square().sum((1, 2))
    share = problem.mask_area / len(problem.targets)
    near = torch.cat([_target_distances(problem.targets, part, form) for part in pixels.split(chunk)])
    dist = dist + share * near.sum(1)
    dep = (problem.hand_depth[cell] - depth).relu().sum(1)
    cam = (Z_NEAR - depth).relu().mean(1)
    return dist + config.lambda_dep * dep + config.lambda_cam * cam


def _target_distances(targets: Tensor, pixels: Tensor, form: Form) -> Tensor:
    """Squared distance from each target to the nearest of the pixels: (m, 2), (b, n, 2) to (b, m)."""
    if form == "cdist":  # by differences: the matrix product that is the default is off by a tenth of a pixel here
        mode = "donot_use_mm_for_euclid_dist"
        return torch.cdist(targets[None], pixels, compute_mode=mode).amin(2).square()
    with torch.no_grad():
        if form == "cdist argmin":
            index = torch.cdist(targets[None].expand(len(pixels), -1, -1), pixels).argmin(2)
        else:
            x, y = (targets[:, k, None] - pixels[:, None, :, k] for k in range(2))
            index = (x * x + y * y).argmin(2)
    matched = pixels.gather(1, index[..., None].expand(-1, -1, 2))
    return (matched - targets).square().sum(2)


def energy_function(config: OpaConfig, form: Form, chunk: int = 64, *, compiled: bool = False) -> Callable[..., Tensor]:
    """`energies` of a configuration, form and chunk, through torch.compile where asked."""

    def function(problem: Problem, start: Tensor, rotation: Tensor, translation: Tensor) -> Tensor:
        return energies(problem, start, rotation, translation, config, form=form, chunk=chunk)

    return cast(Any, torch.compile(function, dynamic=False)) if compiled else function


def minimise(
    function: Callable[..., Tensor],
    problem: Problem,
    start: Tensor,
    translation: Tensor,
    config: OpaConfig,
    *,
    steps: int | None = None,
) -> Found:
    """Adam from rotations (b, 3, 3) and translations (b, 3): all steps of the schedule, or its first `steps`."""
    phase = config.phases[0]
    rotation = torch.zeros_like(translation).requires_grad_()
    translation = translation.clone().requires_grad_()
    rates = (phase.rotation_rate, phase.translation_rate)
    groups = [{"params": [x], "lr": rate[0]} for x, rate in zip((rotation, translation), rates, strict=True)]
    adam = torch.optim.Adam(groups, fused=True)
    decays = [lambda step, rate=rate: (rate[1] / rate[0]) ** (step / phase.steps) for rate in rates]
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, decays)
    best_rotation, best_translation = rotation.detach().clone(), translation.detach().clone()
    least, history = torch.full((len(start),), torch.inf, device=start.device), []
    for _ in range(phase.steps if steps is None else steps):
        energy = function(problem, start, rotation, translation)
        adam.zero_grad()
        energy.sum().backward()
        with torch.no_grad():
            better = energy < least
            least = torch.where(better, energy, least)
            best_rotation = torch.where(better[:, None], rotation, best_rotation)
            best_translation = torch.where(better[:, None], translation, best_translation)
            history.append(energy.detach())
        adam.step()
        schedule.step()
    return Found(best_rotation, best_translation, least, torch.stack(history, 1))
