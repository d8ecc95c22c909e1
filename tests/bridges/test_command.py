"""The command bridge against real programs: good, crashing, hanging, silent, stale."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fgs_bridges.command import fill, run_command
from fgs_bridges.process import ended_as
from fgs_jax.errors import BridgeError, ConfigError


def run(tmp_path, program, *arguments, outputs=("*.obj",), values=None, timeout=20.0, env=None, **options):
    """A Python program as a tool, in a folder of its own."""
    tool = tmp_path / "tool.py"
    tool.write_text(program)
    cwd = tmp_path / "cwd"
    cwd.mkdir(exist_ok=True)
    return run_command(
        [sys.executable, "-I", "-S", str(tool), *arguments],
        values or {},
        cwd=cwd,
        env=env,
        timeout=timeout,
        outputs=list(outputs),
        log=tmp_path / "tool.log",
        **options,
    )


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and that nobody has asked for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def waited(condition, seconds=120.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(condition())


def test_the_files_that_a_program_writes(tmp_path):
    program = """
import os, pathlib, sys
print(os.getcwd()); print(sys.argv[1:], file=sys.stderr)
for name in ("1.obj", "0.obj", "picture.png"): pathlib.Path(name).write_text(name)
"""
    found = run(tmp_path, program, "{image}", "--literal={{x}}", values={"image": "a b"}, outputs=["*.obj", "p*.png"])
    assert [path.name for path in found] == ["0.obj", "1.obj", "picture.png"]
    assert found[0].read_text() == "0.obj"
    log = (tmp_path / "tool.log").read_text()
    assert str(tmp_path / "cwd") in log  # it ran there
    assert "['a b', '--literal={x}']" in log  # and what it said as an error is there too


def test_spaces_quotes_and_semicolons_are_only_characters(tmp_path):
    name = "a b; touch pwned $(touch pwned) 'q' [x]*.obj"
    program = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text('x')"
    found = run(tmp_path, program, "{name}", values={"name": name}, outputs=["{name}"])
    assert [path.name for path in found] == [name]
    assert [path.name for path in (tmp_path / "cwd").iterdir()] == [name]


def test_another_interpreter_does_not_get_our_paths(tmp_path, monkeypatch):
    for variable in ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME", "KEPT"):
        monkeypatch.setenv(variable, "/ours")
    program = """
import os, pathlib
names = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME", "KEPT", "MINE")
pathlib.Path("x.obj").write_text(repr([os.environ.get(name) for name in names]))
"""
    (file,) = run(tmp_path, program, env={"MINE": "{device}:0"}, values={"device": "cuda"})
    assert file.read_text() == "[None, None, None, '/ours', 'cuda:0']"


def test_outputs_of_a_folder_that_is_made(tmp_path):
    program = """
