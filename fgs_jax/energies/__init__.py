"""Energies, alone and together: of contact, of the hand's pose, of the picture; terms by their names."""

from typing import TYPE_CHECKING

from fgs_jax.exports import lazy_exports

if TYPE_CHECKING:
    from fgs_jax.energies.contact import Contacts as Contacts
    from fgs_jax.energies.contact import E_dis as E_dis
    from fgs_jax.energies.contact import E_pen as E_pen
    from fgs_jax.energies.contact import distance_to_neighbours as distance_to_neighbours
    from fgs_jax.energies.contact import nearest_contacts as nearest_contacts
    from fgs_jax.energies.contact import neighbours as neighbours
    from fgs_jax.energies.contact import random_contacts as random_contacts
    from fgs_jax.energies.image import E_keypoint as E_keypoint
    from fgs_jax.energies.image import E_order as E_order
    from fgs_jax.energies.image import L_cam as L_cam
    from fgs_jax.energies.image import L_dep as L_dep
    from fgs_jax.energies.image import L_dist as L_dist
    from fgs_jax.energies.image import Order as Order
    from fgs_jax.energies.pose import E_h as E_h
    from fgs_jax.energies.pose import E_prior as E_prior
    from fgs_jax.energies.pose import E_spen as E_spen
    from fgs_jax.energies.terms import Context as Context
    from fgs_jax.energies.terms import PlacedObject as PlacedObject
    from fgs_jax.energies.terms import SeenHand as SeenHand
    from fgs_jax.energies.terms import term_values as term_values
    from fgs_jax.energies.terms import weighted_sum as weighted_sum
else:
    __getattr__, __dir__ = lazy_exports(__name__)
