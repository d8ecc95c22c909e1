"""The two jobs as we and as PyTorch do them: what they start from, the comparison of the two, the calls to time."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jaxtyping import Array
from numpy import ndarray

from benchmarks.contact import thin_problem
from benchmarks.opa_speed import bare
from benchmarks.peers import torch_contact, torch_opa
from fgs_jax.config import FAST_OPA, PAPER, PAPER_CONTACT, PAPER_OPA, Phase
from fgs_jax.energies.contact import Contacts
from fgs_jax.energies.terms import term_values, weighted_sum
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.kind import HandState, retract_params
from fgs_jax.objects.mesh import load_object
from fgs_jax.picture.scene import Scene
from fgs_jax.solve.restarts import random_rotations
from fgs_jax.stages.contact_problem import ContactProblem, context_of, hand_neighbours, posed_hand
from fgs_jax.stages.opa import approximate
from fgs_jax.stages.opa_phases import run_phase
from fgs_jax.stages.opa_problem import PoseProblem, PoseState, pose_problem, start_translation
from fgs_jax.stages.opa_terms import opa_terms
from fgs_jax.stages.step_two import GraspSearch, begin_grasp, grasp_round
from fgs_jax.testing.scenes import as_scene, make_scene
from fgs_jax.testing.shapes import SHAPES
from fgs_jax.testing.starts import hands_about
from fgs_jax.types import Grasp

STEPS, STARTS = 20, 64
"""Of PyTorch's loop that are timed."""
PAPER_STEPS, RESTARTS = PAPER_OPA.phases[0].steps, 1000
GRASPS, CONTACT_STEPS = 256, PAPER_CONTACT.steps_one + PAPER_CONTACT.steps
ENERGY, GRADIENT, HISTORY = 1e-4, 1e-4, 1e-3
"""Relative differences that count as equal: of energies, of a gradient's norm, of the energy at each of the steps.

Gradients and steps by their median over starts: of two targets that are as near in float32 either may be taken.
"""
CONTACT = replace(PAPER_CONTACT, both_directions=True)
_LATER = (
    Phase(0.25, 64, 80, 512, 512, rotation_rate=(2e-2, 5e-3), translation_rate=(2e-3, 5e-4)),
    Phase(0.5, 32, 250, 512, 512, rotation_rate=(1e-2, 1e-3), translation_rate=(1e-3, 1e-4)),
)
PAPERS_LOSS = replace(PAPER_OPA, phases=(*FAST_OPA.phases[:2], *_LATER))
"""The paper's own loss, samples and all, but in phases that halve the starts."""
SHAPE = "spray_bottle"


@dataclass(frozen=True)
class Variant:
    """How PyTorch does the work."""

    form: Any
    compiled: bool
    chunk: int
    """Starts or grasps at a time in the search for what is nearest."""
    threads: int

    def __str__(self) -> str:
        words = "torch.compile" if self.compiled else "eager", self.form, f"chunks of {self.chunk}"
        return f"{', '.join(words)}, threads {self.threads}"


def check(what: str, found: Any, limit: float) -> None:
    """Ends the program where a difference is over its limit."""
    if not found <= limit:
        raise SystemExit(f"{what}: not the same, off by {found:.1e}, more than {limit:.0e}")
    print(f"  {what}: equal within {found:.1e}", flush=True)


def relative(found: Any, expected: Any) -> float:
    """The greatest difference of numbers."""
    return float(np.max(np.abs(np.asarray(found) / np.asarray(expected) - 1)))


def relative_norm(found: Any, expected: Any) -> ndarray:
    """The norm of the difference of arrays, for each start."""
    found, expected = (np.asarray(x).reshape(len(x), -1) for x in (found, expected))
    return np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)


def scene_of(shape: str) -> Scene:
    return as_scene(make_scene(shape, 0), hand="mesh")


class OpaStarts(NamedTuple):
    problem: PoseProblem
    rotations: ndarray
    translations: ndarray


def opa_starts(scene: Scene, count: int) -> OpaStarts:
    problem, _ = pose_problem(scene, jax.random.key(0), PAPER_OPA)
    translations = np.tile(np.asarray(start_translation(problem)), (count, 1))
    return OpaStarts(problem, np.array(random_rotations(jax.random.key(1), 0, count)), translations)


