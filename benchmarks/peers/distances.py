"""Nearest points and signed distances by us, SciPy, Open3D, libigl and PyTorch: calls that give the same numbers."""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy import ndarray
from scipy.spatial import KDTree

from fgs_jax.objects.distance import DistanceGrid, signed_distance
from fgs_jax.objects.mesh import ObjectMesh
from fgs_jax.objects.neighbours import nearest

Call = Callable[[], ndarray]


def nearest_calls(queries: Float[ndarray, "n 3"], targets: Float[ndarray, "b m 3"]) -> dict[str, Call]:
    """From each query the index of the nearest of `m` targets, for `b` sets of targets: (b, n).

    The targets move from step to step, as a hand does: a structure that needs building is built in the call.
    """
    ours = jax.jit(jax.vmap(nearest, (None, 0)))
    on_device = jnp.asarray(queries), jnp.asarray(targets)

    def scipy() -> ndarray:
        return np.stack([KDTree(points).query(queries, workers=-1)[1] for points in targets])

    def open3d() -> ndarray:
        o3c: Any = import_module("open3d.core")  # its stubs do not know its own constructors
        asked, found = o3c.Tensor(queries), []
        for points in targets:
            search = o3c.nns.NearestNeighborSearch(o3c.Tensor(points))
            search.knn_index()
            found.append(search.knn_search(asked, 1)[0].numpy()[:, 0])
        return np.stack(found)

    def pytorch() -> ndarray:
        torch: Any = import_module("torch")
        asked = torch.tensor(queries)
        return np.stack([torch.cdist(asked, torch.tensor(points)).argmin(1).numpy() for points in targets])

    calls: dict[str, Call] = {"fgs_jax": lambda: np.asarray(ours(*on_device)), "SciPy KDTree": scipy}
    return calls | _installed({"Open3D": ("open3d", open3d), "PyTorch cdist": ("torch", pytorch)})


def signed_calls(mesh: ObjectMesh, grid: DistanceGrid, points: Float[ndarray, "p 3"]) -> dict[str, Call]:
    """Signed distance of each point to the mesh, metres, positive outside; ours from a grid, theirs exact."""
    values = jax.jit(signed_distance)
    hinge = jax.jit(jax.value_and_grad(_depth, argnums=1, has_aux=True))
    on_device = jnp.asarray(points, jnp.float32)

    def open3d() -> Call:
        o3d: Any = import_module("open3d")
        scene = o3d.t.geometry.RaycastingScene()
        corners, triangles = mesh.vertices.astype(np.float32), mesh.faces.astype(np.uint32)
        scene.add_triangles(o3d.core.Tensor(corners), o3d.core.Tensor(triangles))
        asked = o3d.core.Tensor(np.asarray(points, np.float32))
        return lambda: scene.compute_signed_distance(asked, nsamples=3).numpy()

    def libigl() -> ndarray:
        import igl  # noqa: PLC0415

        # Its signed_distance multiplies the distance by 1 - 2 w, and the winding number w is only nearly whole.
        squared = np.asarray(igl.point_mesh_squared_distance(points, mesh.vertices, mesh.faces)[0])
        inside = np.asarray(igl.fast_winding_number(mesh.vertices, mesh.faces, points)) > 0.5
        return np.where(inside, -1, 1) * np.sqrt(squared)

    calls: dict[str, Call] = {
        "fgs_jax grid": lambda: np.asarray(values(grid, on_device)),
        "fgs_jax grid, with the gradient of a hinge": lambda: np.asarray(
            jax.block_until_ready(hinge(grid, on_device))[0][1]
        ),
        "libigl": libigl,
    }
    return calls | ({"Open3D": open3d()} if find_spec("open3d") else {})


def _depth(grid: DistanceGrid, points: Float[Array, "p 3"]) -> tuple[Float[Array, ""], Float[Array, "p"]]:
    distance = signed_distance(grid, points)
    return jnp.sum(jax.nn.relu(-distance)), distance


def _installed(calls: dict[str, tuple[str, Call]]) -> dict[str, Call]:
    return {name: call for name, (package, call) in calls.items() if find_spec(package)}


def nearest_error(calls: dict[str, Call], queries: Float[ndarray, "n 3"], targets: Float[ndarray, "b m 3"]) -> float:
    """Greatest relative difference between the distances to the points that we and any other chose."""
    sets = np.arange(len(targets))[:, None]
    chosen = {name: np.linalg.norm(queries - targets[sets, call()], axis=2) for name, call in calls.items()}
    exact = np.minimum.reduce(list(chosen.values()))
    return max(float(np.max(distance / exact - 1, initial=0.0, where=exact > 1e-6)) for distance in chosen.values())


def signed_errors(calls: dict[str, Call]) -> tuple[float, ndarray]:
    """Metres: the greatest difference between the exact ones, and the differences of ours from libigl's."""
    found = {name: call() for name, call in calls.items()}
    exact = found["libigl"]
    others = [np.abs(found[name] - exact).max() for name in found if not name.startswith("fgs_jax")]
    return float(max(others)), np.abs(found["fgs_jax grid"] - exact)
