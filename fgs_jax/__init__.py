"""Differentiable hand-object grasp refinement in JAX.

What is used most stands here; the rest is imported from its folder: `from fgs_jax.hands.mano import hand`.
"""

from fgs_jax.errors import FgsError as FgsError
from fgs_jax.hands.files import load_hand_model as load_hand_model
from fgs_jax.hands.files import mirror_hand_model as mirror_hand_model
from fgs_jax.hands.files import read_hand_file as read_hand_file
from fgs_jax.hands.files import write_hand_file as write_hand_file
from fgs_jax.hands.fit import HandFit as HandFit
from fgs_jax.hands.fit import carry_over as carry_over
from fgs_jax.hands.fit import check_side as check_side
from fgs_jax.hands.fit import fit_hand as fit_hand
from fgs_jax.hands.fit import side_evidence as side_evidence
from fgs_jax.hands.mano import KEYPOINT_ORDERS as KEYPOINT_ORDERS
from fgs_jax.hands.mano import hand_keypoints as hand_keypoints
from fgs_jax.hands.mano import joint_angles as joint_angles
from fgs_jax.hands.mano import pose_from_joint_angles as pose_from_joint_angles
from fgs_jax.hands.mano import pose_from_pca as pose_from_pca
from fgs_jax.hands.mano import reorder_keypoints as reorder_keypoints
from fgs_jax.objects.mesh import ObjectMesh as ObjectMesh
from fgs_jax.objects.mesh import load_object as load_object
from fgs_jax.picture.camera import project as project
from fgs_jax.picture.scene import Scene as Scene
from fgs_jax.picture.scene import camera_from_matrix as camera_from_matrix
from fgs_jax.results.result import ObjectPoses as ObjectPoses
from fgs_jax.solve.least_squares import least_squares as least_squares
from fgs_jax.solve.minimise import minimise as minimise
from fgs_jax.stages.opa import approximate as approximate
from fgs_jax.types import Camera as Camera
from fgs_jax.types import Hand as Hand
from fgs_jax.types import HandModel as HandModel
from fgs_jax.types import HandParams as HandParams

__version__ = "0.1.0"
