"""Hands: reading and checking models, the layer from parameters to vertices, and fits to what was seen."""

from typing import TYPE_CHECKING

from fgs_jax.exports import lazy_exports

if TYPE_CHECKING:
    from fgs_jax.hands.anatomy import FINGER_JOINTS as FINGER_JOINTS
    from fgs_jax.hands.anatomy import FINGERS as FINGERS
    from fgs_jax.hands.anatomy import JOINT_NAMES as JOINT_NAMES
    from fgs_jax.hands.anatomy import PARENTS as PARENTS
    from fgs_jax.hands.anatomy import REGION_NAMES as REGION_NAMES
    from fgs_jax.hands.carry import carry_over as carry_over
    from fgs_jax.hands.files import HAND_NAMES as HAND_NAMES
    from fgs_jax.hands.files import load_hand_model as load_hand_model
    from fgs_jax.hands.files import mirror_hand_model as mirror_hand_model
    from fgs_jax.hands.files import read_hand_file as read_hand_file
    from fgs_jax.hands.files import write_hand_file as write_hand_file
    from fgs_jax.hands.fit import HandFit as HandFit
    from fgs_jax.hands.fit import check_side as check_side
    from fgs_jax.hands.fit import clearer_landmarks as clearer_landmarks
    from fgs_jax.hands.fit import fit_hand as fit_hand
    from fgs_jax.hands.fit import side_evidence as side_evidence
    from fgs_jax.hands.kind import HandKind as HandKind
    from fgs_jax.hands.kind import HandState as HandState
    from fgs_jax.hands.kind import PosePrior as PosePrior
    from fgs_jax.hands.kind import rotation_matrix as rotation_matrix
    from fgs_jax.hands.mano import KEYPOINT_ORDERS as KEYPOINT_ORDERS
    from fgs_jax.hands.mano import hand as hand
    from fgs_jax.hands.mano import hand_keypoints as hand_keypoints
    from fgs_jax.hands.mano import joint_angles as joint_angles
    from fgs_jax.hands.mano import mano_kind as mano_kind
    from fgs_jax.hands.mano import pose_from_joint_angles as pose_from_joint_angles
    from fgs_jax.hands.mano import pose_from_pca as pose_from_pca
    from fgs_jax.hands.mano import reorder_keypoints as reorder_keypoints
    from fgs_jax.hands.mano import wrist_at_rest as wrist_at_rest
    from fgs_jax.hands.skinned import SkinnedModel as SkinnedModel
    from fgs_jax.hands.skinned import skinned_hand as skinned_hand
    from fgs_jax.hands.skinned import skinned_kind as skinned_kind
else:
    __getattr__, __dir__ = lazy_exports(__name__)
