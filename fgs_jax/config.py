"""The numbers of the method: frozen dataclasses, each value with its unit and its source."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np

from fgs_jax.errors import ConfigError
from fgs_jax.extensions import Named, Term, named_terms, within_program

Rate = tuple[float, float]
"""A learning rate at the first and at the last step, exponential in between."""


@dataclass(frozen=True)
class Phase:
    """One round of OPA: which starts take part, on how many samples, and how they are optimised."""

    keep: float
    """Share of the starts of the round before that take part, the best ones; in the last of several rounds those whose
    silhouettes are nearest to the mask."""
    least: int
    """But at least so many."""
    steps: int
    """Of the solver. Table 2: 1000, of Adam."""
    points: int
    """Samples of the object's surface."""
    targets: int
    """Samples of the object's mask."""
    rotation_rate: Rate
    """Radians a step, in the tangent space of the start."""
    translation_rate: Rate
    """Metres a step."""


OPA_TERM_NAMES = ("dist", "dep", "cam", "size")
"""Terms of Eq. 11, and that of an object of unknown size."""


@dataclass(frozen=True)
class OpaConfig:
    """The Object Pose Approximator."""

    phases: tuple[Phase, ...]
    """In their order."""
    paper_form: bool
    """Eq. 8 and 9 as sums of squared pixels and of metres, in place of the means of `opa_terms`."""
    lambda_dep: float
    """Weight of L_dep, Eq. 11. Table 2: 0.1."""
    lambda_cam: float
    """Weight of L_cam, Eq. 11. Table 2: 1000."""
    lambda_size: float
    """Weight of the squared depth against the hand's, in 5 cm, where the size is unknown; not in the paper."""
    contour: float
    """Share of the targets on the mask's contour away from the hand; uniform ones favour small and far."""
    hand_hides: bool
    """Whether object points may lie in the hand's pixels without cost."""
    candidates: int
    """The best starts that are polished on the rendered masked IoU, roughly, before distinct ones are chosen."""
    distinct_angle: float
    """Degrees. Poses nearer than this are one."""
    distinct_in: Literal["silhouette", "space"]
    """What poses must differ in besides: their silhouette, or the space they fill, which a flip always changes."""
    distinct_share: float
    """Poses whose silhouettes have less than this share of their union apart, or whose surfaces lie nearer than this
    share of the diameter, on average, are one."""
    polish_evaluations: int
    """Renderings that each of the last three rounds of polish may take, the rough one before half; 0: no polish."""
    solver: Any = "adam"
    """Of every phase: a name of `solve.solvers`, which takes the phase's rates, or "module:name"; from Python also an
    optax transformation, or a function as `solve.minimise` describes it."""
    terms: Mapping[str, Any] = field(default_factory=Named)
    """Energies of one's own by their names: functions of a `stages.opa_terms.OpaContext`, or "module:function"."""
    weights: Mapping[str, float] = field(default_factory=Named)
    """Of those; a name without a term stands for the entry point of that name in the group fgs_jax.terms."""

    def __post_init__(self) -> None:
        for name in ("terms", "weights"):
            object.__setattr__(self, name, Named(getattr(self, name)))

    @property
    def term_weights(self) -> dict[str, float]:
        """Of all terms of Eq. 11, by their names, then one's own. That of L_dist is 1."""
        given = {"dist": 1.0, "dep": self.lambda_dep, "cam": self.lambda_cam, "size": self.lambda_size}
        return given | dict(self.weights)

    def own_terms(self) -> dict[str, Term]:
        """Raises ConfigError as `extensions.named_terms` does."""
        return named_terms(self.terms, self.weights, OPA_TERM_NAMES, "opa")


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
    distinct_in="silhouette",
    distinct_share=0.05,
    polish_evaluations=0,
)

