"""The population of the open hand: adults drawn over MakeHuman's sliders and over proportions of palm and fingers.

It is set by hand and not from a survey; its hand length comes out with a deviation of 7 %. Shape letter: `n` people.
"""

import numpy as np
from jaxtyping import Float
from makehuman import MakeHumanHand, hand_targets, macro_targets
from numpy import ndarray
from rest_pose import Hands, Stretch, find_nails, lay_flat, place_joints, quad_normals

from fgs_jax.hands.anatomy import unit

PEOPLE = 800
MEAN_LENGTH = 0.180
"""Metres along the bones from the wrist joint to the middle fingertip, mean over the population."""
SEX = (0.36, 0.64)
"""Where the two sexes lie on MakeHuman's slider, with a deviation of 0.06: off its ends, which overstate them."""
AGE = (0.45, 0.95)
"""Adults: 0.5 is young and 1 is old."""
BODY_SLIDERS = {  # mean, standard deviation, least, greatest
    "muscle": (0.5, 0.2, 0.02, 0.98),
    "weight": (0.5, 0.2, 0.02, 0.98),
    "height": (0.5, 0.02, 0.4, 0.6),
    "proportions": (0.5, 0.25, 0.0, 1.0),
}
HAND_SLIDERS = {  # standard deviation about zero
    "r-hand-scale": 0.15,
    "r-hand-fingers-length": 0.3,
    "r-hand-fingers-diameter": 0.35,
    "measure-wrist-circ": 0.35,
}
PALM_SPREAD = np.array([0.025, 0.05, 0.035])
"""Deviations of the logarithm of the palm's length, thickness and breadth."""
LENGTH_SPREAD, THICKNESS_SPREAD = (0.02, 0.035), (0.03, 0.025)
"""The same for the fingers: of all five together, and of each by itself."""


def draw_people(rng: np.random.Generator, count: int) -> tuple[list[dict[str, float]], Stretch]:
    """Adults: their morph targets with strengths, and their proportions besides."""
    people, noise = [], np.empty((count, 15))
    for person in range(count):
        body = {"gender": float(np.clip(rng.choice(SEX) + rng.normal(0, 0.06), 0, 1)), "age": rng.uniform(*AGE)}
        for slider, (mean, deviation, least, greatest) in BODY_SLIDERS.items():
            body[slider] = float(np.clip(rng.normal(mean, deviation), least, greatest))
        ancestry = rng.dirichlet([1, 1, 1])
        hand = {slider: float(np.clip(rng.normal(0, spread), -0.9, 0.9)) for slider, spread in HAND_SLIDERS.items()}
        people.append(macro_targets(ancestry, body) | hand_targets(hand))
        noise[person] = rng.standard_normal(15)
    length, thickness, palm, own_length, own_thickness = np.split(noise, [1, 2, 5, 10], axis=1)
    return people, Stretch(
        palm=np.exp(palm * PALM_SPREAD),
        finger_length=np.exp(length * LENGTH_SPREAD[0] + own_length * LENGTH_SPREAD[1]),
        finger_thickness=np.exp(thickness * THICKNESS_SPREAD[0] + own_thickness * THICKNESS_SPREAD[1]),
    )


def build_population(source: MakeHumanHand) -> Hands:
    """Hands of a drawn population, all in the rest pose, wrist at the origin."""
    people, stretch = draw_people(np.random.default_rng(0), PEOPLE)
    average = macro_targets(np.full(3, 1 / 3), dict.fromkeys(("gender", "age", *BODY_SLIDERS), 0.5))
    points = source.points([average, *people])
    vertices, joints, tips, carpus = np.split(points, len(source.weights) + np.array([0, 16, 21]), axis=1)
    joints = place_joints(joints)
    nails = find_nails(vertices[0], joints[0], tips[0], source.quads, source.weights)
    facing = np.stack([unit(quad_normals(vertices, source.quads[nail]).sum(axis=1)) for nail in nails], axis=1)
    drawn = Hands(vertices[1:], joints[1:], tips[1:])
    hands = lay_flat(drawn, carpus[1:, 0], facing[1:], stretch, source)
    scale = MEAN_LENGTH / chain_length(hands).mean()
    return Hands(*(scale * part for part in hands))


def chain_length(hands: Hands) -> Float[ndarray, "n"]:
    """From the wrist joint along the bones of the middle finger to its tip."""
    stations = np.concatenate([hands.joints[:, [0, 4, 5, 6]], hands.tips[:, 2:3]], axis=1)
    return np.linalg.norm(np.diff(stations, axis=1), axis=-1).sum(axis=1)
