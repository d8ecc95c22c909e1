"""Thousands of grasps at once: step two of `contact` from any number of starts, of one scene or of many."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key
from numpy import ndarray

from fgs_jax.checks import check_count, check_value
from fgs_jax.config import CONFIGS, ContactConfig
from fgs_jax.energies.contact import out_of_reach
from fgs_jax.errors import ArgumentError, SceneError
from fgs_jax.hands.kind_checks import check_kind
from fgs_jax.journal import Journal
from fgs_jax.solve.minimise import nan_where_lost
from fgs_jax.solve.restarts import count_of, run_blocks, scenes_width
from fgs_jax.stages.contact_problem import ContactProblem, uncertainty_of
from fgs_jax.stages.given_place import place_given
from fgs_jax.stages.step_two import begin_grasp, best_grasp, grasp_round
from fgs_jax.types import Grasp, HandModel, HandParams


class Grasps(NamedTuple):
    """What `refine_grasps` found: entry k of each array is start k's."""

    grasp: Grasp
    """The best iterate."""
    energy: Float[Array | ndarray, "n"]
    """Of Eq. 12, with w_dis times reach for each contact point out of reach, so that starts may be compared; infinite
    for a start that never had a finite one."""
    terms: Any
    """Unweighted; NaN where the energy is infinite, as are the vertices."""
    hand_vertices: Float[Array | ndarray, "n v 3"]
    """Metres, camera frame."""


def refine_grasps(
    problems: ContactProblem | Sequence[ContactProblem],
    starts: Grasp,
    key: Key[Array, ""],
    config: ContactConfig | None = None,
    *,
    preset: str | None = None,
    scene: Int[ndarray, "n"] | Sequence[int] | None = None,
    width: int | None = None,
    journal: Journal | None = None,
    devices: Sequence[Any] | None = None,
) -> Grasps:
    """Step two from each start: fingers close on the object without entering it; the best iterate is kept.

    `starts`: fields with a leading axis; start k is in problem `scene[k]`, in the only one unless given. The shapes of
    all problems must be equal. `key`: start k draws from `fold_in(key, k)`.
    `config`, or `preset`, the name of one: "fast" for hands that a picture shows, "given" for grasps that another
    method gave without one, whose whole hand first goes to its likely place (`stages.given_place`).
    `width`: starts of one scene that run at once, in memory that grows with it and not with the number of starts. By
    default, on a CPU, the widest of 1, 4, 16 and 64 that runs at most two lanes for each start, and elsewhere 256 to
    4096 (`restarts.scenes_width`).
    `journal`, `devices`: as `run_blocks` takes them. A start's result depends on nothing but itself and the width, to
    the bit; blocks of another width differ in the last ones.

    Raises SceneError for problems of unequal shapes and for starts without a problem, ArgumentError for starts whose
    arrays have other shapes than one start's behind one leading axis, for an unknown preset, and unless there is either
    a configuration or a preset.
    """
    check_value("refine_grasps: problems", problems, ContactProblem | Sequence[ContactProblem])
    problems = [problems] if isinstance(problems, ContactProblem) else list(problems)
    for k, problem in enumerate(problems):
        check_value(f"refine_grasps: problems[{k}]", problem, ContactProblem)
    key = check_value("refine_grasps: key", key, Key[Array, ""])
    config = _chosen(config, preset)
    count = count_of(starts)
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x)[1:], x.dtype), starts)
    check_value("refine_grasps: one of the starts", one, Grasp)
    if isinstance(problems[0].hand.data, HandModel):
        check_value("refine_grasps: the hand of one of the starts", one.hand, HandParams)
    check_kind(problems[0].hand, one.hand)
    scene = _checked(problems, np.zeros(count, int) if scene is None else np.asarray(scene), count)
    static, numbers = config.split()
    settings = GraspSettings(static, str(jax.random.key_impl(key)))
    shared = [(problem, numbers, np.asarray(jax.random.key_data(key))) for problem in problems]
    lanes = starts, np.arange(count)
    width = scenes_width(scene) if width is None else check_count("refine_grasps: width", width)
    grasps = run_blocks(refine_grasp, settings, shared, lanes, width, scene=scene, journal=journal, devices=devices)
    return grasps._replace(terms=dict(zip(config.term_weights, grasps.terms.T, strict=True)))


class GraspSettings(NamedTuple):
    """What a start of `refine_grasps` is compiled for."""

    config: ContactConfig
    """Without numbers."""
    random: str
    """The key's implementation."""


def refine_grasp(
    settings: GraspSettings,
    shared: tuple[ContactProblem, dict[str, Any], Array],
    start: tuple[Grasp, Int[Array, ""]],
) -> Grasps:
    """One start of `refine_grasps`, unbatched; its terms are an array."""
    (static, random), (problem, numbers, key), (grasp, index) = settings, shared, start
    config = static.joined(numbers)
    key = jax.random.fold_in(jax.random.wrap_key_data(key, impl=random), index)
    touch = None
    if config.places:
        grasp, touch, left = place_given(problem, grasp, key, config, problem.uncertainty or uncertainty_of(config))
        problem = replace(problem, uncertainty=left)
    searching = begin_grasp(problem, grasp, key, config, touch=touch)
    searching, _, _ = grasp_round(problem, searching, config, config.rounds)
    _, energy, evaluated = searching.search.best
    terms, vertices = nan_where_lost(energy, evaluated)
    energy = energy + out_of_reach(searching.contacts, config.w_dis, config.reach)
    return Grasps(best_grasp(problem, searching), energy, terms, vertices)


def _chosen(config: ContactConfig | None, preset: str | None) -> ContactConfig:
    """The configuration, given as it is or by its name."""
    names = ", ".join(CONFIGS)
    if (config is None) == (preset is None):
        came = "neither" if config is None else "both"
        raise ArgumentError(f"refine_grasps: expected config, or preset ({names}), got {came}: give one of the two")
    if preset is None:
        return check_value("refine_grasps: config", config, ContactConfig)
    if preset not in CONFIGS:
        raise ArgumentError(f"refine_grasps: preset: expected one of {names}, got {preset!r:.40}: choose one")
    return CONFIGS[preset].contact


def _checked(problems: list[ContactProblem], scene: ndarray, count: int) -> Int[ndarray, "n"]:
    """The scene of each start. Raises SceneError where there is none, and for problems of unequal shapes."""
    indices = scene.shape == (count,) and scene.dtype.kind in "iu"
    if not count or not indices or scene.min() < 0 or scene.max() >= len(problems):
        raise SceneError(
            f"grasps: expected for each start a scene from 0 to {len(problems) - 1}, got {count} starts and "
            f"{'none' if not scene.size else f'{len(scene)} from {scene.min()} to {scene.max()}'}: check scene"
        )
    shapes = [jax.tree.map(np.shape, problem) for problem in problems]
    if unequal := [k for k, shape in enumerate(shapes) if shape != shapes[0]]:
        raise SceneError(
            f"grasps: expected problems of equal shapes, number {unequal[0]} differs from the first: use the same hand "
            "model, grid and object points, and equally many corners"
        )
    return scene