FAST_OPA = OpaConfig(
    phases=(
        Phase(1.0, 1, 40, 192, 192, rotation_rate=(1e-1, 2e-2), translation_rate=(2e-2, 3e-3)),
        Phase(0.25, 64, 40, 192, 192, rotation_rate=(3e-2, 1e-2), translation_rate=(5e-3, 1e-3)),
        Phase(0.25, 32, 60, 2048, 320, rotation_rate=(2e-2, 3e-3), translation_rate=(2e-3, 3e-4)),
    ),
    paper_form=False,
    lambda_dep=0.1,
    lambda_cam=1000.0,
    lambda_size=0.001,
    contour=0.75,
    hand_hides=True,
    candidates=32,
    distinct_angle=15.0,
    distinct_in="silhouette",
    distinct_share=0.05,
    polish_evaluations=120,
)


CONTACT_TERM_NAMES = ("dis", "pen", "prior", "spen", "theta", "t", "keypoint", "order")
"""Terms of step two whose weights are `w_` and the name."""


MOST_SCAN = 10_001
"""Sizes that step one scans; it has room for all of them."""
MOST_GRID = 256
"""A distance grid of 256^3 nodes takes 64 MiB, and 17 million distances."""


@dataclass(frozen=True)
class ContactConfig:
    """Contact optimisation, steps one and two."""

    step_one: Literal["scan", "adam"]
    """Depth by a scan of sizes that keeps both valleys, or by descent from a noisy start."""
    scan: int
    """Sizes tried, evenly spaced in their logarithm over three standard deviations to either side; an even number is
    rounded up, so that no change is in the middle."""
    hand_sigma: float
    """Standard deviation of the logarithm of the hand's size, where the object's is known."""
    object_sigma: float
    """Of the object's, where it is unknown."""
    steps_one: int
    """Adam steps of step one, where it descends. Table 2: 300."""
    rate_one: float
    """Metres a step."""
    depth_noise: float
    """Metres, standard deviation."""
    w_dis_one: float
    """Weight of E_dis in step one. Table 2: 1."""
    w_pen_one: float
    """Weight of E_pen in step one. Table 2: 5."""
    w_order_one: float
    """Weight of E_order in step one; not in the paper."""
    w_size: float
    """On the square of the size's logarithm over its standard deviation."""
    contacts: Literal["nearest", "random"]
    """The hand vertices that E_dis pulls: the nearest of each region, or ones drawn at random (the paper)."""
    per_region: int
    """Contact points in each of the six regions: five fingers and the palm."""
    reach: float
    """Metres. Contact points that start farther from the object are left alone."""
    across_sigma: float
    """Metres. Uncertainty of where the hand's skin is against the object, across the line of sight, once step one has
    brought both to one depth: how likely a region touches, which its contact points weigh. 0: all do."""
    along_sigma: float
    """Along it."""
    label_border: float
    """Share of the hand's size in the picture. Vertices nearer than this to a mask's border say nothing of the order in
    depth."""
    places: int
    """Random places of a given hand as a whole that are weighed before its joints bend (`stages.given_place`); 0: it
    starts where it is given."""
    flesh: bool
    """Whether the hand's flesh gives by its skin margin before depth counts in full."""
    random_contacts: int
    """How many are drawn at random. DexGraspNet: 4."""
    both_directions: bool
    """Whether object points in the hand count beside hand vertices in the object."""
    object_points: int
    """Samples of the object's surface that may be in the hand. DexGraspNet: 2000."""
    w_dis: float
    """Weight of E_dis, a sum of metres. Table 2: 100."""
    w_pen: float
    """Weight of E_pen, a sum of metres over 778 vertices and 2000 points. Table 2: 200."""
    w_prior: float
    """Weight of E_prior. Table 2: 0.5."""
    w_spen: float
    """Weight of E_spen, a sum of metres. Table 2: 10."""
    w_theta: float
    """Weight of the squared change of angles, over their uncertainty. Table 2: 0.5."""
    w_t: float
    """Weight of the squared change of place, over its uncertainty. Table 2: 100."""
    angle_sigma: float
    """Radians. Uncertainty of each joint angle of the given hand; 1: E_h is as printed."""
    turn_sigma: float
    """Radians. Of the whole hand's rotation, about each axis."""
    place_sigma: float
    """Metres. Of its place, along each axis."""
    w_keypoint: float
    """Weight of the mean squared keypoint error over the hand's size in the picture; not in the paper."""
    w_order: float
    """On hand vertices on the wrong side of the object; not in the paper."""
    pose_start: float
    """Factor on the joint angles that step two starts from. Table 2: 0.5."""
    steps: int
    """Adam steps of step two, rounded up to a multiple of `refresh`. Table 2: 3000."""
    refresh: int
    """Steps between two searches for the neighbours of the object's points."""
    angle_rate: float
    """Radians a step."""
    translation_rate: float
    """Metres a step."""
    schedule: Literal["cosine", "constant"]

    solver: Any = "adam"
    """Of step two: as that of OPA."""
    terms: Mapping[str, Any] = field(default_factory=Named)
    """Energies of one's own by their names: functions of an `energies.terms.Context`, or "module:function"."""
    weights: Mapping[str, float] = field(default_factory=Named)
    """Of those; a name without a term stands for the entry point of that name in the group fgs_jax.terms."""
    weights_one: Mapping[str, float] = field(default_factory=Named)
    """Of those that step one shall weigh, too, where it scans."""

    def __post_init__(self) -> None:
        for name in ("terms", "weights", "weights_one"):
            object.__setattr__(self, name, Named(getattr(self, name)))

    @property
    def term_weights(self) -> dict[str, Any]:
        """Of all terms of step two, by their names: the paper's and ours first, then one's own from a to z."""
        # Sorted, as JAX sorts the names of what it traces.
        own = {name: self.weights[name] for name in sorted(self.weights)}
        return {name: getattr(self, f"w_{name}") for name in CONTACT_TERM_NAMES} | own

    @property
    def rounds(self) -> int:
        """Of `refresh` steps each, that `steps` are rounded up to."""
        return -(-self.steps // self.refresh)

    def own_terms(self) -> dict[str, Term]:
        """Raises ConfigError as `extensions.named_terms` does."""
        if unknown := sorted(set(self.weights_one) - set(self.weights)):
            raise ConfigError(
                f"contact: weights_one: expected names of weights, got {', '.join(unknown)}: add them there"
            )
        return named_terms(self.terms, self.weights, CONTACT_TERM_NAMES, "contact")

    def split(self) -> tuple["ContactConfig", dict[str, Any]]:
        """What programs are compiled for, and the numbers that are their arguments: others need no other program.

        Static are counts, names and functions; numbers are weights, rates, sigmas, lengths and the number of sizes that
        step one scans, with the data of one's own terms. Raises ConfigError as `own_terms`.
        """
        own = self.own_terms()
        names = [item.name for item in fields(self) if item.type is float]
        numbers: dict[str, Any] = {name: np.float32(getattr(self, name)) for name in names}
        weights = {name: {key: np.float32(value) for key, value in getattr(self, name).items()} for name in _WEIGHTS}
        without = {name: Named.fromkeys(values, 0.0) for name, values in weights.items()}
        functions = Named({name: Term(term.function) for name, term in own.items()})
        static = replace(self, **dict.fromkeys(names, 0.0), **without, terms=functions, scan=1)
        data = {name: term.data for name, term in own.items()}
        return static, numbers | weights | {"scan": np.int32(self.scan), "terms": data}

    def joined(self, numbers: Mapping[str, Any]) -> "ContactConfig":
        """`split`, undone within a program: the configuration with traced numbers."""
        config = copy.copy(self)
        terms = {name: within_program(name, self.terms[name].function, data) for name, data in numbers["terms"].items()}
        for name, value in {**numbers, "terms": terms}.items():
            object.__setattr__(config, name, value)
        return config


_WEIGHTS = ("weights", "weights_one")


PAPER_CONTACT = ContactConfig(  # Table 2 and App. B
    step_one="adam",
    scan=241,
    hand_sigma=0.06,
    object_sigma=0.25,
    steps_one=300,
    rate_one=1e-4,
    depth_noise=0.01,
    w_dis_one=1.0,
    w_pen_one=5.0,
    w_order_one=0.0,
    w_size=0.75,
    contacts="random",
    per_region=2,
    reach=0.03,
    across_sigma=0.0,
    along_sigma=0.0,
    label_border=0.0,
    places=0,
    flesh=False,
    random_contacts=4,
    both_directions=False,
    object_points=2000,
    w_dis=100.0,
    w_pen=200.0,
    w_prior=0.5,
    w_spen=10.0,
    w_theta=0.5,
    w_t=100.0,
    angle_sigma=1.0,
    turn_sigma=1.0,
    place_sigma=1.0,
    w_keypoint=0.0,
    w_order=0.0,
    pose_start=0.5,
    steps=3000,
    refresh=10,
    angle_rate=1e-4,
    translation_rate=1e-4,
    schedule="constant",
)

FAST_CONTACT = replace(
    PAPER_CONTACT,
    step_one="scan",
    contacts="nearest",
    w_dis_one=10.0,
    w_order_one=5.0,
    across_sigma=0.004,
    along_sigma=0.008,
    label_border=0.02,
    flesh=True,
    both_directions=True,
    w_pen=1000.0,
    w_keypoint=10000.0,
    w_order=3.0,
    pose_start=1.0,
    steps=600,
    angle_rate=1e-2,
    translation_rate=2e-3,
    schedule="cosine",
)


GIVEN_CONTACT = replace(
    FAST_CONTACT,
    places=2048,
    reach=0.06,
    w_dis=30.0,
    w_pen=200.0,
    w_t=0.5,
    angle_sigma=0.1,
    turn_sigma=0.175,
    place_sigma=0.01,
)
"""For a grasp that was given without a picture, by another method or an estimator: see `stages.given_place`."""


@dataclass(frozen=True)
class RefineConfig:
    """The main job: a scene to a grasp."""

    opa: OpaConfig
    contact: ContactConfig
    restarts: int = 256
    """Random rotations of the object."""
    candidates: int = 4
    """Distinct poses of the object that the contact stage tries."""
    seed: int = 0
    """Of all random numbers."""
    hand_model: str = "open_hand"
    """A name or a file, as `fgs hand info` takes it."""
    growth: float = 0.1
    """A hand fitted to keypoints may grow or shrink by so much in the picture, to fill its mask: landmarks lie within
    the flesh. How large it is, contact finds."""
    grid: int = 64
    """The object's distance grid has so many nodes cubed, in a box that fits the object."""
    reframe_below: float = 0.3
    """Pixels. Where a centimetre of depth moves the object's outline by less, its camera may be replaced."""
    ordinary_focal: float = 1.2
    """Focal length of that camera, in longer sides of the whole picture."""
    w_mask: float = 500.0
    """In the choice of a candidate: on 1 - masked IoU."""
    mask_tolerance: float = 0.01
    """Candidates whose masked IoU is this much below the best one's are chosen only if there is no other."""
    w_agreement: float = 20.0
    """In the choice of a candidate: on the share of pixels where hand and object hide each other the wrong way."""
    rival_margin: float = 3.0
    """Another answer whose score is behind by no more is a rival, and the result ambiguous."""


FAST = RefineConfig(FAST_OPA, FAST_CONTACT)
PAPER = RefineConfig(PAPER_OPA, PAPER_CONTACT, candidates=1, w_mask=0.0, w_agreement=0.0)
GIVEN = replace(FAST, contact=GIVEN_CONTACT)
CONFIGS = {"fast": FAST, "paper": PAPER, "given": GIVEN}
