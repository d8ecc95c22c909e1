"""The numbers of the method: frozen dataclasses, each value with its unit and its source."""

from dataclasses import dataclass

Rate = tuple[float, float]
"""A learning rate at the first and at the last step, exponential in between."""


@dataclass(frozen=True)
class Phase:
    """One round of OPA: which starts take part, on how many samples, and how they are optimised (Adam)."""

    keep: float
    """Share of the starts of the round before that take part, the best ones."""
    least: int
    """But at least so many."""
    steps: int
    points: int
    """Samples of the object's surface."""
    targets: int
    """Samples of the object's mask."""
    rotation_rate: Rate
    """Radians a step, in the tangent space of the start."""
    translation_rate: Rate
    """Metres a step."""


@dataclass(frozen=True)
class OpaConfig:
    """The Object Pose Approximator."""

    phases: tuple[Phase, ...]
    paper_form: bool
    """Eq. 8 and 9 as sums of squared pixels and of metres, in place of the means of `opa.opa_terms`."""
    lambda_dep: float
    lambda_cam: float
    lambda_size: float
    contour: float
    """Share of the targets on the mask's contour away from the hand; uniform ones favour small and far."""
    hand_hides: bool
    """Whether object points may lie in the hand's pixels without cost."""
    candidates: int
    """The best starts whose silhouettes are compared with the mask."""
    distinct_angle: float
    """Degrees. Poses nearer than this are one, if they also look alike."""
    distinct_distance: float
    """Poses whose surfaces are on average nearer than this share of the object's diameter are one."""
    polish_evaluations: int
    """Renderings that the last polish of a pose may take; 0 leaves it out."""


PAPER_OPA = OpaConfig(  # Table 2
    phases=(Phase(1.0, 1, 1000, 512, 512, rotation_rate=(1e-2, 1e-1), translation_rate=(1e-2, 1e-3)),),
    paper_form=True,
    lambda_dep=0.1,
    lambda_cam=1000.0,
    lambda_size=1.0,
    contour=0.0,
    hand_hides=False,
    candidates=1,
    distinct_angle=15.0,
    distinct_distance=0.05,
    polish_evaluations=0,
)

FAST_OPA = OpaConfig(
    phases=(
        Phase(1.0, 1, 40, 128, 128, rotation_rate=(1e-1, 2e-2), translation_rate=(2e-2, 3e-3)),
        Phase(0.25, 64, 40, 256, 256, rotation_rate=(3e-2, 1e-2), translation_rate=(5e-3, 1e-3)),
        Phase(0.25, 64, 60, 512, 512, rotation_rate=(2e-2, 3e-3), translation_rate=(2e-3, 3e-4)),
    ),
    paper_form=False,
    lambda_dep=0.1,
    lambda_cam=1000.0,
    lambda_size=0.001,
    contour=0.75,
    hand_hides=True,
    candidates=32,
    distinct_angle=15.0,
    distinct_distance=0.05,
    polish_evaluations=200,
)
