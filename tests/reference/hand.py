"""MANO's function as its paper writes it, vertex by vertex and joint by joint."""

import numpy as np
from scipy.spatial.transform import Rotation

from fgs_jax.hands.anatomy import PARENTS


def hand(model, betas, pose, rotation, translation, *, scale=1.0, center_wrist=False):
    """Vertices and joints; `model` has MANO's arrays, `pose` (15, 3) and `rotation` (3,) are axis-angle."""
    v_template, shapedirs, posedirs, weights, joint_regressor = (
        np.asarray(model[key], float) for key in ("v_template", "shapedirs", "posedirs", "weights", "J_regressor")
    )
    shaped = v_template + shapedirs[:, :, : len(betas)] @ np.asarray(betas, float)
    joints = joint_regressor @ shaped
    local = [Rotation.from_rotvec(r).as_matrix() for r in np.vstack([rotation, pose])]
    features = np.concatenate([(r - np.eye(3)).ravel() for r in local[1:]])
    rest = shaped + posedirs @ features

    transforms = []
    for joint, parent in enumerate(PARENTS):
        transform = np.eye(4)
        transform[:3, :3] = local[joint]
        if parent < 0:
            transform[:3, 3] = joints[joint]
        else:
            transform[:3, 3] = joints[joint] - joints[parent]
            transform = transforms[parent] @ transform
        transforms.append(transform)

    vertices = np.zeros_like(rest)
    for vertex, row in enumerate(weights):
        blended = sum(
            w * (t[:3, :3] @ (rest[vertex] - j) + t[:3, 3]) for w, t, j in zip(row, transforms, joints, strict=True)
        )
        vertices[vertex] = blended
    posed = np.array([t[:3, 3] for t in transforms])
    origin = np.asarray(translation, float) + (0.0 if center_wrist else joints[0])
    return scale * (vertices - joints[0]) + origin, scale * (posed - joints[0]) + origin
