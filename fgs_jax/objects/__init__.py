"""Objects: meshes that are read, checked and mended, and what is asked of them: samples and signed distances."""

from typing import TYPE_CHECKING

from fgs_jax.exports import lazy_exports

if TYPE_CHECKING:
    from fgs_jax.objects.distance import DistanceGrid as DistanceGrid
    from fgs_jax.objects.distance import signed_distance as signed_distance
    from fgs_jax.objects.distance import signed_distance_at as signed_distance_at
    from fgs_jax.objects.grid import distance_grid as distance_grid
    from fgs_jax.objects.mesh import ObjectMesh as ObjectMesh
    from fgs_jax.objects.mesh import load_object as load_object
    from fgs_jax.objects.neighbours import nearest as nearest
    from fgs_jax.objects.sample import farthest_points as farthest_points
    from fgs_jax.objects.sample import sample_points as sample_points
    from fgs_jax.objects.simplifying import simplify as simplify
    from fgs_jax.objects.solid import convex_hull as convex_hull
    from fgs_jax.objects.solid import exact_signed_distance as exact_signed_distance
    from fgs_jax.objects.solid import hull_planes as hull_planes
    from fgs_jax.objects.surfaces import SignedDistance as SignedDistance
    from fgs_jax.objects.surfaces import surface_samples as surface_samples
    from fgs_jax.objects.walls import grid_notes as grid_notes
    from fgs_jax.objects.walls import wall_thickness as wall_thickness
else:
    __getattr__, __dir__ = lazy_exports(__name__)
