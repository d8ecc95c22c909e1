"""Results: what the stages find, its metrics, files, report, and what each stage is worth."""

from typing import TYPE_CHECKING

from fgs_jax.exports import lazy_exports

if TYPE_CHECKING:
    from fgs_jax.results.metrics.contact import contact_ratio as contact_ratio
    from fgs_jax.results.metrics.contact import fingers_in_contact as fingers_in_contact
    from fgs_jax.results.metrics.grasp import GRASP_METRICS as GRASP_METRICS
    from fgs_jax.results.metrics.grasp import grasp_metrics as grasp_metrics
    from fgs_jax.results.metrics.penetration import maximal_penetration_depth as maximal_penetration_depth
    from fgs_jax.results.metrics.penetration import object_depth_in_hand as object_depth_in_hand
    from fgs_jax.results.metrics.penetration import penetration_depth_to_vertex as penetration_depth_to_vertex
    from fgs_jax.results.metrics.picture import PICTURE_METRICS as PICTURE_METRICS
    from fgs_jax.results.metrics.picture import keypoint_error as keypoint_error
    from fgs_jax.results.metrics.picture import masked_iou as masked_iou
    from fgs_jax.results.metrics.picture import occlusion_agreement as occlusion_agreement
    from fgs_jax.results.metrics.picture import picture_metrics as picture_metrics
    from fgs_jax.results.metrics.surface import Surface as Surface
    from fgs_jax.results.metrics.surface import signed_distances as signed_distances
    from fgs_jax.results.metrics.volume import solid_intersection_volume as solid_intersection_volume
    from fgs_jax.results.report import write_report as write_report
    from fgs_jax.results.result import Candidate as Candidate
    from fgs_jax.results.result import ObjectPoses as ObjectPoses
    from fgs_jax.results.result import Result as Result
    from fgs_jax.results.result import object_at as object_at
    from fgs_jax.results.write import write_grasp as write_grasp
    from fgs_jax.results.write import write_result as write_result
else:
    __getattr__, __dir__ = lazy_exports(__name__)
