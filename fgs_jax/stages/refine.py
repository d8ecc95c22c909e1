"""The main job: a scene to a grasp, stage by stage. Hand, scale, object pose, contact, measures; each usable alone."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key

from fgs_jax.checks import check_value
from fgs_jax.config import FAST, RefineConfig
from fgs_jax.config_files import check_config
from fgs_jax.errors import ArgumentError, FgsError
from fgs_jax.journal import Journal
from fgs_jax.objects.distance import DistanceGrid
from fgs_jax.objects.walls import grid_notes
from fgs_jax.picture.scene import Scene
from fgs_jax.picture.scene_checks import check_scene
from fgs_jax.results.result import Result
from fgs_jax.solve.solvers import check_solvers
from fgs_jax.stages.ahead import WorkAhead, work_threads
from fgs_jax.stages.contact import Contact, ContactProblem, ContactTask, contact_problem, optimise_contact
from fgs_jax.stages.finish import finish_grasp
from fgs_jax.stages.hand_in_picture import hand_of_own_size, see_hand
from fgs_jax.stages.opa import approximate
from fgs_jax.stages.scale import size_object
from fgs_jax.stages.states import Posed, Sized, Stage, Touching, stage_keys
from fgs_jax.stages.step_one import at_the_end

Progress = Callable[[str, float], None]
"""Called with a stage's name and its seconds when it has ended."""


def pose_object(state: Sized, config: RefineConfig, key: Key[Array, ""], *, journal: Journal | None = None) -> Posed:
    """Where the object may be: OPA's best distinct poses. Raises as `approximate`."""
    check_value("pose_object: state", state, Sized)
    opa_key = stage_keys(key).object_pose
    poses = approximate(
        state.scene, opa_key, config.restarts, count=config.candidates, config=config.opa, journal=journal
    )
    lost = f"{poses.lost} of {config.restarts} starts ended without a finite energy and were left out"
    notes = (*state.notes, lost) if poses.lost else state.notes
    return Posed(**{**vars(state), "notes": notes}, poses=poses)


def grasp_object(state: Posed, config: RefineConfig, key: Key[Array, ""]) -> Touching:
    """The hand on the object: both steps of contact from each pose of the object.

    Raises SceneError where no hand comes near enough to touch, or no candidate ends with a finite energy.
    """
    check_value("grasp_object: state", state, Posed)
    [outcome] = grasp_objects([state], config, key)
    if isinstance(outcome, FgsError):
        raise outcome
    return outcome


def grasp_objects(
    states: Sequence[Posed],
    config: RefineConfig,
    key: Key[Array, ""],
    *,
    problems: Sequence[ContactProblem] | None = None,
    journals: Sequence[Journal | None] | None = None,
) -> list[Touching | FgsError]:
    """`grasp_object` for several scenes; those whose arrays have equal shapes run as one program.

    `problems`: what `contact_problem` has made of the scenes, where it has. An error stands in place of its state.
    """
    keys = stage_keys(key)
    if problems is None:
        problems = [contact_problem(each.scene, each.model, config, keys.object_points) for each in states]
    tasks = [
        ContactTask(each.scene, problem, hand_of_own_size(each), each.poses, keys.contact, journal)
        for each, problem, journal in zip(states, problems, journals or [None] * len(states), strict=True)
    ]
    alike: dict[Any, list[int]] = {}
    for k, task in enumerate(tasks):
        shapes = tuple(x.shape for x in jax.tree.leaves((task.problem, task.params)))
        alike.setdefault((shapes, task.scene.object.size), []).append(k)
    outcomes: dict[int, Touching | FgsError] = {}
    for group in alike.values():
        for k, found in zip(group, optimise_contact([tasks[k] for k in group], config), strict=True):
            outcomes[k] = found if isinstance(found, FgsError) else _touching(states[k], tasks[k], found, config)
    return [outcomes[k] for k in range(len(states))]


def _touching(state: Posed, task: ContactTask, found: Contact, config: RefineConfig) -> Touching:
    notes, surface = list(state.notes), task.problem.object
    if isinstance(surface, DistanceGrid):
        notes += grid_notes(state.scene.object, surface)
    unknown_size, factor = state.scene.object.size == "unknown", found.candidates[0].factor
    what, sigma = ("object", "object_sigma") if unknown_size else ("hand", "hand_sigma")
    if at_the_end(factor, config.contact, getattr(config.contact, sigma)):
        notes.append(
            f"contact: the {what}'s size, times {factor:.2f}, is at the end of those that were tried: check the size "
            f"of the mesh and K, or try more by contact.{sigma}"
        )
    if lost := int(np.count_nonzero(np.isnan(found.history))):
        of = f"{lost} of {len(found.history)} steps"
        notes.append(f"contact: the energy was nan at {of}: check the gradients of its terms")
    return Touching(**{**vars(state), "notes": tuple(notes)}, **found._asdict())


STAGES: Mapping[str, Stage] = {
    "hand": see_hand,
    "scale": size_object,
    "object pose": pose_object,
    "contact": grasp_object,
    "metrics": finish_grasp,
}
"""Of `refine`, in their order. Between them flow `Scene`, `HandSeen`, `Sized`, `Posed`, `Touching` and `Result`."""


