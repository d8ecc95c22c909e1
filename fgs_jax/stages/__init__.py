"""The stages: scale, object pose, contact, and a scene refined by all of them in a row."""

from typing import TYPE_CHECKING

from fgs_jax.exports import lazy_exports

if TYPE_CHECKING:
    from fgs_jax.stages.contact_problem import ContactProblem as ContactProblem
    from fgs_jax.stages.contact_problem import Picture as Picture
    from fgs_jax.stages.contact_problem import context_of as context_of
    from fgs_jax.stages.finish import finish_grasp as finish_grasp
    from fgs_jax.stages.given_hand import GivenHand as GivenHand
    from fgs_jax.stages.given_hand import hand_values as hand_values
    from fgs_jax.stages.given_hand import read_given_hand as read_given_hand
    from fgs_jax.stages.grasps import Grasps as Grasps
    from fgs_jax.stages.grasps import refine_grasps as refine_grasps
    from fgs_jax.stages.hand_in_picture import see_hand as see_hand
    from fgs_jax.stages.hand_in_picture import with_hand as with_hand
    from fgs_jax.stages.opa import approximate as approximate
    from fgs_jax.stages.opa_problem import PoseProblem as PoseProblem
    from fgs_jax.stages.opa_problem import PoseState as PoseState
    from fgs_jax.stages.opa_problem import pose_problem as pose_problem
    from fgs_jax.stages.refine import STAGES as STAGES
    from fgs_jax.stages.refine import grasp_object as grasp_object
    from fgs_jax.stages.refine import pose_object as pose_object
    from fgs_jax.stages.refine import refine_many as refine_many
    from fgs_jax.stages.refine import stages_with as stages_with
    from fgs_jax.stages.scale import ScaleAlignment as ScaleAlignment
    from fgs_jax.stages.scale import align as align
    from fgs_jax.stages.scale import box_ratio as box_ratio
    from fgs_jax.stages.scale import hull_volume as hull_volume
    from fgs_jax.stages.scale import size_object as size_object
    from fgs_jax.stages.scale import volume_ratio as volume_ratio
    from fgs_jax.stages.states import HandSeen as HandSeen
    from fgs_jax.stages.states import Posed as Posed
    from fgs_jax.stages.states import Sized as Sized
    from fgs_jax.stages.states import Stage as Stage
    from fgs_jax.stages.states import Touching as Touching
    from fgs_jax.stages.states import stage_keys as stage_keys
    from fgs_jax.stages.step_one import approach as approach
else:
    __getattr__, __dir__ = lazy_exports(__name__)
