"""Terms of one's own that are no number, or whose gradient is none: the run says which."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from fgs_jax.errors import SceneError
from fgs_jax.hands.files import load_hand_model
from fgs_jax.objects.mesh import load_object
from fgs_jax.results.result import Candidate, ObjectPoses
from fgs_jax.stages import refine as module
from fgs_jax.stages.contact import Contact
from fgs_jax.stages.refine import grasp_objects, refine
from fgs_jax.stages.states import Posed, Touching
from fgs_jax.testing import as_scene
from fgs_jax.types import HandParams
from tests.small_scene import SMALL, rendered
from tests.stages.contact_scenes import ball_scene


def lost(context):
    return jnp.log(-1.0 - jnp.sum(context.hand.keypoints**2))


def test_a_term_that_is_nan_is_named():
    contact = replace(SMALL.contact, terms={"lost": lost}, weights={"lost": 1.0}, steps=10)
    opa = replace(SMALL.opa, polish_evaluations=0)
    few = replace(SMALL, opa=opa, contact=contact, restarts=4, candidates=1)
    with pytest.raises(SceneError, match="no candidate ended with a finite energy: check term lost, which is nan at"):
        refine(as_scene(rendered()), few)


END = "contact: the hand's size, times 1.20, is at the end of those that were tried: check the size of the mesh and K, "


def touching(monkeypatch, found: Contact, mesh: Any = None) -> Touching:
    """What the contact stage makes of a scene and what was found for it, whose grid is that of a ball."""
    monkeypatch.setattr(module, "optimise_contact", lambda tasks, config: [found])
    scene = replace(as_scene(rendered()), hand_params=HandParams())
    scene = scene if mesh is None else replace(scene, object=mesh)
    poses: Any = ObjectPoses._make([None] * len(ObjectPoses._fields))
    state = Posed(scene, scene, load_hand_model("open_hand"), ("one",), 1.0, {}, 1.0, poses)
    problem, _ = ball_scene(state.model, 1, 0)
    [outcome] = grasp_objects([state], SMALL, jax.random.key(0), problems=[problem])
    assert isinstance(outcome, Touching)
    return outcome


def candidate(factor: float) -> Candidate:
    return Candidate._make([None] * len(Candidate._fields))._replace(factor=factor)


@pytest.mark.parametrize(("factor", "more"), [(1.19, ()), (1.1972, (f"{END}or try more by contact.hand_sigma",))])
def test_steps_that_were_nan_and_a_size_at_the_end_are_notes(monkeypatch, factor, more):
    found = Contact([candidate(factor)], np.array([1.0, 0.5, np.nan, np.nan]), {})
    assert touching(monkeypatch, found).notes == (
        "one",
        *more,
        "contact: the energy was nan at 2 of 4 steps: check the gradients of its terms",
    )


def test_a_wall_that_is_thinner_than_two_voxels_is_a_note(monkeypatch):
    plate = load_object(trimesh.creation.box((0.1, 0.1, 0.001)))
    notes = touching(monkeypatch, Contact([candidate(1.0)], np.zeros(4), {}), plate).notes
    assert notes[0] == "one" and len(notes) == 2
    assert notes[1].startswith("object: its wall is 1.0 mm thick, and a voxel of its distance grid ")
