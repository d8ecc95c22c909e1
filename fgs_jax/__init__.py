"""Differentiable hand-object grasp refinement in JAX.

What is used most stands here; each folder exports the rest: `from fgs_jax.hands import hand`.
"""

from typing import TYPE_CHECKING

from fgs_jax.exports import lazy_exports

if TYPE_CHECKING:
    from fgs_jax.config import CONFIGS as CONFIGS
    from fgs_jax.config import FAST as FAST
    from fgs_jax.config import FAST_CONTACT as FAST_CONTACT
    from fgs_jax.config import FAST_OPA as FAST_OPA
    from fgs_jax.config import PAPER as PAPER
    from fgs_jax.config import PAPER_CONTACT as PAPER_CONTACT
    from fgs_jax.config import PAPER_OPA as PAPER_OPA
    from fgs_jax.config import ContactConfig as ContactConfig
    from fgs_jax.config import OpaConfig as OpaConfig
    from fgs_jax.config import Phase as Phase
    from fgs_jax.config import RefineConfig as RefineConfig
    from fgs_jax.config_files import load_config as load_config
    from fgs_jax.errors import ArgumentError as ArgumentError
    from fgs_jax.errors import BridgeError as BridgeError
    from fgs_jax.errors import BridgeUnavailable as BridgeUnavailable
    from fgs_jax.errors import ConfigError as ConfigError
    from fgs_jax.errors import FgsError as FgsError
    from fgs_jax.errors import HandednessWarning as HandednessWarning
    from fgs_jax.errors import HandFileError as HandFileError
    from fgs_jax.errors import HandFileWarning as HandFileWarning
    from fgs_jax.errors import HandFitError as HandFitError
    from fgs_jax.errors import HandInputError as HandInputError
    from fgs_jax.errors import HandPoseWarning as HandPoseWarning
    from fgs_jax.errors import HandShapeWarning as HandShapeWarning
    from fgs_jax.errors import MeshError as MeshError
    from fgs_jax.errors import ResultError as ResultError
    from fgs_jax.errors import SceneError as SceneError
    from fgs_jax.hands.carry import carry_over as carry_over
    from fgs_jax.hands.files import load_hand_model as load_hand_model
    from fgs_jax.hands.files import mirror_hand_model as mirror_hand_model
    from fgs_jax.hands.files import read_hand_file as read_hand_file
    from fgs_jax.hands.files import write_hand_file as write_hand_file
    from fgs_jax.hands.fit import HandFit as HandFit
    from fgs_jax.hands.fit import check_side as check_side
    from fgs_jax.hands.fit import fit_hand as fit_hand
    from fgs_jax.hands.fit import side_evidence as side_evidence
    from fgs_jax.hands.mano import KEYPOINT_ORDERS as KEYPOINT_ORDERS
    from fgs_jax.hands.mano import hand_keypoints as hand_keypoints
    from fgs_jax.hands.mano import joint_angles as joint_angles
    from fgs_jax.hands.mano import pose_from_joint_angles as pose_from_joint_angles
    from fgs_jax.hands.mano import pose_from_pca as pose_from_pca
    from fgs_jax.hands.mano import reorder_keypoints as reorder_keypoints
    from fgs_jax.journal import Journal as Journal
    from fgs_jax.objects.mesh import ObjectMesh as ObjectMesh
    from fgs_jax.objects.mesh import load_object as load_object
    from fgs_jax.picture.camera import project as project
    from fgs_jax.picture.render import render as render
    from fgs_jax.picture.scene import Scene as Scene
    from fgs_jax.picture.scene import camera_from_matrix as camera_from_matrix
    from fgs_jax.picture.scene_files import load_scene as load_scene
    from fgs_jax.picture.scene_files import save_scene as save_scene
    from fgs_jax.results.result import ObjectPoses as ObjectPoses
    from fgs_jax.results.result import Result as Result
    from fgs_jax.solve.least_squares import least_squares as least_squares
    from fgs_jax.solve.minimise import minimise as minimise
    from fgs_jax.stages.grasps import refine_grasps as refine_grasps
    from fgs_jax.stages.opa import approximate as approximate
    from fgs_jax.stages.refine import refine as refine
    from fgs_jax.stages.refine import refine_many as refine_many
    from fgs_jax.types import Camera as Camera
    from fgs_jax.types import Grasp as Grasp
    from fgs_jax.types import Hand as Hand
    from fgs_jax.types import HandModel as HandModel
    from fgs_jax.types import HandParams as HandParams
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__version__ = "0.1.0"
