"""Hands from any tool, by a command."""

import json
import os
import shlex
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image as Pictures

from fgs_bridges.command import run_command
from fgs_bridges.hands import HandFile
from fgs_bridges.pretrained import check_picture, options_of
from fgs_bridges.types import Detection, HandEstimate, Image, Provenance
from fgs_jax.errors import BridgeError, ConfigError
from fgs_jax.files import expanded


@dataclass
class HandCommand:
    """Any tool that writes a hand as `HandFile` reads it, run by a command.

    In `argv`, {image} is the picture (PNG), {folder} the folder that holds it alone, {boxes} a JSON list of boxes with
    their sides, {out} the folder to write to.
    """

    argv: list[str] | str = ""
    outputs: list[str] = field(default_factory=lambda: ["*.npz", "*.json"])
    """Glob patterns of the files that it writes, within {out}."""
    cwd: str = "."
    env: dict[str, str] = field(default_factory=dict)
    timeout: float = 600.0
    """Seconds."""
    side: str = ""
    pose_zero: str = ""
    frame: str = "opencv"
    focal: float | str | None = None
    hand_model: str = "mano"
    pose: str = ""
    """These six as in `HandFile`."""
    licence: str = ""

    _notes: tuple[str, ...] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        if not self.argv:
            raise ConfigError("hand command: expected the option argv, the program and its arguments, got none")
        self._reader("")

    def __call__(self, image: Image, hands: tuple[Detection, ...] = ()) -> list[HandEstimate]:
        """All hands that the tool writes. BridgeError where it fails, and for a number of hands other than of boxes."""
        check_picture(image, "hand command")
        argv = shlex.split(self.argv) if isinstance(self.argv, str) else self.argv
        with tempfile.TemporaryDirectory(prefix="fgs_hand_") as name:
            folder = Path(name)
            (folder / "picture").mkdir()
            (folder / "out").mkdir()
            Pictures.fromarray(image).save(folder / "picture" / "image.png")
            boxes = [{"box": np.asarray(hand.box).tolist(), "side": hand.side, "score": hand.score} for hand in hands]
            (folder / "boxes.json").write_text(json.dumps(boxes), encoding="utf-8")
            values = {
                "image": str(folder / "picture" / "image.png"),
                "folder": str(folder / "picture"),
                "boxes": str(folder / "boxes.json"),
                "out": str(folder / "out"),
            }
            log = Path(tempfile.gettempdir()) / f"fgs_hand_command.{os.getpid()}.log"
            written = run_command(
                argv,
                values,
                cwd=expanded(self.cwd),
                env=self.env,
                timeout=self.timeout,
                outputs=self.outputs,
                log=log,
                folder=folder / "out",
            )
            reader = self._reader("")
            estimates = [
                estimate
                for path in written
                for estimate in reader.read(path, width=image.shape[1], height=image.shape[0])
            ]
            self._notes = reader.provenance().notes
            log.unlink()
        if hands and len(hands) != len(estimates):
            raise BridgeError(
                f"{argv[0]}: expected {len(hands)} hands, one per box, got {len(estimates)}: have it read {{boxes}}"
            )
        return estimates

    def provenance(self) -> Provenance:
        argv = self.argv if isinstance(self.argv, str) else shlex.join(self.argv)
        return Provenance("command", model=argv, options=options_of(self), licence=self.licence, notes=self._notes)

    def _reader(self, path: str) -> HandFile:
        return HandFile(path, self.side, self.pose_zero, self.frame, self.focal, self.hand_model, self.pose)
