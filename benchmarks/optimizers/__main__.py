"""`python -m benchmarks.optimizers` runs the command."""

import tyro

from benchmarks.optimizers.command import main

if __name__ == "__main__":
    tyro.cli(main)
