"""Grasps that energy and picture cannot tell apart: which candidates are another answer, and as good as the best."""

from collections.abc import Sequence

from jaxtyping import Float
from numpy import ndarray

from fgs_jax.results.metrics.truth import keypoint_distance, object_distance
from fgs_jax.results.result import Candidate, object_at

SAME_SURFACE, SAME_KEYPOINTS = 0.005, 0.008
"""Metres, on average, within which two grasps have the object and the hand at the same place."""
_POINTS = 1000
"""Vertices of an object, at most, that stand for its surface."""


def apart(one: Float[ndarray, "p 3"], other: Float[ndarray, "q 3"]) -> float:
    """How far two surfaces are apart, in metres: from points of each to the nearest of the other, on average.

    A symmetric object that is turned into itself is where it was.
    """
    return max(object_distance(one, other), object_distance(other, one))


def rivals(candidates: Sequence[Candidate], vertices: Float[ndarray, "v 3"], margin: float) -> tuple[int, ...]:
    """The candidates, by their number, whose score is within `margin` of the first one's and whose answer is another.

    Another answer has the object's surface more than 5 mm or the hand's more than 8 mm elsewhere, on average. Of rivals
    that are one answer the first stands for all. `vertices`: the object's, which the candidates' grasps place.
    """
    some = vertices[:: -(-len(vertices) // _POINTS)]
    found: list[int] = []
    answers = [(object_at(candidates[0].grasp, some), candidates[0].hand_vertices)]
    for k, candidate in enumerate(candidates[1:], start=1):
        if not candidate.score - candidates[0].score <= margin:
            continue
        surface, hand = object_at(candidate.grasp, some), candidate.hand_vertices
        if all(_differ(surface, hand, *other) for other in answers):
            found.append(k)
            answers.append((surface, hand))
    return tuple(found)


def _differ(
    surface: Float[ndarray, "p 3"],
    hand: Float[ndarray, "v 3"],
    other_surface: Float[ndarray, "p 3"],
    other_hand: Float[ndarray, "v 3"],
) -> bool:
    return keypoint_distance(hand, other_hand) > SAME_KEYPOINTS or apart(surface, other_surface) > SAME_SURFACE
