"""What the numbers of a configuration may be."""

from fgs_jax.checked_values import Bounds, Rules
from fgs_jax.config import MOST_GRID, MOST_SCAN
from fgs_jax.shipped import shipped

MOST_ENERGIES = 2_000_000_000
"""Numbers of 4 bytes: the steps of all starts together in one phase, whose energies are recorded."""
_WEIGHT = Bounds(0, 1e9)  # 0 leaves a term out
_SHARE = Bounds(0, 1, share=True)
_RATE = Bounds(0, 10, open=True)  # metres or radians a step; 0 would end a phase where it began
_SAMPLES = Bounds(1, 16_384)
_STEPS = Bounds(1, 100_000)
_BOUNDS = {
    "phases": Bounds(1, 64),
    **dict.fromkeys(("keep", "contour", "distinct_share", "growth", "mask_tolerance"), _SHARE),
    **dict.fromkeys(("rotation_rate", "translation_rate", "rate_one", "angle_rate"), _RATE),
    **dict.fromkeys(("points", "targets", "object_points"), _SAMPLES),
    **dict.fromkeys(("steps", "steps_one", "refresh"), _STEPS),
    **dict.fromkeys(("hand_sigma", "object_sigma"), Bounds(0, 2, open=True)),  # of a logarithm
    **dict.fromkeys(("angle_sigma", "turn_sigma", "place_sigma"), Bounds(0, 100, open=True)),
    "restarts": Bounds(1, 1_000_000),
    "least": Bounds(1, 1_000_000),
    "candidates": Bounds(1, 256),
    "polish_evaluations": Bounds(0, 100_000),
    "grid": Bounds(4, MOST_GRID),
    "scan": Bounds(1, MOST_SCAN),
    "per_region": Bounds(1, 32),
    "random_contacts": Bounds(1, 256),
    "seed": Bounds(0, 2**32 - 1),
    "distinct_angle": Bounds(0, 180),
    "depth_noise": Bounds(0, 10),
    **dict.fromkeys(("across_sigma", "along_sigma"), Bounds(0, 10)),
    "label_border": _SHARE,
    "places": Bounds(0, 1_000_000),
    "reach": Bounds(0, 10, open=True),
    "pose_start": Bounds(0, 10),  # 0: the flat hand
    "ordinary_focal": Bounds(0.1, 50),  # views of 157 and of 1 degree
}
RULES = Rules(_BOUNDS, otherwise=_WEIGHT, example=shipped("configs/fast.yaml"))
"""What the numbers may be. They keep a run within the memory and days of one machine."""