import pathlib, sys
out = pathlib.Path(sys.argv[1]) / "deep" / "er"; out.mkdir(parents=True); (out / "mesh.obj").write_text("x")
"""
    folder = tmp_path / "new" / "folder"
    found = run(tmp_path, program, "{out}", values={"out": str(folder)}, outputs=["**/*.obj"], folder=folder)
    assert found == [folder / "deep" / "er" / "mesh.obj"]


def test_the_log_is_not_an_output(tmp_path):
    with pytest.raises(BridgeError, match=r"write \*\.log in .*, got none"):
        run(tmp_path, "print('hello')", outputs=["*.log"], folder=tmp_path)


# --- failures: one line each, with the log's last line and its path


def one_line(tmp_path, error) -> str:
    message = str(error.value)
    assert "\n" not in message
    assert str(tmp_path / "tool.log") in message
    return message


def test_a_crash(tmp_path):
    with pytest.raises(BridgeError) as error:
        run(tmp_path, "print('loading'); raise RuntimeError('\\x1b[31mno GPU\\x1b[0m')")
    assert 'status 0, got status 1; last line: "RuntimeError: no GPU"' in one_line(tmp_path, error)


def test_a_crash_without_a_word(tmp_path):
    with pytest.raises(BridgeError) as error:
        run(tmp_path, "import sys; sys.exit(7)")
    assert "got status 7; last line: it printed nothing" in one_line(tmp_path, error)


def test_a_progress_bar_is_not_taken_for_one_long_line(tmp_path):
    with pytest.raises(BridgeError) as error:
        run(tmp_path, "import sys; print('x' * 100_000); print('1 %\\r99 %\\r100 %', end=''); sys.exit(1)")
    assert 'last line: "100 %"' in one_line(tmp_path, error)


def test_killed_by_the_system(tmp_path):
    with pytest.raises(BridgeError) as error:
        run(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert "got SIGKILL: out of memory?" in one_line(tmp_path, error)
    with pytest.raises(BridgeError) as error:
        run(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert "got SIGSEGV;" in one_line(tmp_path, error)


def test_nothing_written(tmp_path):
    with pytest.raises(BridgeError) as error:
        run(tmp_path, "print('done')")
    assert "expected it to write *.obj in" in one_line(tmp_path, error)
    assert 'got none; last line: "done"' in one_line(tmp_path, error)


def test_every_pattern_must_be_written(tmp_path):
    with pytest.raises(BridgeError, match=r"write \*\.png"):
        run(tmp_path, "open('x.obj', 'w')", outputs=["*.obj", "*.png"])


def test_only_stale_files(tmp_path):
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    (cwd / "mesh.obj").write_text("old")
    with pytest.raises(BridgeError) as error:
        run(tmp_path, "print('did nothing')")
    assert "only mesh.obj, which is older than this run" in one_line(tmp_path, error)


def test_a_stale_file_written_anew_counts_and_the_others_do_not(tmp_path):
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    for name in ("a.obj", "b.obj"):
        (cwd / name).write_text("old")
    found = run(tmp_path, "open('b.obj', 'w').write('new')")
    assert found == [cwd / "b.obj"]


GRANDCHILD = """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"])
pathlib.Path("pids.tmp").write_text(f"{os.getpid()} {child.pid}"); os.rename("pids.tmp", "pids")
print("started", flush=True)
"""


def pids_of(tmp_path) -> list[int]:
    return [int(pid) for pid in (tmp_path / "cwd" / "pids").read_text().split()]


def test_a_hanging_program_is_stopped_with_its_grandchildren(tmp_path):
    with pytest.raises(BridgeError) as error:
        run(tmp_path, GRANDCHILD + "time.sleep(600)", timeout=3.0)
    assert 'expected an end within 3 s, it was stopped: raise the time-out; last line: "started"' in one_line(
        tmp_path, error
    )
    assert waited(lambda: not any(is_alive(pid) for pid in pids_of(tmp_path)))


@pytest.mark.parametrize("end", ["sys.exit(1)", "sys.exit(0)"])
def test_no_grandchild_outlives_a_program(tmp_path, end):
    with pytest.raises(BridgeError):
        run(tmp_path, GRANDCHILD + end)
    assert waited(lambda: not any(is_alive(pid) for pid in pids_of(tmp_path)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_our_own_interruption_stops_the_program(tmp_path, number):
    (tmp_path / "tool.py").write_text(GRANDCHILD + "time.sleep(600)")
    (tmp_path / "cwd").mkdir()
    # A shell that starts the tests in the background has them ignore the keyboard's interrupt.
    ours = f"""
