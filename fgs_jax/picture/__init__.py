"""Pictures: the camera, what is known about one picture, and pictures that are drawn."""

from typing import TYPE_CHECKING

from fgs_jax.exports import lazy_exports

if TYPE_CHECKING:
    from fgs_jax.picture.camera import Z_NEAR as Z_NEAR
    from fgs_jax.picture.camera import inverse_depth as inverse_depth
    from fgs_jax.picture.camera import project as project
    from fgs_jax.picture.camera import silhouette as silhouette
    from fgs_jax.picture.images import read_mask as read_mask
    from fgs_jax.picture.images import read_picture as read_picture
    from fgs_jax.picture.render import depth_map as depth_map
    from fgs_jax.picture.scene import Scene as Scene
    from fgs_jax.picture.scene import camera_from_matrix as camera_from_matrix
    from fgs_jax.picture.scene_checks import check_scene as check_scene
    from fgs_jax.picture.scene_files import load_scene as load_scene
    from fgs_jax.picture.scene_files import save_scene as save_scene
else:
    __getattr__, __dir__ = lazy_exports(__name__)
