"""An energy of your own in the contact stage: the tip of the index finger goes to a place on the object, a trigger."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fgs_jax.config import FAST_CONTACT
from fgs_jax.energies.terms import Context
from fgs_jax.extensions import Term
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.mano import mano_kind
from fgs_jax.objects.grid import distance_grid
from fgs_jax.objects.mesh import load_object
from fgs_jax.objects.sample import sample_points
from fgs_jax.stages.contact_problem import ContactProblem
from fgs_jax.stages.grasps import Grasps, refine_grasps
from fgs_jax.testing.shapes import can
from fgs_jax.testing.starts import hands_about
from fgs_jax.types import Grasp

INDEX_TIP = 8  # in OpenPose's order
TRIGGER = jnp.array([0.033, 0.0, 0.03])  # metres, object frame


def trigger(context: Context, place: Float[Array, "3"]) -> Float[Array, ""]:
    """Squared distance of the index fingertip to a place on the object, metres^2."""
    there = jnp.matmul(context.object.rotation, context.object.scale * place, precision="highest")
    return jnp.sum((context.hand.keypoints[INDEX_TIP] - there - context.object.translation) ** 2)


def main(count: int = 8, weight: float = 1e5) -> dict[str, Grasps]:
    mesh, model = load_object(can(), name="can"), load_hand_model("open_hand")
    problem = ContactProblem(mano_kind(model), distance_grid(mesh), sample_points(mesh, 2000, jax.random.key(0)))
    hands = hands_about(model, mesh, count, np.random.default_rng(0))
    starts = Grasp(hands, jnp.tile(jnp.eye(3), (count, 1, 1)), jnp.zeros((count, 3)), jnp.ones(count))
    config = replace(FAST_CONTACT, reach=0.06, w_t=1.0, steps=300)
    # The place goes in with the term: another one compiles nothing, nor does another weight.
    own = replace(config, terms={"trigger": Term(trigger, TRIGGER)}, weights={"trigger": weight})
    found = {
        name: refine_grasps(problem, starts, jax.random.key(1), c) for name, c in (("as it is", config), ("own", own))
    }
    print("fingertip to trigger, mm:", np.sqrt(found["own"].terms["trigger"]).round(4) * 1e3)
    return found


if __name__ == "__main__":
    main()