def stages_with(name: str, stage: Stage, *, after: str, stages: Mapping[str, Stage] = STAGES) -> dict[str, Stage]:
    """The stages and one more, which takes and returns the state that the one before it returns.

    Raises ArgumentError where no stage is called `after`, or one is called `name` already.
    """
    if after not in stages or name in stages:
        raise ArgumentError(
            f"stages_with: expected a new name, after one of {', '.join(stages)}; got {name!r} after {after!r}: "
            "choose others"
        )
    names = list(stages)
    names.insert(names.index(after) + 1, name)
    return {each: stage if each == name else stages[each] for each in names}


def refine(
    scene: Scene,
    config: RefineConfig = FAST,
    key: Key[Array, ""] | None = None,
    *,
    stages: Mapping[str, Stage] = STAGES,
    journal: Journal | None = None,
    progress: Progress = lambda stage, seconds: None,
) -> Result:
    """A scene with a hand (parameters, keypoints or a posed mesh) to a grasp.

    `key` defaults to the configuration's seed. Left hands are mirrored on entry and back on exit. `stages`: by their
    names, which `progress` gets; `stages_with` puts one's own between them.

    Raises SceneError, MeshError, HandFileError or HandFitError for what a grasp cannot be found from, ArgumentError for
    stages that do not follow each other.
    """
    [outcome] = refine_many(
        [scene], config, key, stages=stages, journals=[journal], progress=lambda _, *ended: progress(*ended)
    )
    if isinstance(outcome, FgsError):
        raise outcome
    return outcome


def refine_many(
    scenes: Sequence[Scene],
    config: RefineConfig = FAST,
    key: Key[Array, ""] | None = None,
    *,
    stages: Mapping[str, Stage] = STAGES,
    journals: Sequence[Journal | None] | None = None,
    progress: Callable[[int, str, float], None] = lambda index, stage, seconds: None,
) -> list[Result | FgsError]:
    """`refine` for several scenes; where a grasp cannot be found the error stands in place of the result.

    The contact stages of scenes whose arrays have equal shapes run as one program: those of one hand model do, unless
    a mesh is very fine. A result then differs from the scene's own by rounding. `progress` gets the scene's index too.

    Raises ConfigError as `check_config` and `check_solvers` do.
    """
    check_config(config)
    check_solvers(config)
    key = jax.random.key(config.seed) if key is None else key
    journals = [None] * len(scenes) if journals is None else journals
    compiles = len(scenes) == 1 and pose_object in stages.values() and not (journals[0] and journals[0].recovered)
    with work_threads() as threads:
        runs = [
            _Run(scene, WorkAhead(threads, config, key, compiles=compiles), journal, partial(progress, k))
            for k, (scene, journal) in enumerate(zip(scenes, journals, strict=True))
        ]
        for run in runs:
            run.begin()
        for name, stage in stages.items():
            going = [run for run in runs if not isinstance(run.outcome, FgsError)]
            if stage is grasp_object:
                _run_contact(name, going, config, key)
            else:
                for run in going:
                    run.run(name, stage, config, key)
    return [run.result() for run in runs]


@dataclass(eq=False)
class _Run:
    """One scene on its way through the stages."""

    outcome: Any
    """The scene, then a state, at last the result, or the error that has ended the run."""
    ahead: WorkAhead
    journal: Journal | None
    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)

    def begin(self) -> None:
        try:
            check_scene(self.outcome)
            self.ahead.begin_object_pose(self.outcome)
        except FgsError as error:
            self.outcome = error

    def run(self, name: str, stage: Stage, config: RefineConfig, key: Key[Array, ""]) -> None:
        clock = time.perf_counter()
        try:
            if stage is pose_object and isinstance(self.outcome, Sized):
                self.ahead.begin_contact(self.outcome)
                self.ahead.wait_for_object_pose()
                self.outcome = pose_object(self.outcome, config, key, journal=self.journal)
            else:
                self.outcome = stage(self.outcome, config, key)
        except FgsError as error:
            self.outcome = error
        else:
            self.end(name, time.perf_counter() - clock)

    def end(self, name: str, seconds: float) -> None:
        self.seconds[name] = seconds
        if self.journal is not None:
            self.journal.flush()
        self.progress(name, seconds)

    def result(self) -> Result | FgsError:
        if isinstance(self.outcome, FgsError):
            return self.outcome
        if isinstance(self.outcome, Result):
            return replace(self.outcome, seconds=self.seconds)
        came = f"a {type(self.outcome).__name__}"
        raise ArgumentError(f"refine: stages: expected a Result of the last one, got {came}: end with finish_grasp")


def _run_contact(name: str, runs: Sequence[_Run], config: RefineConfig, key: Key[Array, ""]) -> None:
    """The contact stage of all scenes at once; the seconds are shared out."""
    clock = time.perf_counter()
    problems: dict[_Run, ContactProblem] = {}
    for run in runs:
        try:
            check_value("grasp_object: state", run.outcome, Posed)
            problems[run] = run.ahead.wait_for_contact(run.outcome)
        except FgsError as error:
            run.outcome = error
    outcomes = grasp_objects(
        [run.outcome for run in problems],
        config,
        key,
        problems=list(problems.values()),
        journals=[run.journal for run in problems],
    )
    seconds = (time.perf_counter() - clock) / max(len(problems), 1)
    for run, outcome in zip(problems, outcomes, strict=True):
        run.outcome = outcome
        run.end(name, seconds)
