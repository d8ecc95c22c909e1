"""Contact optimisation (Sec. 3.3, Eq. 12, App. B): the energies, alone and together, and the two steps.

The energies are functions of plain arrays: points, keypoints, angles, and a surface given as a `DistanceGrid` or as any
function from points to signed distances. They know no hand model.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key

from fgs_jax.checks import check_count, check_value, checked
from fgs_jax.config import FAST_CONTACT, ContactConfig
from fgs_jax.errors import ArgumentError, ConfigError
from fgs_jax.hands.mano import hand, joint_angles, wrist_at_rest
from fgs_jax.objects.distance import DistanceGrid, nearest, signed_distance, signed_distance_at
from fgs_jax.picture.camera import inverse_depths, project
from fgs_jax.rotations import matrix_of, vector_of
from fgs_jax.solve.minimise import Search, Solution, advance, begin, minimise, nan_where_lost
from fgs_jax.solve.solvers import adam
from fgs_jax.types import Camera, Grasp, Hand, HandModel, HandParams, pytree

Surface = DistanceGrid | Callable[[Float[Array, "p 3"]], Float[Array, "p"]]
"""What signed distances in metres are asked of, positive outside."""

Weights = Mapping[str, float | Float[Array, ""]]
"""Of the terms, by their names."""

TERMS = tuple(FAST_CONTACT.weights)
"""Names of the terms of Eq. 12, in the order of arrays of them."""
VERTICES, POINTS = 778, 2000
"""Sums over hand vertices and object points are scaled to these, so that a weight means the same at any resolution."""
DEEPEST = 0.025
"""Metres. No point within a hand is farther from its nearest vertex; one that is lies outside."""
LEAST_KEYPOINT_DISTANCE = 0.018
"""Metres between keypoints of different fingers. Both are of a hand of scale 1, and grow with it."""


class Order(NamedTuple):
    """What the picture says about the depth of hand vertices."""

    front: Float[Array, "v"]
    """Depth of the object's front where a vertex is seen before the object, metres; 0 elsewhere."""
    back: Float[Array, "v"]
    """Depth of the object's back where a vertex is hidden by the object; 0 elsewhere."""


@checked
def distance_to(surface: Surface, points: Float[Array, "p 3"]) -> Float[Array, "p"]:
    """Signed distance of each point, metres, positive outside."""
    if isinstance(surface, DistanceGrid):
        return signed_distance(surface, points)
    return check_value("surface: its distances", surface(points), Float[Array, f"{len(points)}"])


@checked
def E_dis(
    contact_points: Float[Array, "n 3"], surface: Surface, weight: Float[Array, "n"] | None = None
) -> Float[Array, ""]:
    """Eq. 12, attraction: the sum of |d| over the points that shall touch, metres."""
    if weight is None:
        return jnp.sum(jnp.abs(distance_to(surface, contact_points)))
    # A point without weight may be anywhere, NaN included: not even its gradient may be asked for.
    some = contact_points[jnp.argmax(weight)]
    counted = jnp.where(weight[:, None] > 0, contact_points, some[None])
    return jnp.sum(weight * jnp.abs(distance_to(surface, counted)))


@checked
def E_pen(points: Float[Array, "n 3"], surface: Surface) -> Float[Array, ""]:
    """Eq. 12, repulsion: the sum of the depths of the points that are inside, metres.

    Hand points in the object as printed; object points in the hand are the other direction, which sees thin objects.
    """
    return jnp.sum(jax.nn.relu(-distance_to(surface, points)))


@checked
def E_prior(
    angles: Float[Array, "*n"],
    mean: Float[Array, "*n"],
    std: Float[Array, "*n"],
    limited: Float[Array, "*m"] | None = None,
    limits: Float[Array, "*m 2"] | None = None,
) -> Float[Array, ""]:
    """Eq. 12, natural poses: the norm of (angles - mean) / std, plus the radians of `limited` beyond `limits`.

    Raises ArgumentError where only one of the two is given.
    """
    natural = optax.safe_norm(((angles - mean) / std).ravel(), 1e-6)
    if limited is None or limits is None:
        if limited is not limits:
            raise ArgumentError("E_prior: expected limited and limits, or neither, got one of them: pass the other")
        return natural
    return natural + jnp.sum(jax.nn.relu(limits[..., 0] - limited) + jax.nn.relu(limited - limits[..., 1]))


