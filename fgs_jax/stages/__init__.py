"""The stages: scale, object pose, contact, and a scene refined by all of them in a row."""

from typing import TYPE_CHECKING

from fgs_jax.exports import lazy_exports

if TYPE_CHECKING:
    from fgs_jax.energies.image import L_cam as L_cam
    from fgs_jax.energies.image import L_dep as L_dep
    from fgs_jax.energies.image import L_dist as L_dist
    from fgs_jax.stages.contact_problem import ContactProblem as ContactProblem
    from fgs_jax.stages.contact_problem import Picture as Picture
    from fgs_jax.stages.grasps import Grasps as Grasps
    from fgs_jax.stages.grasps import refine_grasps as refine_grasps
    from fgs_jax.stages.opa import PoseState as PoseState
    from fgs_jax.stages.opa import approximate as approximate
    from fgs_jax.stages.opa import pose_problem as pose_problem
    from fgs_jax.stages.opa_problem import PoseProblem as PoseProblem
    from fgs_jax.stages.opa_terms import opa_terms as opa_terms
    from fgs_jax.stages.refine import refine_many as refine_many
    from fgs_jax.stages.scale import ScaleAlignment as ScaleAlignment
    from fgs_jax.stages.scale import align as align
    from fgs_jax.stages.scale import box_ratio as box_ratio
    from fgs_jax.stages.scale import hull_volume as hull_volume
    from fgs_jax.stages.scale import volume_ratio as volume_ratio
else:
    __getattr__, __dir__ = lazy_exports(__name__)
