"""Contact (Eq. 12) in PyTorch as DexGraspNet's branch for MANO computes it, from the formulas; all grasps at once.

The same function as `fgs_jax.energies.terms.term_values`: attraction of the contact points, hand vertices in the
object, object points in the hand (plane through the nearest hand vertex), keypoints of different fingers apart, natural
pose and joint limits, and E_h. The object's distance is trilinear in a grid, by `grid_sample`. DexGraspNet finds the
nearest vertices at every step.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.peers.torch_opa import rotation_matrix
from fgs_jax.config import ContactConfig
from fgs_jax.energies.contact import FARTHEST_INSIDE, POINTS, VERTICES, Contacts
from fgs_jax.energies.pose import LEAST_KEYPOINT_DISTANCE
from fgs_jax.hands.anatomy import FINGER_JOINTS
from fgs_jax.hands.mano import KEYPOINT_ORDERS
from fgs_jax.objects.distance import DistanceGrid
from fgs_jax.stages.contact_problem import ContactProblem
from fgs_jax.types import Grasp, HandModel

Form = Literal["cdist", "difference"]
"""How nearest vertices are found: by `torch.cdist`, or by differences written out, which the compiler can fuse."""

_CHAINS = np.array(FINGER_JOINTS)
_FROM_LEVELS = np.argsort([0, *_CHAINS.T.ravel().tolist()])
_OPENPOSE = np.argsort(KEYPOINT_ORDERS["mano"])


class Layer(NamedTuple):
    """A `HandModel` as tensors."""

    template: Tensor
    """(v, 3)"""
    directions: Tensor
    """(b + 135, v * 3)"""
    weights: Tensor
    joint_template: Tensor
    joint_shapedirs: Tensor
    faces: Tensor
    """Closed at the wrist."""
    rim: Tensor
    """Its vertices there."""
    tips: Tensor
    bone_frames: Tensor
    limits: Tensor
    mean: Tensor
    std: Tensor
    order: Tensor
    """Of the joints, from that of the levels."""
    openpose: Tensor


class Problem(NamedTuple):
    """What the energy needs: a hand, an object at rest about the origin, and where each grasp began."""

    layer: Layer
    grid: Tensor
    """(1, 1, n, n, n)"""
    origin: Tensor
    voxel: Tensor
    points: Tensor
    """(p, 3) of the object."""
    betas: Tensor
    rotation: Tensor
    """(b, 3, 3)"""
    translation: Tensor
    pose: Tensor
    """(b, 15, 3)"""
    contacts: Tensor
    """(b, c) vertices."""


class State(NamedTuple):
    """What moves, as `fgs_jax.hands.kind.HandState`, for each grasp."""

    pose: Tensor
    rotation: Tensor
    translation: Tensor


class Neighbours(NamedTuple):
    """The hand vertex nearest to each object point (b, p), its normal, and whether it is near."""

    vertex: Tensor
    normal: Tensor
    near: Tensor


def torch_layer(model: HandModel, device: str = "cpu") -> Layer:
    """The model's arrays."""
    arrays = (
        model.v_template,
        np.asarray(model.blend_directions).transpose(0, 2, 1).reshape(len(model.blend_directions), -1),
        model.weights,
        model.joint_template,
        model.joint_shapedirs,
        np.asarray(model.closed_faces, np.int64),
        np.asarray(model.wrist_loop, np.int64),
        np.asarray(model.tip_vertex_ids, np.int64),
        model.bone_frames,
        model.joint_limits,
        model.pose_mean,
        model.pose_std,
        _FROM_LEVELS,
        _OPENPOSE,
    )
    return Layer(*(torch.tensor(np.asarray(array), device=device) for array in arrays))


def torch_problem(problem: ContactProblem, grasps: Grasp, contacts: Contacts, device: str = "cpu") -> Problem:
    """Of grasps of an object that is at rest in the camera's frame, at its own size, by hands of scale one."""
    at_rest = np.broadcast_to(np.eye(3), grasps.rotation.shape)
    unit = (np.asarray(grasps.scale) == 1).all() and (np.asarray(grasps.hand.scale) == 1).all()
    if not (unit and np.array_equal(grasps.rotation, at_rest) and not np.any(grasps.translation)):
        raise ValueError("expected objects at rest at the origin and hands and objects of scale one, got others")
    grid = problem.object
    assert isinstance(grid, DistanceGrid)
    arrays = (
        grid.box()[None, None],
        grid.origin,
        grid.voxel,
        problem.object_points,
        grasps.hand.betas,
        grasps.hand.rotation,
        grasps.hand.translation,
        grasps.hand.pose,
        np.asarray(contacts.vertex, np.int64),
    )
    tensors = [torch.tensor(np.asarray(array), device=device) for array in arrays]
    tensors[5] = rotation_matrix(tensors[5])
    return Problem(torch_layer(problem.hand.data, device), *tensors)


