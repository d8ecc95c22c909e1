"""`fgs hand`: what a hand model file holds, and hand models as plain arrays."""

from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from tyro.conf import FlagCreatePairsOff, Positional

from fgs_jax.errors import HandFileError
from fgs_jax.hands import files as hand_files
from fgs_jax.hands.anatomy import FINGERS, REGION_NAMES

Source = Annotated[str | None, tyro.conf.arg(metavar="NAME|PATH")]
In = Annotated[str, tyro.conf.arg(metavar="IN")]
Out = Annotated[Path, tyro.conf.arg(metavar="OUT")]


def hand_info(source: Positional[Source] = None, hand_model: Source = None) -> None:
    """Describe a hand model.

    Args:
        source: open_hand, open_hand_full, mano, or the path of a hand model file.
        hand_model: The same, as an option.
    """
    if source and hand_model:
        raise HandFileError(f"expected one hand model, came {source} and {hand_model}; leave one out")
    name, path, _ = hand_files.locate_hand_file(source or hand_model)
    arrays = hand_files.read_hand_file(path)
    vertices, faces, cap = arrays["v_template"], arrays["f"], arrays["f_cap"]
    tip = vertices[arrays["tip_vertex_ids"][FINGERS.index("middle")]]
    length = np.linalg.norm(tip - arrays["J_regressor"][0] @ vertices)
    a, b, c = (vertices[np.concatenate([faces, cap])[:, k]] for k in range(3))
    volume = np.sum(a * np.cross(b, c)) / 6  # tetrahedra between the faces and the origin
    sizes = np.bincount(arrays["regions"] + 1, minlength=len(REGION_NAMES) + 1)[1:]
    table = {
        "name": name,
        "file": path,
        "side": arrays["side"],
        "vertices": len(vertices),
        "faces": f"{len(faces)}, and {len(cap)} that close the wrist",
        "shape directions": arrays["shapedirs"].shape[2],
        "pose components": len(arrays["hands_components"]),
        "length": f"{length * 1e3:.1f} mm, wrist to middle fingertip",
        "volume": f"{volume * 1e6:.1f} cm3, wrist closed",
        "regions": ", ".join(f"{region} {size}" for region, size in zip(REGION_NAMES, sizes, strict=True))
        + " vertices",
        "licence": arrays.get("license", "not stated in the file"),
    }
    for label, value in table.items():
        print(f"{label:<18}{value}")


def hand_convert(
    source: Positional[In],
    out: Positional[Out],
    overwrite: FlagCreatePairsOff[bool] = False,
    trust_pickle: FlagCreatePairsOff[bool] = False,
) -> None:
    """Write a hand model as plain arrays, which need no pickle to be read, with all that the file may lack.

    Args:
        source: A hand model file (.pkl or .npz), or the name of a hand model.
        out: The .npz file to write.
        overwrite: Replace OUT if it is there.
        trust_pickle: Run the pickle, which can do anything: only for a file that you trust.
    """
    _, path, _ = hand_files.locate_hand_file(source)
    arrays = hand_files.read_hand_file(path, trust_pickle=trust_pickle)
    hand_files.write_hand_file(out, arrays, overwrite=overwrite)
    print(f"wrote {out}")