@partial(jax.jit, static_argnames="paper_form")
@partial(jax.vmap, in_axes=(None, 0, 0, 0, None))
@partial(jax.value_and_grad, argnums=(2, 3))
def opa_energy(problem: PoseProblem, start: Array, rotation: Array, translation: Array, paper_form: bool) -> Array:
    terms = opa_terms(problem, start, PoseState(rotation, translation, None), paper_form=paper_form)
    return terms["dist"] + PAPER_OPA.lambda_dep * terms["dep"] + PAPER_OPA.lambda_cam * terms["cam"]


def check_opa(given: OpaStarts, form: torch_opa.Form) -> None:
    """Energies and gradients at random states."""
    rng, count = np.random.default_rng(0), len(given.rotations)
    rotation = rng.normal(scale=0.3, size=(count, 3)).astype(np.float32)
    translation = given.translations + rng.normal(scale=0.02, size=(count, 3)).astype(np.float32)
    energy, gradients = opa_energy(given.problem, given.rotations, rotation, translation, True)
    leaves = [torch.tensor(x, requires_grad=True) for x in (rotation, translation)]
    settings = torch_opa.torch_problem(given.problem, 512, 512), torch.tensor(given.rotations)
    theirs = torch_opa.energy_function(PAPER_OPA, form)(*settings, *leaves)
    their_gradients = torch.autograd.grad(theirs.sum(), leaves)
    check(f"OPA, {form}, energies", relative(theirs.detach(), energy), ENERGY)
    pairs = zip(their_gradients, gradients, strict=True)
    check(f"OPA, {form}, gradients", max(np.median(relative_norm(*pair)) for pair in pairs), GRADIENT)


def our_paper(given: OpaStarts, steps: int = PAPER_STEPS) -> Any:
    """Our solver of the paper's form from these starts; a schedule of `steps`."""
    phase = replace(PAPER_OPA.phases[0], steps=steps)
    state = PoseState(np.zeros_like(given.translations), given.translations, None)
    return run_phase(given.problem, PAPER_OPA, phase, given.rotations, state)


def torch_opa_call(given: OpaStarts, variant: Variant, steps: int = STEPS) -> Callable[[], torch_opa.Found]:
    """`steps` steps of the paper's loop on all starts."""
    device = torch_device()
    problem = torch_opa.torch_problem(given.problem, 512, 512, device)
    function = torch_opa.energy_function(PAPER_OPA, variant.form, variant.chunk, compiled=variant.compiled)
    rotations, translations = (torch.tensor(x, device=device) for x in (given.rotations, given.translations))

    def call() -> torch_opa.Found:
        torch.set_num_threads(variant.threads)
        found = torch_opa.minimise(function, problem, rotations, translations, PAPER_OPA, steps=steps)
        return torch_opa.Found(*(field.cpu() for field in found))

    return call


def torch_device() -> str:
    return "cuda" if jax.default_backend() == "gpu" and torch.cuda.is_available() else "cpu"


def prepare_opa(variant: Variant | None) -> Callable[[], object]:
    """What memory is measured of: PyTorch's loop on one chunk, or all of ours."""
    scene = scene_of(SHAPE)
    if variant is None:
        return lambda: approximate(scene, jax.random.key(0), RESTARTS, config=bare(FAST_OPA))
    return torch_opa_call(opa_starts(scene, STARTS), variant, 2)


class ContactStarts(NamedTuple):
    problem: ContactProblem
    grasps: Grasp
    searching: GraspSearch


def contact_starts(count: int) -> ContactStarts:
    """Grasps of a mug from random sides, as step two begins."""
    model, mesh = load_hand_model("open_hand"), load_object(SHAPES["mug"](), name="mug")
    problem = thin_problem(model, mesh, replace(PAPER, contact=CONTACT))
    hands = hands_about(model, mesh, count, np.random.default_rng(0))
    grasps = Grasp(hands, jnp.tile(jnp.eye(3), (count, 1, 1)), jnp.zeros((count, 3)), jnp.ones(count))
    begin = jax.jit(jax.vmap(partial(begin_grasp, problem, config=CONTACT)))
    return ContactStarts(problem, grasps, begin(grasps, jax.random.split(jax.random.key(1), count)))


