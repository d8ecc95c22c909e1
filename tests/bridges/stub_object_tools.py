"""Stub programs that keep the command lines of image-to-mesh tools: they make a box with a crumb beside it, or fail.

What they write is no reconstruction: the box is the same for every picture, and as long as the seed says.
"""

import sys
from pathlib import Path
from typing import Any

STUB = """
import argparse, os, pathlib, subprocess, sys, time

def write(path, seed):
    mode = pathlib.Path(__file__).with_name("mode.txt").read_text()
    if mode == "crash":
        raise RuntimeError("CUDA out of memory")
    if mode == "hang":
        child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"])
        pathlib.Path(__file__).with_name("pid").write_text(str(child.pid))
        print("sampling", flush=True)
        time.sleep(600)
    if mode == "nothing":
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    corners = [(x, y, z) for x in (0, 1 + seed) for y in (0, 1) for z in (0, 1)]
    corners += [(9, 9, 9), (9.1, 9, 9), (9, 9.1, 9), (9, 9, 9.1)]
    quads = [(1, 2, 4, 3), (5, 7, 8, 6), (1, 5, 6, 2), (3, 4, 8, 7), (1, 3, 7, 5), (2, 6, 8, 4)]
    faces = quads + [(9, 11, 10), (9, 10, 12), (9, 12, 11), (10, 11, 12)]
    if mode == "nan":
        corners[3] = ("nan", 0, 0)
    if mode == "no faces":
        faces = []
    lines = ["v " + " ".join(map(str, corner)) for corner in corners]
    lines += ["f " + " ".join(map(str, face)) for face in faces]
    path.write_text("rubbish\\n" * 3 if mode == "rubbish" else "\\n".join(lines))
"""

GENERIC = (
    STUB
    + """
image, output, seed = sys.argv[1:]
assert pathlib.Path(image).read_bytes().startswith(b"\\x89PNG")
write(pathlib.Path(output) / "mesh.obj", int(seed))
"""
)

MICHELANGELO = (
    STUB
    + """
parser = argparse.ArgumentParser()
for name in ("task", "config_path", "ckpt_path", "image_path", "output_dir"):
    parser.add_argument("--" + name, required=True)
parser.add_argument("--seed", type=int, default=0)
given = parser.parse_args()
assert os.path.isfile(given.config_path) and os.path.isfile(given.ckpt_path)
assert pathlib.Path(given.image_path).read_bytes().startswith(b"\\x89PNG")
for i in range(2):
    write(pathlib.Path(given.output_dir) / given.task / f"{i}_out_mesh.obj", given.seed + i)
"""
)

TRIPOSR = (
    STUB
    + """
parser = argparse.ArgumentParser()
parser.add_argument("image", nargs="+")
for name in ("device", "pretrained-model-name-or-path", "chunk-size", "mc-resolution", "output-dir"):
    parser.add_argument("--" + name)
parser.add_argument("--no-remove-bg", action="store_true")
parser.add_argument("--model-save-format", choices=["obj", "glb"])
given = parser.parse_args()
assert given.no_remove_bg and os.getcwd() == os.path.dirname(os.path.abspath(__file__))
write(pathlib.Path(given.output_dir) / "0" / "mesh.obj", 0)
"""
)


CHECKPOINT = "checkpoints/image_cond_diffuser_asl/image-ASLDM-256.ckpt"


def generic(folder: Path, mode: str = "good") -> dict[str, Any]:
    """Options of ObjectCommand for a stub."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tool.py").write_text(GENERIC)
    (folder / "mode.txt").write_text(mode)
    argv = ["{python}", "{checkout}/tool.py", "{image}", "{output}", "{seed}"]
    return {"argv": argv, "checkout": str(folder), "python": sys.executable}


def michelangelo(folder: Path, mode: str = "good") -> dict[str, Any]:
    """Options of Michelangelo for a stub of its checkout."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "inference.py").write_text(MICHELANGELO)
    (folder / "mode.txt").write_text(mode)
    for name in ("configs/image_cond_diffuser_asl/image-ASLDM-256.yaml", CHECKPOINT):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("synthetic")
    return {"checkout": str(folder), "python": sys.executable}


def triposr(folder: Path, mode: str = "good") -> dict[str, Any]:
    """Options of TripoSR for a stub of its checkout."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.py").write_text(TRIPOSR)
    (folder / "mode.txt").write_text(mode)
    return {"checkout": str(folder), "python": sys.executable}