@checked
def E_spen(
    keypoints: Float[Array, "k 3"],
    finger: Int[Array, "k"],
    least: float | Float[Array, ""] = LEAST_KEYPOINT_DISTANCE,
) -> Float[Array, ""]:
    """Eq. 12, self-penetration: the sum over pairs of keypoints of different fingers of relu(least - distance), metres.

    `finger`: which finger a keypoint is of; a negative one takes no part. `least`: metres; it is as large as the hand.
    """
    squared = sum((x[:, None] - x[None]) ** 2 for x in keypoints.T)
    distance = jnp.sqrt(jnp.maximum(squared, 1e-12))
    first, second = finger[:, None], finger[None]
    apart = (first < second) & (first >= 0)  # each pair once, and none of one finger
    return jnp.sum(jnp.where(apart, jax.nn.relu(least - distance), 0.0))


@checked
def E_h(
    pose: Float[Array, "*n"],
    given_pose: Float[Array, "*n"],
    translation: Float[Array, "3"],
    given_translation: Float[Array, "3"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The hand stays as it was seen: |theta - theta_hamer|^2 in radians^2, |t - t_hamer|^2 in metres^2."""
    return jnp.sum((pose - given_pose) ** 2), jnp.sum((translation - given_translation) ** 2)


@checked
def E_keypoint(
    pixels: Float[Array, "k 2"], seen: Float[Array, "k 2"], confidence: Float[Array, "k"] | None = None
) -> Float[Array, ""]:
    """Mean squared distance of projected keypoints to those seen, over the squared longer side of their box.

    Keypoints without confidence count neither in the mean nor in the box; without any the term is zero.
    """
    weight = jnp.ones(pixels.shape[0]) if confidence is None else confidence
    used = weight[:, None] > 0
    low, high = (
        jnp.min(jnp.where(used, seen, jnp.inf), axis=0),
        jnp.max(jnp.where(used, seen, -jnp.inf), axis=0),
    )
    side = jnp.where(jnp.any(used), jnp.max(high - low), 1.0)
    squared = jnp.sum(jnp.where(used, pixels - seen, 0.0) ** 2, axis=1)
    return jnp.sum(weight * squared) / jnp.maximum(jnp.sum(weight), 1e-6) / jnp.maximum(side, 1.0) ** 2


@checked
def E_order(depth: Float[Array, "v"], order: Order) -> Float[Array, ""]:
    """The order in depth that the picture shows: L_dep (Eq. 9) for the hand's vertices, metres.

    The sum of how far behind the object's front those are that are seen before it, and of how far before its back those
    that it hides.
    """
    behind = jnp.where(order.front > 0, jax.nn.relu(depth - order.front), 0.0)
    return jnp.sum(behind + jnp.where(order.back > 0, jax.nn.relu(order.back - depth), 0.0))


@checked
def weighted_sum(terms: Mapping[str, Float[Array, ""]], weights: Weights) -> Float[Array, ""]:
    """The energy: the sum of the terms, each times the weight of its name; a weight of 0 leaves a term out.

    Raises ConfigError for a weight of a term that there is not, and for a term without a weight.
    """
    unknown, missing = sorted(set(weights) - set(terms)), sorted(set(terms) - set(weights))
    if unknown or missing:
        advice = [f"rename or remove {', '.join(unknown)}"] if unknown else []
        advice += [f"add {', '.join(missing)}, 0 to leave a term out"] if missing else []
        raise ConfigError(
            f"weights: expected names among {', '.join(sorted(terms))}, and all of them, got "
            f"{', '.join(sorted(weights)) or 'none'}: {'; '.join(advice)}"
        )
    return sum((weights[name] * terms[name] for name in terms), jnp.zeros(()))


class Neighbours(NamedTuple):
    """The hand vertex nearest to each object point, renewed every few steps; all as it was when they were found."""

    vertex: Int[Array, "p"]
    place: Float[Array, "p 3"]
    """Of that vertex."""
    normal: Float[Array, "p 3"]
    vertices: Float[Array, "3 v"]
    """All of them; coordinates lie apart."""
    normals: Float[Array, "3 v"]


@checked
def neighbours(points: Float[Array, "n 3"], vertices: Float[Array, "v 3"], faces: Int[Array, "f 3"]) -> Neighbours:
    """Of points, on a closed mesh that is wound outward. Carries no gradient."""
    points, vertices = jax.lax.stop_gradient((points, vertices))
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    across = jnp.cross(b - a, c - a)
    normals = sum(jnp.zeros_like(vertices).at[faces[:, k]].add(across) for k in range(3))
    normals = normals / jnp.maximum(jnp.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    index = nearest(points, vertices)
    return Neighbours(index, vertices[index], normals[index], vertices.T, normals.T)


@checked
def distance_to_neighbours(
    points: Float[Array, "p 3"],
    vertices: Float[Array, "v 3"],
    held: Neighbours,
    deepest: float | Float[Array, ""] = DEEPEST,
) -> Float[Array, "p"]:
    """Signed distance to a mesh, close to it: to the plane through the nearest vertex (Wang et al. 2023).

    Points farther than `deepest` (metres) from where that vertex was found are outside.
    """
    offset = points - held.place
    near = jnp.sum(jax.lax.stop_gradient(offset) ** 2, axis=1) < deepest**2
    # How far each plane has moved since: one number for a vertex, where its place would be three for a point.
    moved = jnp.sum((vertices.T - held.vertices) * held.normals, axis=0)
    return jnp.where(near, jnp.sum(offset * held.normal, axis=1) - moved[held.vertex], deepest)


@pytree
class ContactProblem:
    """What the terms need besides the grasp, in arrays of the same shapes for every picture."""

    model: HandModel
    object: DistanceGrid
    """Object frame, before any scale."""
    object_points: Float[Array, "n 3"]
    """Samples of the object's surface, object frame."""
    camera: Camera
    keypoints: Float[Array, "21 2"]
    """Pixels, OpenPose's order."""
    confidence: Float[Array, "21"]
    """Zero where a keypoint was not seen; all zero without a picture."""
    seen: Float[Array, "v"]
    """Of each hand vertex: 1 where the picture shows the hand and nothing of the hand is nearer, -1 where it shows the
    object, 0 where it says nothing."""
    corners: Float[Array, "f 3 3"]
    """Of the object's triangles, simplified; object frame."""


class HandState(NamedTuple):
    """What moves in step two."""

    pose: Float[Array, "15 3"]
    rotation: Float[Array, "3"]
    """Tangent vector at the start's rotation."""
    translation: Float[Array, "3"]


class Contacts(NamedTuple):
    """Hand vertices that shall touch; those of weight zero only fill the room."""

    vertex: Int[Array, "n"]
    weight: Float[Array, "n"]
    distance: Float[Array, "n"]
    """To the object when they were chosen, metres; infinite where a region has no vertices."""


@checked
def object_distance(problem: ContactProblem, grasp: Grasp, points: Float[Array, "p 3"]) -> Float[Array, "p"]:
    """Signed distance from points in the camera's frame to the object where it is."""
    local = jnp.matmul(grasp.rotation.T, points.T - grasp.translation[:, None], precision="highest") / grasp.scale
    return grasp.scale * signed_distance_at(problem.object, local)


@checked
def placed_points(problem: ContactProblem, grasp: Grasp) -> Float[Array, "n 3"]:
    """The object's samples in the camera's frame."""
    points = grasp.scale * problem.object_points.T
    return (jnp.matmul(grasp.rotation, points, precision="highest") + grasp.translation[:, None]).T


@checked
def moved(start: HandParams, state: HandState) -> HandParams:
    """The hand of a state; its rotation is a matrix, whose gradient is right at any angle."""
    turn = matrix_of(state.rotation)
    rotation = jnp.matmul(_matrix(start.rotation), turn, precision="highest")
    return replace(start, pose=state.pose, rotation=rotation, translation=state.translation)


def _matrix(rotation: Float[Array, "3"] | Float[Array, "3 3"]) -> Float[Array, "3 3"]:
    return matrix_of(rotation) if rotation.ndim == 1 else rotation


@checked
def nearest_contacts(
    distance: Float[Array, "v"], regions: Int[Array, "v"], per_region: int, reach: float | Float[Array, ""]
) -> Contacts:
    """The vertices nearest to the object in each of the six contact regions, as far as they are within reach.

    A vertex whose distance is NaN is in none.
    """
    check_count("nearest_contacts: per_region", per_region, most=len(distance))
    regions = jnp.where(jnp.isnan(distance), -1, regions)

    def of_region(region: Int[Array, ""]) -> tuple[Float[Array, "k"], Int[Array, "k"]]:
        closeness, index = jax.lax.top_k(jnp.where(regions == region, -jnp.abs(distance), -jnp.inf), per_region)
        return closeness, index

    closeness, index = jax.vmap(of_region)(jnp.arange(6))
    distances = -closeness.ravel()
    near = (distances <= reach) & jnp.isfinite(distances)
    return Contacts(index.ravel(), near.astype(distance.dtype), distances)


@checked
def random_contacts(key: Key[Array, ""], distance: Float[Array, "v"], regions: Int[Array, "v"], count: int) -> Contacts:
    """`count` of the vertices that are in a contact region, as the paper has it; where there are fewer, all of them."""
    check_count("random_contacts: count", count, most=len(regions))
    likely = jnp.where(regions >= 0, 0.0, -jnp.inf)
    chance, vertex = jax.lax.top_k(likely + jax.random.gumbel(key, regions.shape), count)
    drawn = chance > -jnp.inf
    vertex = jnp.where(drawn, vertex, vertex[0])
    return Contacts(vertex, 1.0 * drawn, jnp.where(drawn, jnp.abs(distance[vertex]), jnp.inf))


@checked
def order_of(problem: ContactProblem, grasp: Grasp, posed: Hand) -> Order:
    """The order that the picture asks for, with the object where it is and the hand's vertices where they are seen."""
    corners = grasp.scale * problem.corners.reshape(-1, 3)
    placed = jnp.matmul(corners, grasp.rotation.T, precision="highest") + grasp.translation[None]
    drawn = placed, jnp.arange(len(placed)).reshape(-1, 3), project(problem.camera, posed.vertices)
    near, far = inverse_depths(problem.camera, *drawn)
    front = jnp.where((problem.seen > 0) & (near > 0), 1.0 / jnp.maximum(near, 1e-6), 0.0)
    return Order(front, jnp.where((problem.seen < 0) & (far > 0), 1.0 / jnp.maximum(far, 1e-6), 0.0))


@checked
def contact_terms(
    problem: ContactProblem,
    grasp: Grasp,
    given: HandParams,
    contacts: Contacts,
    *,
    order: Order,
    posed: Hand,
    held: Neighbours | None,
) -> dict[str, Float[Array, ""]]:
    """Terms dis, pen, prior, spen, theta, t, keypoint, order, unweighted, of a grasp whose hand is `posed`.

    `given`: the hand as it was seen. `held`: the neighbours of the object's points; without them pen is as printed, of
    hand vertices alone.
    """
    model, scale = problem.model, grasp.hand.scale
    distance = object_distance(problem, grasp, posed.vertices)
    pull = jnp.zeros_like(distance).at[contacts.vertex].add(contacts.weight)
    dis = jnp.sum(jnp.where(pull > 0, pull * jnp.abs(distance), 0.0))
    pen = jnp.sum(jax.nn.relu(-distance)) * (VERTICES / distance.shape[0])
    if held is not None:
        points = placed_points(problem, grasp)
        inside = E_pen(points, lambda x: distance_to_neighbours(x, posed.vertices, held, DEEPEST * scale))
        pen = pen + inside * (POINTS / points.shape[0])
    turn = jnp.matmul(_matrix(given.rotation).T, _matrix(grasp.hand.rotation), precision="highest")
    theta, t = E_h(
        jnp.concatenate([grasp.hand.pose, vector_of(turn)[None]]),
        jnp.concatenate([given.pose, jnp.zeros((1, 3))]),
        grasp.hand.translation,
        given.translation,
    )
    finger = jnp.asarray([-1, *(k // 4 for k in range(20))])
    angles = joint_angles(model, grasp.hand.pose)
    return {
        "dis": dis,
        "pen": pen,
        "prior": E_prior(grasp.hand.pose, model.pose_mean, model.pose_std, angles, model.joint_limits),
        "spen": E_spen(posed.keypoints, finger, LEAST_KEYPOINT_DISTANCE * scale),
        "theta": theta,
        "t": t,
        "keypoint": E_keypoint(project(problem.camera, posed.keypoints), problem.keypoints, problem.confidence),
        "order": E_order(posed.vertices[:, 2], order) * (VERTICES / distance.shape[0]),
    }


@checked
def resized(problem: ContactProblem, grasp: Grasp, factor: Float[Array, ""], *, unknown_size: bool) -> Grasp:
    """A similarity x -> factor x about the camera's centre of what has the uncertain size: no pixel changes.

    An object of unknown size is scaled; otherwise the hand is.
    """
    if unknown_size:
        return replace(grasp, translation=factor * grasp.translation, scale=factor * grasp.scale)
    wrist = wrist_at_rest(problem.model, grasp.hand.betas)
    # There and back rounds: no change is none to the bit.
    unchanged, changed = grasp.hand.translation, factor * (wrist + grasp.hand.translation) - wrist
    translation = jnp.where(factor == 1.0, unchanged, changed)
    return replace(grasp, hand=replace(grasp.hand, translation=translation, scale=factor * grasp.hand.scale))


class Seen(NamedTuple):
    """A hand posed as it was seen, and the order in depth that the picture asks of it."""

    posed: Hand
    order: Order


@checked
def seen_as(problem: ContactProblem, grasp: Grasp) -> Seen:
    """The hand of a grasp, posed, and its order with the object where it is."""
    posed = hand(problem.model, grasp.hand)
    return Seen(posed, order_of(problem, grasp, posed))


class Approach(NamedTuple):
    """What step one found: two valleys of depth, the better one first."""

    grasp: Grasp
    """Fields with a leading axis of two."""
    energy: Float[Array, "2"]
    distinct: Bool[Array, ""]
    """Whether there are two; otherwise the second is the first again."""
    factor: Float[Array, "2"]
    """By which the hand, or an object of unknown size, was resized."""
    seen: Seen
    """Of each grasp."""
    contacts: Contacts | None
    """Of each, where points were drawn: step two pulls the same ones."""


def scanned(count: int) -> Float[Array, "k"]:
    """`count` numbers from -3 to 3, evenly spaced, or one more where they are even: the middle one is 0."""
    return jnp.linspace(-3.0, 3.0, 2 * (count // 2) + 1).at[count // 2].set(0.0)


@checked
def approach(
    problem: ContactProblem, grasp: Grasp, key: Key[Array, ""], config: ContactConfig, *, unknown_size: bool
) -> Approach:
    """Step one: hand and object brought to the same depth. Unbatched.

    The energy over depth has two valleys, the object before the fingers and behind them, so it is scanned, with no
    change in the middle; of equal energies the least change wins. In the paper's form the object's depth takes noise
    and then `steps_one` Adam steps, from where both valleys are the same.
    """
    if config.step_one == "adam":
        return _paper_approach(problem, grasp, key, config)
    sigma = config.object_sigma if unknown_size else config.hand_sigma
    spread = sigma or 1.0  # where no size is to be tried but the one that is
    posed, order = seen_as(problem, grasp)
    logs = scanned(config.scan) * sigma
    count = len(logs)

    def energy(log: Float[Array, ""]) -> Float[Array, ""]:
        factor = jnp.exp(log)
        # A hand of factor k against the object is, k times larger, the hand against the object of factor 1 / k.
        if unknown_size:
            distance = factor * object_distance(problem, grasp, posed.vertices / factor)
            wrong = factor * E_order(posed.vertices[:, 2] / factor, order)
        else:
            distance = object_distance(problem, grasp, factor * posed.vertices)
            wrong = E_order(factor * posed.vertices[:, 2], order)
        contacts = nearest_contacts(distance, problem.model.regions, config.per_region, jnp.inf)
        pen = jnp.sum(jax.nn.relu(-distance)) * (VERTICES / distance.shape[0])
        dis = jnp.sum(jnp.where(contacts.weight > 0, jnp.abs(distance[contacts.vertex]), 0.0))
        order_term = config.w_order_one * wrong * (VERTICES / distance.shape[0])
        return config.w_dis_one * dis + config.w_pen_one * pen + order_term + config.w_size * (log / spread) ** 2

    energies = jax.lax.map(energy, logs)
    energies = jnp.where(jnp.isfinite(energies), energies, jnp.inf)
    higher = jnp.concatenate([jnp.array([jnp.inf]), energies, jnp.array([jnp.inf])])
    valley = (energies <= higher[:-2]) & (energies <= higher[2:])
    change = jnp.abs(jnp.arange(count) - count // 2)
    first = jnp.argmin(jnp.where(energies == jnp.min(energies), change, count))
    # A step of the scan is a few millimetres: neighbouring samples of a rough floor are one valley.
    apart = jnp.abs(jnp.arange(count) - first) > max(1, count // 24)
    others = jnp.where(valley & apart, energies, jnp.inf)
    second = jnp.argmin(others)
    distinct = jnp.isfinite(others[second])
    chosen = jnp.stack([first, jnp.where(distinct, second, first)])
    factors = jnp.exp(logs[chosen])
    grasps = jax.vmap(lambda k: resized(problem, grasp, k, unknown_size=unknown_size))(factors)

    def resized_seen(factor: Float[Array, ""]) -> Seen:
        of_object, of_hand = (factor, 1.0) if unknown_size else (1.0, factor)
        return Seen(jax.tree.map(lambda x: of_hand * x, posed), jax.tree.map(lambda x: of_object * x, order))

    return Approach(grasps, energies[chosen], distinct, factors, jax.vmap(resized_seen)(factors), None)


def _paper_approach(problem: ContactProblem, grasp: Grasp, key: Key[Array, ""], config: ContactConfig) -> Approach:
    posed = hand(problem.model, grasp.hand)
    noise_key, contact_key = jax.random.split(key)
    noise = config.depth_noise * jax.random.normal(noise_key)
    distance = object_distance(problem, grasp, posed.vertices)
    contacts = random_contacts(contact_key, distance, problem.model.regions, config.random_contacts)

    def shifted(depth: Float[Array, ""]) -> Grasp:
        return replace(grasp, translation=grasp.translation.at[2].add(depth))

    def energy(depth: Float[Array, ""]) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        distance = object_distance(problem, shifted(depth), posed.vertices)
        dis = jnp.sum(contacts.weight * jnp.abs(distance[contacts.vertex]))
        pen = jnp.sum(jax.nn.relu(-distance)) * (VERTICES / distance.shape[0])
        return config.w_dis_one * dis + config.w_pen_one * pen, {}

    found = minimise(energy, optax.adam(config.rate_one), noise, config.steps_one)
    shift = shifted(found.value)
    once = shift, found.energy, contacts, Seen(posed, order_of(problem, shift, posed))
    both, energies, contacts, seen = jax.tree.map(lambda x: jnp.stack([x, x]), once)
    return Approach(both, energies, jnp.asarray(False), jnp.ones(2), seen, contacts)


class Evaluated(NamedTuple):
    """What an evaluation of step two's energy leaves behind."""

    terms: Float[Array, "8"]
    """In the order of `TERMS`: as one array, so that what keeps and records them is compiled once, not eight times."""
    vertices: Float[Array, "v 3"]
    """Of the hand."""


class GraspSearch(NamedTuple):
    """Step two under way: what `grasp_round` carries on."""

    start: Grasp
    """Its hand is also the one that E_h holds on to."""
    contacts: Contacts
    order: Order
    search: Search
    """Its iterates come with what they `Evaluated` to; before the first that is the hand as it was seen."""

    @property
    def vertices(self) -> Float[Array, "*lanes v 3"]:
        """Of the hand, as they were last."""
        return self.search.last.vertices


@checked
def begin_grasp(
    problem: ContactProblem,
    grasp: Grasp,
    key: Key[Array, ""],
    config: ContactConfig,
    *,
    closed: float | Float[Array, ""] = 1.0,
    seen: Seen | None = None,
    drawn: Contacts | None = None,
) -> GraspSearch:
    """Step two before its first step: the contact points are chosen, the fingers opened as configured. Unbatched.

    `closed`: factor on the joint angles to start from, besides the configuration's. `seen`: what is known of the grasp
    already; computed unless given. `drawn`: the random contact points of step one, drawn here unless given.
    """
    posed, order = seen_as(problem, grasp) if seen is None else seen
    # As a matrix: it is asked for at every step.
    grasp = replace(grasp, hand=replace(grasp.hand, rotation=_matrix(grasp.hand.rotation)))
    distance = object_distance(problem, grasp, posed.vertices)
    if config.contacts == "random":
        contacts = drawn or random_contacts(key, distance, problem.model.regions, config.random_contacts)
    else:
        contacts = nearest_contacts(distance, problem.model.regions, config.per_region, config.reach)
    state = HandState(config.pose_start * closed * grasp.hand.pose, jnp.zeros(3), grasp.hand.translation)

    def energy(state: HandState) -> tuple[Float[Array, ""], Evaluated]:
        held = _held(problem, grasp, posed.vertices, config)
        return _energy(problem, grasp, contacts, order, weights=config.weights, held=held)(state)

    search = begin(energy, _adam(config), state)
    return GraspSearch(grasp, contacts, order, search._replace(last=search.last._replace(vertices=posed.vertices)))


@checked
def grasp_round(
    problem: ContactProblem, searching: GraspSearch, weights: Weights, config: ContactConfig, rounds: int
) -> tuple[GraspSearch, Float[Array, "steps"], Float[Array, "{rounds} 8"]]:
    """`rounds` times `refresh` steps of step two; the energy at each step and the `TERMS` at each round's start.

    The neighbours of the object's points are found once a round, on the hand of the step before.
    """

    def one(searching: GraspSearch, _: None) -> tuple[GraspSearch, tuple]:
        start, contacts, order, search = searching
        held = _held(problem, start, searching.vertices, config)
        energy = _energy(problem, start, contacts, order, weights=weights, held=held)
        search, (history, terms) = advance(energy, _adam(config), search, config.refresh, lambda x: x.terms)
        return searching._replace(search=search), (history, terms[0])

    searching, (history, terms) = jax.lax.scan(one, searching, length=rounds)
    return searching, history.ravel(), terms


@checked
def grasp(problem: ContactProblem, start: Grasp, key: Key[Array, ""], config: ContactConfig) -> tuple[Grasp, Solution]:
    """Step two: fingers close on the object without entering it. Unbatched; the best iterate is kept.

    Takes `config.steps`, rounded up to whole rounds of `config.refresh`.
    """
    searching = begin_grasp(problem, start, key, config)
    searching, history, _ = grasp_round(problem, searching, config.weights, config, config.rounds)
    state, energy, evaluated = searching.search.best
    terms = dict(zip(TERMS, nan_where_lost(energy, evaluated.terms), strict=True))
    return found(searching), Solution(state, energy, terms, history)


@checked
def found(searching: GraspSearch) -> Grasp:
    """The best grasp so far, its rotation as a vector."""
    params = moved(searching.start.hand, searching.search.best[0])
    return replace(searching.start, hand=replace(params, rotation=vector_of(params.rotation)))


def _held(
    problem: ContactProblem, start: Grasp, vertices: Float[Array, "v 3"], config: ContactConfig
) -> Neighbours | None:
    if not config.both_directions:
        return None
    faces = jnp.concatenate([problem.model.faces, problem.model.cap_faces])
    return neighbours(placed_points(problem, start), vertices, faces)


def _energy(
    problem: ContactProblem,
    start: Grasp,
    contacts: Contacts,
    order: Order,
    *,
    weights: Weights,
    held: Neighbours | None,
) -> Callable[[HandState], tuple[Float[Array, ""], Evaluated]]:
    def energy(state: HandState) -> tuple[Float[Array, ""], Evaluated]:
        params = moved(start.hand, state)
        posed, placed = hand(problem.model, params), replace(start, hand=params)
        terms = contact_terms(problem, placed, start.hand, contacts, order=order, posed=posed, held=held)
        return weighted_sum(terms, weights), Evaluated(jnp.stack([terms[name] for name in TERMS]), posed.vertices)

    return energy


def _adam(config: ContactConfig) -> optax.GradientTransformation:
    fall = optax.cosine_decay_schedule(1.0, config.steps) if config.schedule == "cosine" else lambda step: 1.0

    def rates(step: Int[Array, ""]) -> HandState:
        angle, metres = (jnp.asarray(fall(step) * rate) for rate in (config.angle_rate, config.translation_rate))
        return HandState(angle, angle, metres)

    return adam(rates)