import signal
import sys
from pathlib import Path
from fgs_bridges.command import run_command
signal.signal(signal.SIGINT, signal.default_int_handler)
here = Path({str(tmp_path)!r})
argv = [sys.executable, "-I", "-S", str(here / "tool.py")]
run_command(argv, {{}}, cwd=here / "cwd", timeout=600, outputs=["*"], log=here / "log")
"""
    ours_process = subprocess.Popen(
        [sys.executable, "-c", ours], cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL
    )
    try:
        assert waited((tmp_path / "cwd" / "pids").exists)
        ours_process.send_signal(number)
        assert ours_process.wait(120) != 0
        assert waited(lambda: not any(is_alive(pid) for pid in pids_of(tmp_path)))
    finally:
        ours_process.kill()
        ours_process.wait()


def test_our_signal_handlers_are_as_before(tmp_path):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)
    run(tmp_path, "open('x.obj', 'w')")
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)) == before


@pytest.fixture
def not_posix(monkeypatch):
    """What Windows' Python lacks of the calls that end other people's programs."""
    for module, names in ((os, ("killpg", "setsid", "getpgid")), (signal, ("SIGKILL", "SIGHUP"))):
        for name in names:
            monkeypatch.delattr(module, name)


def test_without_process_groups_programs_run_fail_and_are_stopped(tmp_path, not_posix):
    assert run(tmp_path, "open('x.obj', 'w')") == [tmp_path / "cwd" / "x.obj"]
    with pytest.raises(BridgeError, match="got status 3;"):
        run(tmp_path, "raise SystemExit(3)")
    with pytest.raises(BridgeError) as error:
        run(tmp_path, "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)", timeout=3.0)
    assert "expected an end within 3 s, it was stopped" in one_line(tmp_path, error)
    assert not is_alive(int((tmp_path / "cwd" / "pid").read_text()))


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (3, "status 3"),
        (-9, "SIGKILL: out of memory?"),
        (137, "status 137: out of memory?"),
        (-11, "SIGSEGV"),
        (139, "status 139"),
        (3221225477, "status 3221225477"),  # Windows' access violation
        (-200, "status -200"),
    ],
)
def test_how_a_process_has_ended(status, words):
    assert ended_as(status) == words


def test_a_program_that_waits_for_the_keyboard_gets_an_end(tmp_path):
    with pytest.raises(BridgeError, match="EOFError"):
        run(tmp_path, "input('Overwrite? ')")


def test_no_such_program_and_no_such_folder(tmp_path):
    common = {"timeout": 5.0, "outputs": ["*"], "log": tmp_path / "log"}
    with pytest.raises(
        BridgeError, match=r"^no-such-program: cannot be started .No such file.*check the program's path"
    ):
        run_command(["no-such-program"], {}, cwd=tmp_path, **common)
    not_executable = tmp_path / "text"
    not_executable.write_text("hello")
    with pytest.raises(BridgeError, match=r"cannot be started .Permission denied"):
        run_command([str(not_executable)], {}, cwd=tmp_path, **common)
    with pytest.raises(BridgeError, match=r"expected the folder .*nowhere to run in, there is none"):
        run_command(["true"], {}, cwd=tmp_path / "nowhere", **common)


@pytest.mark.parametrize(
    ("argv", "outputs", "message"),
    [
        (["true", "{imgae}"], ["*"], r'"\{imgae\}": expected placeholders among \{image\}, \{out\}, got \{imgae\}'),
        (["true", "{}"], ["*"], r"got \{\}"),
        (["true", "{image.name}"], ["*"], r"got \{image.name\}"),
        (["true", "{image!r}"], ["*"], r"got \{image\}"),
        (["true", "{image"], ["*"], "lone brace"),
        (["true"], ["{stem}.obj"], r"got \{stem\}"),
        ([], ["*"], "expected a program"),
        (["true"], ["/etc/*"], "patterns within a folder"),
        (["true"], [""], "patterns within a folder"),
    ],
)
def test_a_template_that_means_nothing(tmp_path, argv, outputs, message):
    values = {"image": "a.png", "out": "out"}
    with pytest.raises(ConfigError, match=message) as error:
        run_command(argv, values, cwd=tmp_path, timeout=5, outputs=outputs, log=tmp_path / "log")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "log").exists()  # nothing ran


def test_fill():
    assert fill("--out={out}/{{x}}", {"out": "a b"}) == "--out=a b/{x}"
    with pytest.raises(ConfigError, match="among none"):
        fill("{x}", {})
