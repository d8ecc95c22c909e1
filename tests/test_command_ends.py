"""Streams whose other end is closed or full, and signals that end a command once."""

import errno
import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fgs_jax import cli
from fgs_jax.command_ends import Stopped, Stream, standard_streams, stoppable
from fgs_jax.errors import FgsError


class Broken(io.StringIO):
    """Raises an error when it is written."""

    def __init__(self, error: Exception):
        super().__init__()
        self.error, self.tried = error, 0

    def write(self, text: str) -> int:
        self.tried += 1
        raise self.error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), False),
        (OSError(errno.EINVAL, "Invalid argument"), False),  # of a closed pipe on Windows
        (OSError(errno.EIO, "Input/output error"), False),  # of a terminal that is gone
        (OSError(errno.EBADF, "Bad file descriptor"), False),
        (ValueError("I/O operation on closed file."), False),
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EFBIG, "File too large"), True),
    ],
)
def test_what_nobody_reads_is_dropped_and_a_full_disk_is_told(error, said):
    broken = Broken(error)
    stream = Stream(broken)
    for _ in range(3):
        print("a line", file=stream, flush=True)
    assert broken.tried == 1 and (stream.error is error) == said and (stream.error is None) != said


def test_an_error_of_ours_is_not_a_stream_s():
    with pytest.raises(KeyError):
        print("a line", file=Stream(Broken(KeyError())))


def test_a_name_that_no_terminal_can_write_is_written_otherwise():
    file = io.BytesIO()
    stream = Stream(io.TextIOWrapper(file, encoding="ascii"))
    print("5 \u00d7 \udcff", file=stream, flush=True)
    assert file.getvalue().split() == [b"5", b"\\xd7", b"\\udcff"]
    assert stream.encoding == "ascii" and not stream.isatty()


def test_streams_are_given_back(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)  # as where a program was started without one
    out = sys.stdout
    with standard_streams() as output:
        assert sys.stdout is output
        print("no one reads this", file=sys.stderr, flush=True)
    assert sys.stdout is out and sys.stderr is None


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_a_block_once_and_a_second_one_changes_nothing(name):
    number = getattr(signal, name)
    former = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    try:
        steps = []
        with pytest.raises(Stopped) as caught, stoppable():
            try:
                signal.raise_signal(number)
            finally:
                for each in (signal.SIGINT, signal.SIGTERM):
                    signal.raise_signal(each)
                steps.append("cleared up")
        assert steps == ["cleared up"] and caught.value.status == 128 + number
    finally:
        for each, handler in zip((signal.SIGINT, signal.SIGTERM), former, strict=True):
            signal.signal(each, handler)


def test_without_a_signal_nothing_is_changed():
    former = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with stoppable():
        assert signal.getsignal(signal.SIGTERM) not in former
    with pytest.raises(FgsError), stoppable():
        raise FgsError
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == former
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as under nohup, or in the background
    try:
        with stoppable():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, former[0])
    seen = []
    thread = threading.Thread(target=lambda: seen.append(stoppable().__enter__()))  # signals are the main thread's
    thread.start()
    thread.join()
    assert seen == [None]


@pytest.mark.parametrize(
    ("command", "way"),
    [("refine", "; go on with --resume"), ("ablate", ""), ("text-to-grasp", "; go on with the same command")],
)
def test_a_command_that_is_stopped_is_one_line(monkeypatch, capsys, command, way):
    def stopped(words: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_command", stopped)
    assert cli.main([command]) == 130
    assert capsys.readouterr() == ("", f"fgs: stopped{way}\n")


RUN = """
import os, signal, sys
from fgs_jax.command_ends import run_command
def command():
    words = sys.argv[1:]
    if words[0] == "pipe":
        os.read(0, 1)  # until nobody reads
        for k in range(30000):
            print("line", k)
        print("done", file=sys.stderr)
    if words[0] == "stop":
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
    print("end")
    return 0
sys.exit(run_command(command, own=True))
"""


def started(*words: str, **pipes) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", RUN, *words], stderr=subprocess.PIPE, text=True, **pipes)


def test_a_reader_that_has_gone_neither_ends_the_work_nor_is_said():
    process = started("pipe", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdin is not None and process.stderr is not None
    process.stdout.close()
    process.stdin.write("x")
    process.stdin.close()
    assert (process.wait(), process.stderr.read()) == (0, "done\n")
    process.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_and_a_stop_are_one_line_each():
    with Path("/dev/full").open("w") as full:
        process = started("end", stdout=full)
        error = process.communicate()[1]
    assert error == "fgs: standard output: cannot be written (No space left on device); free space\n"
    assert process.returncode == 2
    process = started("stop", stdout=subprocess.DEVNULL)
    assert process.communicate()[1] == "fgs: stopped\n" and process.returncode == 130


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
def test_a_command_without_any_streams_does_its_work(tmp_path):
    command = f'{sys.executable} -c "$RUN" pipe <&- >&- 2>&-; echo $? > {tmp_path / "status"}'
    subprocess.run(["sh", "-c", command], env=os.environ | {"RUN": RUN.replace("os.read(0, 1)", "pass")}, check=True)
    assert (tmp_path / "status").read_text() == "0\n"
