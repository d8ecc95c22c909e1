"""Scenes, shapes and hands made by code, for tests, benchmarks, examples, and experiments without data.

    from fgs_jax.testing import as_scene, make_scene
    scene = as_scene(make_scene("mug", seed=0))

Everything follows from names and seeds.
"""

from typing import TYPE_CHECKING

from fgs_jax.exports import lazy_exports

if TYPE_CHECKING:
    from fgs_jax.testing.grasps import open_hand as open_hand
    from fgs_jax.testing.grasps import random_grasp as random_grasp
    from fgs_jax.testing.hands import mirrored_mano as mirrored_mano
    from fgs_jax.testing.hands import synthetic_mano as synthetic_mano
    from fgs_jax.testing.mano_files import write_mano_npz as write_mano_npz
    from fgs_jax.testing.mano_files import write_mano_pickle as write_mano_pickle
    from fgs_jax.testing.poses import add_s as add_s
    from fgs_jax.testing.poses import diameter as diameter
    from fgs_jax.testing.poses import rotation_error as rotation_error
    from fgs_jax.testing.poses import transformed as transformed
    from fgs_jax.testing.scenes import RenderedScene as RenderedScene
    from fgs_jax.testing.scenes import as_scene as as_scene
    from fgs_jax.testing.scenes import make_scene as make_scene
    from fgs_jax.testing.scenes import of_unknown_size as of_unknown_size
    from fgs_jax.testing.shapes import ASYMMETRIC as ASYMMETRIC
    from fgs_jax.testing.shapes import HELD as HELD
    from fgs_jax.testing.shapes import SHAPES as SHAPES
    from fgs_jax.testing.shapes import Mesh as Mesh
    from fgs_jax.testing.skeletons import ShapeReport as ShapeReport
    from fgs_jax.testing.skeletons import natural_hands as natural_hands
    from fgs_jax.testing.skeletons import other_bones as other_bones
    from fgs_jax.testing.skeletons import other_fingers as other_fingers
    from fgs_jax.testing.skeletons import shape_report as shape_report
    from fgs_jax.testing.starts import hands_about as hands_about
    from fgs_jax.testing.truth import TrueGrasp as TrueGrasp
    from fgs_jax.testing.truth import true_grasp as true_grasp
else:
    __getattr__, __dir__ = lazy_exports(__name__)
