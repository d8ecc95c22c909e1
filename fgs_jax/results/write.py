"""A result as files: meshes for other programs, numbers as JSON and npz, the report; all of them or none."""

import datetime
import json
import os
import platform
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from fgs_jax.config_files import config_values
from fgs_jax.errors import MeshError, ResultError
from fgs_jax.files import output_folder, write_whole
from fgs_jax.results.metrics.grasp import GRASP_METRICS
from fgs_jax.results.metrics.picture import PICTURE_METRICS
from fgs_jax.results.report import write_picture, write_report
from fgs_jax.results.result import WHEN, Result
from fgs_jax.results.values import finite, versions
from fgs_jax.types import Grasp

FORMAT, VERSION = "fgs-result", 1
GRASP_FILES = frozenset(
    {f"{name}.{kind}" for name in ("hand", "object", "hand_before") for kind in ("obj", "ply")}
    | {"grasp.glb", "hand.json", "metrics.json"}
)
"""What a folder of `write_grasp` may hold."""
Mesh = tuple[ndarray, ndarray]
"""Vertices, metres, and faces."""
RUN = "run"
"""The key of what may differ between two runs of the same scene: times, date, host."""


def check_folder(folder: Path, *, overwrite: bool, names: Collection[str] | None = None) -> Path:
    """The absolute path of the folder. Raises ResultError where a result must not or cannot be written.

    `names`: of the files that a folder to be replaced may hold; those of a refined scene by default.
    """
    names = _files() if names is None else names
    folder = output_folder(folder, ResultError)
    if folder.exists() and not overwrite:
        raise ResultError(f"{folder}: is there already; give another --out, or --overwrite to replace it")
    if folder.exists() and not (folder.is_dir() and all(_is_ours(path, names) for path in _listed(folder))):
        raise ResultError(f"{folder}: holds other files than a result's and is not replaced; give another --out")
    return folder


def check_apart(folder: Path, scene: Path) -> None:
    """Raises ResultError where a result's folder lies in that of a scene."""
    try:
        within = scene.is_dir() and scene.resolve() in folder.parents
    except (OSError, RuntimeError, ValueError):  # no scene
        return
    if within:
        raise ResultError(f"{folder}: lies in the folder of the scene {scene}; give another --out")


def scene_name(scene: Path) -> str:
    """Of a scene's folder, links followed."""
    try:
        return scene.resolve().name
    except (OSError, RuntimeError, ValueError):  # no scene
        return scene.name


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise ResultError(f"{folder}: cannot be read ({error.strerror}); give another --out") from error


def _is_ours(path: Path, names: Collection[str]) -> bool:
    return path.name in names and (path.is_symlink() or not path.is_dir())


def write_result(
    result: Result, folder: Path, *, overwrite: bool = False, source: str = "", fingerprint: str = ""
) -> None:
    """Writes a result to a folder of its own: meshes, result.json, result.npz, report.html.

    `source`, `fingerprint`: where its scene came from and of what the result follows from, for the record. Raises
    ResultError where it cannot be written; nothing is left half-written, and a result that is replaced stays until the
    new one is whole.
    """
    values = summary(result, source) | {"fingerprint": fingerprint}
    write_folder(folder, lambda temporary: _write_files(result, temporary, values), _files(), overwrite=overwrite)


def finished_as(folder: Path) -> str:
    """The fingerprint of the result in a folder; "" where there is no whole result."""
    try:
        return json.loads((folder / "result.json").read_text(encoding="utf-8")).get("fingerprint", "")
    except (OSError, ValueError, AttributeError):
        return ""


def write_folder(
    folder: Path, write_files: Callable[[Path], None], names: Collection[str], *, overwrite: bool = False
) -> None:
    """A folder with all the files that `write_files` writes to the one it is given, or none; `names`: of the files.

    Raises ResultError where it cannot be written; a folder that is replaced stays until the new one is whole.
    """
    folder = check_folder(folder, overwrite=overwrite, names=names)
    try:
        write_whole(folder, write_files)
    except OSError as error:
        raise ResultError(
            f"{folder}: cannot be written ({error.strerror}); free some space or give another --out"
        ) from error


