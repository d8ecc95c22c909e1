"""Optimizers against each other: cost at matched evaluations and at matched seconds, success, profiles, a gate.

python -m benchmarks.optimizers [--problems rendered photos contact] [--solvers NAME ...] [--seeds N]
                                [--gate] [--markdown FILE] [--tune] [--keep] [--picture FILE]

How to read it, and how to add a solver: docs/optimizers.md. Every solver gets the same starts, the same energy and the
same number of evaluations; its one knob is tuned (`--tune`) on scenes that are not in the test set.
"""

from benchmarks.optimizers.command import main as main
