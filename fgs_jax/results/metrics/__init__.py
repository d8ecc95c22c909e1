"""How good a grasp is: penetration, shared volume, contact, and how well the hand and the object fit the picture.

Host side, numpy, float64, on the meshes as they are. Inside is where the generalised winding number is above one half
(`objects.winding`), so a hand that overlaps itself, a mesh with holes and an object of overlapping parts have an inside
too. Hand and object stand in one frame, in metres. Works that measure "penetration" or "contact" mean different things
by it; the variants stand here side by side, each with the work that it comes from in its description.
"""

from typing import TYPE_CHECKING

from fgs_jax.exports import lazy_exports

if TYPE_CHECKING:
    from fgs_jax.results.metrics.contact import CONTACT as CONTACT
    from fgs_jax.results.metrics.contact import FINGER_CONTACT as FINGER_CONTACT
    from fgs_jax.results.metrics.contact import contact_ratio as contact_ratio
    from fgs_jax.results.metrics.contact import contact_ratio_hand_over_object as contact_ratio_hand_over_object
    from fgs_jax.results.metrics.contact import contact_ratio_of_vertices as contact_ratio_of_vertices
    from fgs_jax.results.metrics.contact import fingers_in_contact as fingers_in_contact
    from fgs_jax.results.metrics.contact import fingers_of_vertices as fingers_of_vertices
    from fgs_jax.results.metrics.contact import model_of_hand_mesh as model_of_hand_mesh
    from fgs_jax.results.metrics.grasp import GRASP_METRICS as GRASP_METRICS
    from fgs_jax.results.metrics.grasp import grasp_metrics as grasp_metrics
    from fgs_jax.results.metrics.penetration import maximal_penetration_depth as maximal_penetration_depth
    from fgs_jax.results.metrics.penetration import object_depth_in_hand as object_depth_in_hand
    from fgs_jax.results.metrics.penetration import penetration_depth_to_vertex as penetration_depth_to_vertex
    from fgs_jax.results.metrics.picture import PICTURE_METRICS as PICTURE_METRICS
    from fgs_jax.results.metrics.picture import hand_silhouette_iou as hand_silhouette_iou
    from fgs_jax.results.metrics.picture import keypoint_error as keypoint_error
    from fgs_jax.results.metrics.picture import masked_iou as masked_iou
    from fgs_jax.results.metrics.picture import occlusion_agreement as occlusion_agreement
    from fgs_jax.results.metrics.picture import picture_metrics as picture_metrics
    from fgs_jax.results.metrics.surface import SURFACE_POINTS as SURFACE_POINTS
    from fgs_jax.results.metrics.surface import Surface as Surface
    from fgs_jax.results.metrics.surface import check_surface as check_surface
    from fgs_jax.results.metrics.surface import check_surfaces as check_surfaces
    from fgs_jax.results.metrics.surface import sample_surface as sample_surface
    from fgs_jax.results.metrics.surface import signed_distances as signed_distances
    from fgs_jax.results.metrics.truth import TRUE_CONTACT as TRUE_CONTACT
    from fgs_jax.results.metrics.truth import TRUTH_METRICS as TRUTH_METRICS
    from fgs_jax.results.metrics.truth import Agreement as Agreement
    from fgs_jax.results.metrics.truth import Placed as Placed
    from fgs_jax.results.metrics.truth import contact_agreement as contact_agreement
    from fgs_jax.results.metrics.truth import distances_to_placed as distances_to_placed
    from fgs_jax.results.metrics.truth import hand_size_ratio as hand_size_ratio
    from fgs_jax.results.metrics.truth import keypoint_distance as keypoint_distance
    from fgs_jax.results.metrics.truth import keypoint_distance_about_wrist as keypoint_distance_about_wrist
    from fgs_jax.results.metrics.truth import keypoint_distance_aligned as keypoint_distance_aligned
    from fgs_jax.results.metrics.truth import keypoint_distance_in_object as keypoint_distance_in_object
    from fgs_jax.results.metrics.truth import object_distance as object_distance
    from fgs_jax.results.metrics.truth import penetration_over_truth as penetration_over_truth
    from fgs_jax.results.metrics.truth import touching_fingers as touching_fingers
    from fgs_jax.results.metrics.truth import touching_vertices as touching_vertices
    from fgs_jax.results.metrics.truth import truth_metrics as truth_metrics
    from fgs_jax.results.metrics.volume import VOXEL as VOXEL
    from fgs_jax.results.metrics.volume import SolidIntersection as SolidIntersection
    from fgs_jax.results.metrics.volume import solid_intersection_volume as solid_intersection_volume
    from fgs_jax.results.metrics.volume import surface_voxel_intersection_volume as surface_voxel_intersection_volume
    from fgs_jax.results.metrics.volume import voxel_intersection_volume as voxel_intersection_volume
else:
    __getattr__, __dir__ = lazy_exports(__name__)