def hand(layer: Layer, betas: Tensor, local: Tensor, root: Tensor, translation: Tensor) -> tuple[Tensor, Tensor]:
    """Vertices (b, v, 3) and keypoints (b, 21, 3) of local rotations (b, 15, 3, 3) and root rotations (b, 3, 3)."""
    batch = len(local)
    shape = layer.joint_shapedirs[..., : betas.shape[1]]
    joints = layer.joint_template + torch.einsum("jab,nb->nja", shape, betas)
    correctives = (local - torch.eye(3, device=local.device)).flatten(1)
    unused = betas.new_zeros(batch, layer.joint_shapedirs.shape[-1] - betas.shape[1])
    coefficients = torch.cat([betas, unused, correctives], 1)
    rest = layer.template + (coefficients @ layer.directions).view(batch, -1, 3)

    orientation, position = root[:, None].expand(-1, 5, -1, -1), joints[:, :1].expand(-1, 5, -1)
    orientations, positions, parent = [root[:, None]], [joints[:, :1]], np.zeros(5, int)
    for joint in _CHAINS.T:
        bone = joints[:, joint] - joints[:, parent]
        position = position + (orientation @ bone[..., None])[..., 0]
        orientation = orientation @ local[:, joint - 1]
        orientations.append(orientation)
        positions.append(position)
        parent = joint
    rotations, posed = torch.cat(orientations, 1)[:, layer.order], torch.cat(positions, 1)[:, layer.order]
    offsets = posed - (rotations @ joints[..., None])[..., 0]
    transforms = torch.cat([rotations, offsets[..., None]], 3).view(batch, 16, 12)
    blended = (layer.weights @ transforms).view(batch, -1, 3, 4)
    vertices = (blended[..., :3] @ rest[..., None])[..., 0] + blended[..., 3] + translation[:, None]
    keypoints = torch.cat([posed + translation[:, None], vertices[:, layer.tips]], 1)[:, layer.openpose]
    return vertices, keypoints


def object_distance(problem: Problem, points: Tensor) -> Tensor:
    """Signed distance of points (b, p, 3), metres: trilinear in the grid, plus the way from the box to a point."""
    last = points.new_tensor(problem.grid.shape[2:]) - 1
    scaled = (points - problem.origin) / problem.voxel
    unit = (2 / last * scaled - 1).flip(-1)  # grid_sample wants the last axis of the grid first
    sampled = functional.grid_sample(problem.grid, unit[None, ..., None, :], padding_mode="border", align_corners=True)
    squared = (scaled - torch.minimum(scaled.clamp(min=0), last)).square().sum(-1)
    outside = squared > 0
    return sampled[0, 0, ..., 0] + problem.voxel * torch.where(outside, squared, 1.0).sqrt() * outside


def joint_angles(layer: Layer, local: Tensor) -> Tensor:
    """(twist, spread, bend) of rotations (b, 15, 3, 3)."""
    frames = layer.bone_frames
    turned = frames @ local @ frames.mT
    squared = turned[..., 0, 0] ** 2 + turned[..., 1, 0] ** 2
    twist = torch.atan2(turned[..., 2, 1], turned[..., 2, 2])
    spread = torch.atan2(-turned[..., 2, 0], squared.clamp(min=1e-10).sqrt())
    return torch.stack([twist, spread, torch.atan2(turned[..., 1, 0], turned[..., 0, 0])], -1)


Nearest = Callable[[Tensor, Tensor], Tensor]


def neighbours(problem: Problem, vertices: Tensor, nearest: Nearest, chunk: int = 16) -> Neighbours:
    """For `chunk` grasps at a time, so that the distances of all pairs stay small. Without a gradient."""
    with torch.no_grad():
        faces = problem.layer.faces
        a, b, c = (vertices[:, faces[:, k]] for k in range(3))
        across = torch.linalg.cross(b - a, c - a)
        normals = torch.zeros_like(vertices)
        for k in range(3):
            normals.index_add_(1, faces[:, k], across)
        normals = functional.normalize(normals, dim=2, eps=1e-12)
        index = torch.cat([nearest(problem.points, part) for part in vertices.split(chunk)])
        of_points = index[..., None].expand(-1, -1, 3)
        near = (problem.points - vertices.gather(1, of_points)).square().sum(2) < FARTHEST_INSIDE**2
        near &= ~torch.isin(index, problem.layer.rim)
        return Neighbours(index, normals.gather(1, of_points), near)


def _by_cdist(points: Tensor, vertices: Tensor) -> Tensor:
    """(p, 3), (b, v, 3) to (b, p)."""
    return torch.cdist(points[None].expand(len(vertices), -1, -1), vertices).argmin(2)