@jax.jit
@partial(jax.vmap, in_axes=(None, 0, 0, 0, 0))
@partial(jax.value_and_grad, argnums=4)
def contact_energy(
    problem: ContactProblem, start: Grasp, searching: GraspSearch, contacts: Contacts, state: HandState
) -> Array:
    """Step two's energy with the neighbours of the state's own hand."""
    placed = replace(start, hand=retract_params(None, start.hand, state))
    posed = posed_hand(problem, placed)
    known = hand_neighbours(problem, placed, posed.vertices)
    context = context_of(
        problem, placed, start.hand, contacts, seen=searching.seen, posed=posed, known=known, config=CONTACT
    )
    return weighted_sum(term_values(context, {}), CONTACT.term_weights)


def random_states(given: ContactStarts) -> HandState:
    rng, at = np.random.default_rng(0), given.grasps.hand
    noise = [rng.normal(scale=s, size=x.shape) for s, x in ((0.2, at.pose), (0.2, at.rotation), (0.01, at.translation))]
    return HandState(
        *(jnp.asarray(a + b, jnp.float32) for a, b in zip((at.pose, 0.0, at.translation), noise, strict=True))
    )


def check_contact(given: ContactStarts, form: torch_contact.Form) -> None:
    """Energies and gradients at random states, with neighbours that each side has found for itself."""
    states = random_states(given)
    energy, gradients = contact_energy(given.problem, given.grasps, given.searching, given.searching.contacts, states)
    problem = torch_contact.torch_problem(given.problem, given.grasps, given.searching.contacts)
    functions = torch_contact.functions(CONTACT, form)
    leaves = torch_contact.State(*(torch.tensor(np.asarray(x), requires_grad=True) for x in states))
    none = torch.zeros(len(energy), 1, dtype=torch.int64), torch.zeros(len(energy), 1, 3)
    faces = torch_contact.Neighbours(*none, torch.zeros(len(energy), 1, dtype=torch.bool))
    vertices = functions.energy(problem._replace(points=problem.points[:1]), leaves, faces)[1]
    theirs, _ = functions.energy(problem, leaves, functions.neighbours(problem, vertices))
    check(f"contact, {form}, energies", relative(theirs.detach(), energy), ENERGY)
    pairs = zip(torch.autograd.grad(theirs.sum(), list(leaves)), gradients, strict=True)
    check(f"contact, {form}, gradients", max(np.median(relative_norm(*pair)) for pair in pairs), GRADIENT)


def our_contact_call(given: ContactStarts, refresh: int, steps: int = STEPS, lanes: int = 64) -> Callable[[], ndarray]:
    """The energies at each of `steps` steps of step two, (grasps, steps), in blocks of `lanes`."""
    config = replace(CONTACT, refresh=refresh)

    @jax.jit
    def run(problem: ContactProblem, searching: GraspSearch) -> Array:
        one = partial(grasp_round, problem, config=config, rounds=steps // refresh)
        return jax.vmap(lambda each: one(each)[1])(searching)

    count = len(given.grasps.scale)
    blocks = [jax.tree.map(lambda x: x[k : k + lanes], given.searching) for k in range(0, count, lanes)]  # noqa: B023
    return lambda: np.concatenate([np.asarray(run(given.problem, block)) for block in blocks])


def torch_contact_call(
    given: ContactStarts, variant: Variant, refresh: int, steps: int = STEPS
) -> Callable[[], ndarray]:
    """The same by PyTorch."""
    device = torch_device()
    problem = torch_contact.torch_problem(given.problem, given.grasps, given.searching.contacts, device)
    vertices = torch.tensor(np.asarray(given.searching.search.last.vertices), device=device)
    functions = torch_contact.functions(CONTACT, variant.form, variant.chunk, compiled=variant.compiled)

    def call() -> ndarray:
        torch.set_num_threads(variant.threads)
        return (
            torch_contact.minimise(functions, problem, vertices, CONTACT, steps=steps, refresh=refresh)[1].cpu().numpy()
        )

    return call


def prepare_contact(variant: Variant | None, grasps: int) -> Callable[[], object]:
    given = contact_starts(grasps)
    return our_contact_call(given, 10) if variant is None else torch_contact_call(given, variant, 10, 10)
