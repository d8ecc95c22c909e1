"""Solvers, and the one place where many starts run side by side."""

from typing import TYPE_CHECKING

from fgs_jax.exports import lazy_exports

if TYPE_CHECKING:
    from fgs_jax.solve.ahead import keep_programs as keep_programs
    from fgs_jax.solve.least_squares import LeastSquares as LeastSquares
    from fgs_jax.solve.minimise import Search as Search
    from fgs_jax.solve.minimise import Solution as Solution
    from fgs_jax.solve.minimise import advance as advance
    from fgs_jax.solve.minimise import begin as begin
    from fgs_jax.solve.restarts import random_rotations as random_rotations
    from fgs_jax.solve.restarts import run_blocks as run_blocks
    from fgs_jax.solve.solvers import SOLVERS as SOLVERS
    from fgs_jax.solve.solvers import register as register
    from fgs_jax.solve.solvers import solver_of as solver_of
else:
    __getattr__, __dir__ = lazy_exports(__name__)
