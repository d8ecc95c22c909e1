"""The scenes of the benchmark of truth, and the hands and objects before refinement, in files, so that neither moves.

What is made once is kept: a truth as a row of numbers, from which all else follows, and what stood before refinement as
another. Those that are committed come first, then those of runs before, in out/truth.
"""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from fgs_jax.config import FAST
from fgs_jax.hands.mano import hand
from fgs_jax.results.metrics import Placed
from fgs_jax.stages.hand_in_picture import see_hand
from fgs_jax.stages.refine import pose_object
from fgs_jax.stages.scale import size_object
from fgs_jax.testing import HELD, open_hand, true_grasp
from fgs_jax.testing.inputs import Disturbance, camera_of_view, disturbed_scene
from fgs_jax.testing.scenes import RenderedScene, from_afar, picture_grasp, render_scene
from fgs_jax.types import HandParams

COMMITTED = Path(__file__).parent / "truth_rows.npz"
KEPT = Path("out/truth")
SIZE = (320, 320)
"""Of the pictures, pixels."""
VIEWS, HAND_SIZES = (35.0, 85.0), (0.92, 1.08)
"""Degrees that a picture spans, and a hand's size over the mean one, least and greatest."""
posed = jax.jit(hand)


@dataclass(frozen=True)
class Case:
    """A kind of scene, and what is given of it."""

    disturbance: Disturbance
    hand: Literal["mean", "sized"] = "mean"
    """Of the mean hand's size, or of one drawn from `HAND_SIZES`."""
    afar: bool = False
    """Seen through HaMeR's focal length."""


NOISE = Disturbance(pixels=3.0)
CASES = {
    "exact keypoints": Case(Disturbance()),
    "3 px": Case(NOISE),
    "6 px": Case(Disturbance(pixels=6.0)),
    "hands of other sizes": Case(NOISE, hand="sized"),
    "into the flesh": Case(replace(NOISE, into_flesh=True)),
    "world landmarks, 5 mm": Case(replace(NOISE, landmarks=0.005)),
    "world landmarks, 10 mm": Case(replace(NOISE, landmarks=0.010)),
    "masks eroded": Case(replace(NOISE, masks="eroded")),
    "masks dilated": Case(replace(NOISE, masks="dilated")),
    "masks bitten": Case(replace(NOISE, masks="bitten")),
    "HaMeR's camera": Case(NOISE, afar=True),
    "degraded mesh": Case(replace(NOISE, mesh="degraded")),
    "size unknown": Case(replace(NOISE, size="unknown")),
}
"""With 3 px of noise unless said otherwise."""


def objects() -> list[str]:
    return list(HELD)


def truth_of(name: str, seed: int, case: Case) -> RenderedScene:
    """A true grasp in a picture. Raises ValueError where there is none."""
    random = np.random.default_rng([seed, objects().index(name)])
    size, view = random.uniform(*HAND_SIZES), random.uniform(*VIEWS)
    camera = camera_of_view(view, SIZE)
    vertices, faces = HELD[name]()

    def make() -> ndarray:
        grasp = true_grasp(name, seed, size if case.hand == "sized" else 1.0)
        scene = picture_grasp((name, vertices, faces), grasp.params, camera, SIZE, random)
        return row_of(scene.hand_params, scene.T_camera_object)

    params, T = of_row(kept(f"truth {name} {seed} {case.hand}", make))
    scene = render_scene((name, vertices, faces), camera, SIZE, params, T)
    return from_afar(scene) if case.afar else scene


def given_grasp(name: str, seed: int) -> HandParams:
    """A true grasp in the object's frame."""
    return of_row(kept(f"grasp {name} {seed}", lambda: row_of(true_grasp(name, seed).params, np.eye(4))))[0]


def before_of(key: str, rendered: RenderedScene, case: Case, seed: int) -> Placed:
    """The hand fitted to what was given, with the object at OPA's best pose, in the camera that both were found in."""

    def make() -> ndarray:
        (given, factor), random = disturbed_scene(rendered, case.disturbance, seed), jax.random.key(0)
        fitted = see_hand(given, replace(FAST, growth=0.0), random)
        state = pose_object(size_object(see_hand(given, FAST, random), FAST, random), FAST, random)
        best = state.poses.rotation[0], state.poses.translation[0]
        size = float(state.poses.scale[0]) * state.factor * factor
        return row_of(fitted.params, similarity(best[0], best[1], size))

    params, T = of_row(kept(f"before {key}", make))
    hand_ = posed(open_hand(), params)
    return Placed(np.asarray(hand_.vertices, float), np.asarray(hand_.keypoints, float), T)


def similarity(rotation: Any, translation: Any, scale: float) -> Float[ndarray, "4 4"]:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = scale * np.asarray(rotation, float), np.asarray(translation, float)
    return T


def row_of(params: HandParams, T: Float[ndarray, "4 4"]) -> Float[ndarray, "74"]:
    """A hand, axis-angle, and T_camera_object, as numbers."""
    parts = params.betas, params.pose, params.rotation, params.translation, params.scale, T[:3]
    return np.concatenate([np.ravel(part) for part in parts]).astype(np.float32)


def of_row(row: Float[ndarray, "74"]) -> tuple[HandParams, Float[ndarray, "4 4"]]:
    """`row_of`, undone."""
    betas, pose, rotation, translation, scale, T = np.split(row, np.cumsum([10, 45, 3, 3, 1]))
    params = HandParams(*map(jnp.asarray, (betas, pose.reshape(15, 3), rotation, translation, scale[0])))
    return params, np.vstack([T.reshape(3, 4).astype(float), [0, 0, 0, 1]])


@cache
def committed() -> dict[str, ndarray]:
    if not COMMITTED.exists():
        return {}
    with np.load(COMMITTED) as file:
        return dict(zip(file["names"].tolist(), file["rows"], strict=True))


def kept(name: str, make: Any) -> ndarray:
    """A row by its name: the committed one, that of a run before, or a new one."""
    if name in committed():
        return committed()[name]
    path = KEPT / "rows" / f"{name.replace('/', '-')}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        row = make()
        with path.with_suffix(".part").open("wb") as file:
            np.save(file, row)
        path.with_suffix(".part").rename(path)
    return np.load(path)


def commit_rows() -> int:
    """Puts all rows there are into the file that is committed; how many it has then."""
    rows = committed() | {path.stem: np.load(path) for path in sorted((KEPT / "rows").glob("*.npy"))}
    np.savez_compressed(COMMITTED, names=np.array(sorted(rows)), rows=np.stack([rows[name] for name in sorted(rows)]))
    return len(rows)
