"""Objects: meshes that are read, checked and mended, and what is asked of them: samples and signed distances."""

from typing import TYPE_CHECKING

from fgs_jax.exports import lazy_exports

if TYPE_CHECKING:
    from fgs_jax.objects.distance import DistanceGrid as DistanceGrid
    from fgs_jax.objects.distance import nearest as nearest
    from fgs_jax.objects.distance import signed_distance as signed_distance
    from fgs_jax.objects.mesh import ObjectMesh as ObjectMesh
    from fgs_jax.objects.mesh import convex_hull as convex_hull
    from fgs_jax.objects.mesh import distance_grid as distance_grid
    from fgs_jax.objects.mesh import exact_signed_distance as exact_signed_distance
    from fgs_jax.objects.mesh import farthest_points as farthest_points
    from fgs_jax.objects.mesh import load_object as load_object
    from fgs_jax.objects.mesh import sample_points as sample_points
    from fgs_jax.objects.mesh import simplify as simplify
else:
    __getattr__, __dir__ = lazy_exports(__name__)