def summary(result: Result, source: str = "") -> dict[str, Any]:
    """What result.json holds, as values that JSON knows: a number that is not finite is None."""
    scene, best = result.scene, result.candidates[0]
    rest = result.candidates[1:]
    values = {
        "format": FORMAT,
        "version": VERSION,
        "scene": {"source": source, "side": scene.side, "object": scene.object.name, "prompt": scene.prompt}
        | {name: _plain(x) for name in ("object_up", "gravity") if (x := getattr(scene, name)) is not None},
        "units": "metres, radians, pixels; metrics as their names say",
        "camera": {
            "focal": _plain(result.camera.focal),
            "principal": _plain(result.camera.principal),
            "convention": "OpenCV; pixel (0, 0) is the top-left corner",
        },
        "hand_model": result.config.hand_model,
        "before": _grasp(result.before),
        "after": _grasp(result.after),
        "metrics": dict(zip(WHEN, result.metrics, strict=True)),
        "scale": result.scale | {"object_size": scene.object.size, "found": float(result.after.scale)},
        "chosen": {
            "pose": best.pose,
            "valley": best.valley,
            "ahead_of_the_next_by": rest[0].score - best.score if rest else None,
            "ambiguous": result.ambiguous,
            "rivals": list(result.rivals),
        },
        "candidates": [
            {name: value for name, value in candidate._asdict().items() if name not in ("grasp", "hand_vertices")}
            | {"grasp": _grasp(candidate.grasp)}
            for candidate in result.candidates
        ],
        "terms": {name: _plain(values[-1]) for name, values in result.terms.items()},
        "notes": list(result.notes),
        "seed": result.config.seed,
        "config": config_values(result.config),
        "versions": versions(),
        RUN: {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "host": platform.node(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "seconds": result.seconds,
        },
    }
    return finite(values)


def comparison(result: Result) -> str:
    """Measures before and after, a line each."""
    return compared(*result.metrics, GRASP_METRICS | PICTURE_METRICS)


def compared(before: Mapping[str, Any], after: Mapping[str, Any], meanings: Mapping[str, str]) -> str:
    """Those measures that have a meaning, before and after, a line each."""
    lines = [f"{'':<32}{'before':>9}{'after':>9}"]
    for key, meaning in meanings.items():
        values = (("-" if (value := part.get(key)) is None else f"{value:.3f}") for part in (before, after))
        lines.append(f"{key:<32}{next(values):>9}{next(values):>9}  {meaning}")
    return "\n".join(lines)


def meshes(result: Result) -> dict[str, Mesh]:
    """Vertices (metres, camera frame) and faces of the hand and the object, refined and as they were."""
    return {
        "hand": (result.hand_vertices[1], result.hand_faces),
        "object": (result.object_vertices(1), result.scene.object.faces),
        "hand_before": (result.hand_vertices[0], result.hand_faces),
        "object_before": (result.object_vertices(0), result.scene.object.faces),
    }


def _files() -> set[str]:
    names = ("hand", "object", "hand_before", "object_before")
    return {f"{name}.{kind}" for name in names for kind in ("obj", "ply")} | {
        *("grasp.glb", "result.json", "result.npz", "report.html", "picture.jpg"),
    }


def write_grasp(
    folder: Path,
    hand: Mesh,
    object: Mesh,
    *,
    hand_before: Mesh | None = None,
    texts: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> None:
    """Writes a hand of any kind and an object to a folder of its own: hand and object as obj and ply, and grasp.glb.

    For grasps that did not come of `refine`. Vertices in metres, in one frame. `hand_before`: the hand as it was.
    `texts`: of further files of `GRASP_FILES`, by their names. Raises ResultError as
    `write_result`, MeshError for what is no mesh.
    """
    given = {"hand": hand, "object": object} | ({} if hand_before is None else {"hand_before": hand_before})

    for name, mesh in given.items():
        if not isinstance(mesh, tuple | list) or len(mesh) != 2:
            raise MeshError(
                f"write_grasp: {name}: expected (vertices, faces), got {type(mesh).__name__}: give those of a mesh"
            )

    def write_files(temporary: Path) -> None:
        _write_meshes(temporary, given)
        for name, text in (texts or {}).items():
            (temporary / name).write_text(text, encoding="utf-8")

    write_folder(folder, write_files, GRASP_FILES, overwrite=overwrite)


def _write_files(result: Result, folder: Path, values: dict[str, Any]) -> None:
    _write_meshes(folder, meshes(result))
    text = json.dumps(values, indent=2, allow_nan=False)
    (folder / "result.json").write_text(text + "\n", encoding="utf-8")
    np.savez_compressed(folder / "result.npz", allow_pickle=False, **result_arrays(result))
    write_report(result, folder / "report.html")
    write_picture(result, folder / "picture.jpg")


def _write_meshes(folder: Path, given: Mapping[str, Mesh]) -> None:
    """Each as obj and ply; those named hand and object together as grasp.glb."""
    import trimesh  # noqa: PLC0415

    colours = {"hand": (224, 172, 140, 255), "object": (96, 140, 208, 255)}
    together = trimesh.Scene()
    for name, (vertices, faces) in given.items():
        mesh = trimesh.Trimesh(vertices, faces, process=False)
        for kind in ("obj", "ply"):  # by way of memory: trimesh leaves a file open where the disk is full
            data: Any = mesh.export(file_type=kind)
            (folder / f"{name}.{kind}").write_bytes(data.encode() if isinstance(data, str) else data)
        if name in colours:
            mesh.visual.vertex_colors = np.tile(colours[name], (len(vertices), 1))  # pyright: ignore
            # glTF looks along -z with y up; the camera here along +z with y down.
            mesh.apply_transform(np.diag([1.0, -1.0, -1.0, 1.0]))
            together.add_geometry(mesh, node_name=name, geom_name=name)
    data = together.export(file_type="glb")
    (folder / "grasp.glb").write_bytes(data)


def result_arrays(result: Result) -> dict[str, ndarray]:
    """What result.npz holds, by names; metres, radians."""
    arrays: dict[str, ndarray] = {"history": result.history}
    for name, grasp in zip(WHEN, (result.before, result.after), strict=True):
        arrays |= {f"{name}_hand_{key}": np.asarray(value) for key, value in vars(grasp.hand).items()}
        arrays |= {
            f"{name}_object_{key}": np.asarray(getattr(grasp, key)) for key in ("rotation", "translation", "scale")
        }
    for when, name in enumerate(WHEN):
        arrays |= {f"{name}_vertices": result.hand_vertices[when], f"{name}_keypoints": result.hand_keypoints[when]}
    arrays |= {f"term_{name}": values for name, values in result.terms.items()}
    arrays |= {f"poses_{key}": getattr(result.poses, key) for key in ("rotation", "translation", "scale", "masked_iou")}
    arrays |= {f"poses_history_{k}": values for k, values in enumerate(result.poses.history)}
    return {name: np.asarray(value) for name, value in arrays.items()}


def _grasp(grasp: Grasp) -> dict[str, Any]:
    transform = np.eye(4)
    transform[:3, :3], transform[:3, 3] = np.asarray(grasp.rotation, float), np.asarray(grasp.translation, float)
    return {
        "hand": {key: _plain(value) for key, value in vars(grasp.hand).items()},
        "T_camera_object": transform.tolist(),
        "object_scale": float(grasp.scale),
    }


def _plain(value: Any) -> Any:
    return np.asarray(value, float).tolist()
