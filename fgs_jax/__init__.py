"""Differentiable hand-object grasp refinement in JAX.

What is used most stands here; a function named as its module is imported from it: `from fgs_jax.hand import hand`.
"""

from fgs_jax.camera import project as project
from fgs_jax.errors import FgsError as FgsError
from fgs_jax.hand import KEYPOINT_ORDERS as KEYPOINT_ORDERS
from fgs_jax.hand import hand_keypoints as hand_keypoints
from fgs_jax.hand import joint_angles as joint_angles
from fgs_jax.hand import pose_from_joint_angles as pose_from_joint_angles
from fgs_jax.hand import pose_from_pca as pose_from_pca
from fgs_jax.hand import reorder_keypoints as reorder_keypoints
from fgs_jax.hand_files import load_hand_model as load_hand_model
from fgs_jax.hand_files import mirror_hand_model as mirror_hand_model
from fgs_jax.hand_files import read_hand_file as read_hand_file
from fgs_jax.hand_files import write_hand_file as write_hand_file
from fgs_jax.hand_fit import HandFit as HandFit
from fgs_jax.hand_fit import carry_over as carry_over
from fgs_jax.hand_fit import check_side as check_side
from fgs_jax.hand_fit import fit_hand as fit_hand
from fgs_jax.hand_fit import side_evidence as side_evidence
from fgs_jax.objects import ObjectMesh as ObjectMesh
from fgs_jax.objects import load_object as load_object
from fgs_jax.opa import ObjectPoses as ObjectPoses
from fgs_jax.opa import approximate as approximate
from fgs_jax.scene import Scene as Scene
from fgs_jax.scene import camera_from_matrix as camera_from_matrix
from fgs_jax.solve import least_squares as least_squares
from fgs_jax.solve import minimise as minimise
from fgs_jax.types import Camera as Camera
from fgs_jax.types import Hand as Hand
from fgs_jax.types import HandModel as HandModel
from fgs_jax.types import HandParams as HandParams

__version__ = "0.1.0"