def _by_differences(points: Tensor, vertices: Tensor) -> Tensor:
    x, y, z = (points[:, k, None] - vertices[:, None, :, k] for k in range(3))
    return (x * x + y * y + z * z).argmin(2)


def energies(problem: Problem, state: State, known: Neighbours, weights: dict[str, float]) -> tuple[Tensor, Tensor]:
    """Eq. 12 of each grasp (b,), and the hand's vertices."""
    layer, local = problem.layer, rotation_matrix(state.pose)
    root = problem.rotation @ rotation_matrix(state.rotation)
    vertices, keypoints = hand(layer, problem.betas, local, root, state.translation)

    distance = object_distance(problem, vertices)
    dis = distance.gather(1, problem.contacts).abs().sum(1)
    offset = problem.points - vertices.gather(1, known.vertex[..., None].expand(-1, -1, 3))
    depth = torch.where(known.near, -(offset * known.normal).sum(2), -FARTHEST_INSIDE).relu()
    pen = (-distance).relu().sum(1) * (VERTICES / distance.shape[1]) + depth.sum(1) * (POINTS / depth.shape[1])

    finger = torch.arange(20, device=distance.device) // 4
    first, second = torch.triu_indices(20, 20, 1, device=distance.device)
    apart = finger[first] != finger[second]
    between = (keypoints[:, 1 + first[apart]] - keypoints[:, 1 + second[apart]]).norm(dim=2)
    spen = (LEAST_KEYPOINT_DISTANCE - between).relu().sum(1)

    angles = joint_angles(layer, local)
    prior = ((state.pose - layer.mean) / layer.std).flatten(1).norm(dim=1)
    prior = prior + ((layer.limits[..., 0] - angles).relu() + (angles - layer.limits[..., 1]).relu()).sum((1, 2))
    theta = (state.pose - problem.pose).square().sum((1, 2)) + state.rotation.square().sum(1)
    t = (state.translation - problem.translation).square().sum(1)
    terms = {"dis": dis, "pen": pen, "prior": prior, "spen": spen, "theta": theta, "t": t}
    return torch.stack([weights[name] * value for name, value in terms.items()]).sum(0), vertices.detach()


class Functions(NamedTuple):
    """The two parts of a step, as they are or, but for the normals, through torch.compile."""

    energy: Callable[[Problem, State, Neighbours], tuple[Tensor, Tensor]]
    neighbours: Callable[[Problem, Tensor], Neighbours]


def functions(config: ContactConfig, form: Form = "cdist", chunk: int = 16, *, compiled: bool = False) -> Functions:
    """Of a configuration whose weights of the terms that are not computed here, keypoint and order, are zero."""
    if config.w_keypoint or config.w_order:
        raise ValueError("expected w_keypoint and w_order of 0, got others")

    def energy(problem: Problem, state: State, known: Neighbours) -> tuple[Tensor, Tensor]:
        return energies(problem, state, known, config.term_weights)

    nearest = _by_cdist if form == "cdist" else _by_differences
    if compiled:
        energy, nearest = (cast(Any, torch.compile(each, dynamic=False)) for each in (energy, nearest))
    return Functions(energy, partial(neighbours, nearest=nearest, chunk=chunk))


def begin_state(problem: Problem, config: ContactConfig) -> State:
    """The grasps as they are given, their fingers opened as configured."""
    return State(config.pose_start * problem.pose, torch.zeros_like(problem.translation), problem.translation.clone())


def minimise(
    functions: Functions,
    problem: Problem,
    vertices: Tensor,
    config: ContactConfig,
    *,
    steps: int,
    refresh: int,
) -> tuple[State, Tensor]:
    """Adam for `steps` steps: the best state of each grasp and the energies (b, steps).

    The neighbours are found every `refresh` steps, on the hand of the step before; at first on `vertices`.
    """
    state = State(*(x.requires_grad_() for x in begin_state(problem, config)))
    angle, metres = (
        {"params": p, "lr": rate}
        for p, rate in (
            ([state.pose, state.rotation], config.angle_rate),
            ([state.translation], config.translation_rate),
        )
    )
    adam = torch.optim.Adam([angle, metres], fused=True)
    best, least, history = State(*(x.detach().clone() for x in state)), torch.tensor(torch.inf), []
    known = functions.neighbours(problem, vertices)
    for step in range(steps):
        if step and step % refresh == 0:
            known = functions.neighbours(problem, vertices)
        energy, vertices = functions.energy(problem, state, known)
        adam.zero_grad()
        energy.sum().backward()
        with torch.no_grad():
            better = energy < least
            least = torch.where(better, energy, least)
            best = State(
                *(
                    torch.where(better.view(-1, *[1] * (new.ndim - 1)), new, old)
                    for new, old in zip(state, best, strict=True)
                )
            )
            history.append(energy.detach())
        adam.step()
    return best, torch.stack(history, 1)
