"""What threads do for the long stages of `refine` while others run: programs, and the data of the contact stage."""

from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from jaxtyping import Array, Key

from fgs_jax.config import RefineConfig
from fgs_jax.picture.scene import Scene
from fgs_jax.stages.contact import ContactProblem, compile_contact, contact_problem
from fgs_jax.stages.opa import compile_approximate
from fgs_jax.stages.states import Posed, Sized, stage_keys


@contextmanager
def work_threads() -> Iterator[Executor]:
    """Threads for work ahead. All of it has ended after the block, unless Ctrl-C ended that."""
    threads, wait = ThreadPoolExecutor(2), True
    try:
        yield threads
    except KeyboardInterrupt:
        wait = False
        raise
    finally:
        threads.shutdown(wait, cancel_futures=True)


class WorkAhead:
    """Of one scene. What a thread raises is raised where its work is asked for.

    `compiles`: whether the programs are compiled ahead, those of contact for this scene alone. Where stages of the
    user's change what they are compiled for, they are compiled when they run.
    """

    def __init__(self, threads: Executor, config: RefineConfig, key: Key[Array, ""], *, compiles: bool) -> None:
        self._threads, self._config, self._key, self._compiles = threads, config, key, compiles
        self._sized: Sized | None = None
        self._problem: Future[ContactProblem] | None = None
        self._pose_program: Future[None] | None = None
        self._contact_program: Future[None] | None = None

    def begin_object_pose(self, scene: Scene) -> None:
        """Begins with what the first of the long stages needs of a scene."""
        unknown_size = scene.object.size == "unknown"
        if self._compiles:
            self._pose_program = self._threads.submit(
                partial(compile_approximate, self._config.opa, self._config.restarts, unknown_size=unknown_size)
            )

    def begin_contact(self, state: Sized) -> None:
        """Begins with what the contact stage needs of a scene whose object has a size."""
        keys, unknown_size = stage_keys(self._key), state.scene.object.size == "unknown"
        self._sized = state
        self._problem = self._threads.submit(
            contact_problem, state.scene, state.model, self._config, keys.object_points
        )
        if self._compiles:
            compiling = partial(compile_contact, self._problem, state.params, keys.contact, self._config)
            self._contact_program = self._threads.submit(partial(compiling, unknown_size=unknown_size))

    def wait_for_object_pose(self) -> None:
        """Until its program is there."""
        if self._pose_program is not None:
            self._pose_program.result()

    def wait_for_contact(self, state: Posed) -> ContactProblem:
        """Until its programs are there. Its data is made anew where a stage has changed the scene meanwhile."""
        if self._contact_program is not None:
            self._contact_program.result()
        begun = self._sized
        if self._problem is not None and begun and begun.scene is state.scene and begun.model is state.model:
            return self._problem.result()
        return contact_problem(state.scene, state.model, self._config, stage_keys(self._key).object_points)
