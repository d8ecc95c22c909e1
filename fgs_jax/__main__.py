"""`python -m fgs_jax`: the command line without its script."""

import sys

from fgs_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
