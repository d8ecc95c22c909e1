"""`fgs hand` describes and converts hand model files, and says what is wrong in one line."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fgs_jax.cli import main
from fgs_jax.hands.files import hand_model, load_hand_model, read_hand_file
from fgs_jax.testing import write_mano_npz as write_npz
from fgs_jax.testing import write_mano_pickle as write_pickle
from tests.hands.mano_arrays import KEYS, Arrays, assert_same_model, signed_volume, with_wrong_x


def test_info_describes_the_hand(right: Arrays, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pickle(tmp_path / "MANO_RIGHT.pkl", right)
    assert main(["hand", "info", str(tmp_path / "MANO_RIGHT.pkl")]) == 0
    table = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if " " in line)
    arrays = read_hand_file(tmp_path / "MANO_RIGHT.pkl")
    length = np.linalg.norm(arrays["v_template"][arrays["tip_vertex_ids"][2]] - right["J"][0])
    model = hand_model(arrays, "hand")
    assert table["name"] == "MANO_RIGHT"
    assert table["side"] == "right"
    assert table["vertices"] == "778"
    assert table["faces"] == "1538, and 14 that close the wrist"
    assert table["shape"] == "directions  10"
    assert table["pose"] == "components   45"
    assert table["length"] == f"{length * 1e3:.1f} mm, wrist to middle fingertip"
    assert float(table["volume"].split()[0]) == pytest.approx(float(signed_volume(model)) * 1e6, abs=0.1)
    assert table["regions"].startswith(f"thumb {np.sum(arrays['regions'] == 0)}, index")
    assert table["regions"].endswith(f"palm {np.sum(arrays['regions'] == 5)} vertices")
    assert table["licence"] == "not stated in the file"


def test_info_takes_names_and_left_hands(left: Arrays, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hand", "info"]) == 0
    default = capsys.readouterr().out
    assert "licence           CC0-1.0\n" in default
    assert main(["hand", "info", "--hand-model", "open_hand"]) == 0
    assert capsys.readouterr().out == default
    write_npz(tmp_path / "left.npz", with_wrong_x(left))
    assert main(["hand", "info", str(tmp_path / "left.npz")]) == 0
    printed = capsys.readouterr()
    assert "side              left\n" in printed.out
    assert re.fullmatch(r"fgs: .*left\.npz: turned the sign of x in shapedirs, .*\n", printed.err)


def test_convert_writes_plain_arrays(right: Arrays, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "MANO_RIGHT.pkl", tmp_path / "hand.npz"
    write_pickle(source, right)
    assert main(["hand", "convert", str(source), str(out)]) == 0
    assert capsys.readouterr().out == f"wrote {out}\n"
    with np.load(out, allow_pickle=False) as file:
        for key in KEYS:
            np.testing.assert_array_equal(file[key], right[key], err_msg=key)
    assert_same_model(load_hand_model(out), replace(load_hand_model(source), name="hand"))
    assert main(["hand", "convert", str(source), str(out)]) == 2
    assert capsys.readouterr().err.startswith(f"fgs: {out}: the file is there already")
    assert main(["hand", "convert", str(out), str(out), "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["info", "gone.pkl"], "fgs: gone.pkl: expected a hand model file, there is none; check the path"),
        (["info", "a", "--hand-model", "b"], "fgs: expected one hand model, came a and b; leave one out"),
        (
            ["convert", "gone.pkl", "out.npz"],
            "fgs: gone.pkl: expected a hand model file, there is none; check the path",
        ),
    ],
)
def test_an_error_is_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["hand", *words]) == 2
    assert capsys.readouterr() == ("", message + "\n")


@pytest.mark.parametrize("words", [[], ["hand"], ["foot"], ["hand", "convert", "a"], ["hand", "info", "--no-such"]])
def test_unknown_words_end_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_help_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hand", "--help"]) == 0
    out = capsys.readouterr().out
    assert "info" in out
    assert "convert" in out
