"""What ends a command in the terminals, pipes and machines of others: one line and a status, whatever the command."""

import errno
import io
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from code_jax.cli import frame
from code_jax.cli.main import main
from code_jax.cli.runtime import INTERRUPTED, keep_compiled
from code_jax.durable import write_durably
from code_jax.errors import UserError
from code_jax.interruption import SIGNALS


def run(words, before="", after="", **environment):
    """A command in a shell of its own: (status, what it said on stderr)."""
    script = f'{before}"$@" {after}'
    command = ["bash", "-c", script, "bash", sys.executable, "-m", "code_jax", *words]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, timeout=120)
    return done.returncode, done.stderr.decode(), done.stdout.decode(errors="replace")


@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_reader_that_goes_away_changes_no_status(buffered):
    status, said, shown = run(["priors"], after="| head -1; exit ${PIPESTATUS[0]}", PYTHONUNBUFFERED=buffered)
    assert (status, said, shown.count("\n")) == (0, "", 1)
    assert run(["--help"], after="| true; exit ${PIPESTATUS[0]}", PYTHONUNBUFFERED=buffered)[:2] == (0, "")


def test_a_full_disk_is_told_with_the_name_of_what_did_not_fit(tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    monkeypatch.setattr("os.pwrite", full)
    assert main(["corrupt", str(tmp_path / "a.png"), "--out", str(tmp_path / "out"), "--corruption", "contrast"]) == 2
    assert capsys.readouterr().err.endswith(
        f"{str(tmp_path / 'out' / '.manifest.jsonl.lock')!r}: No space left on device; make room, or choose another folder\n"
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device")
def test_a_full_disk_under_stdout_is_one_line_and_under_stderr_none():
    status, said, _ = run(["priors"], after="> /dev/full")
    assert status == 2 and said.startswith("code-jax: error: No space left") and said.count("\n") == 1
    assert run(["restor"], after="2> /dev/full")[:2] == (2, "")


def test_closed_streams_are_nobodys_files(tmp_path):
    """A file that took the number of a closed stream would get what is written to it."""
    Image.new("RGB", (32, 32), "red").save(tmp_path / "a.png")
    words = ["corrupt", str(tmp_path / "a.png"), "--out", str(tmp_path / "out"), "--corruption", "contrast"]
    assert run(words, after="<&- >&- 2>&-")[0] == 0
    assert (tmp_path / "out" / "manifest.jsonl").read_text().count("\n") == 1
    assert np.asarray(Image.open(tmp_path / "out" / "a.png")).shape == (32, 32, 3)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_what_a_terminal_cannot_show_is_escaped(encoding, tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "日本.png")
    name = os.fsdecode(b"caf\xe9\x1b[2J.png")
    (tmp_path / name).write_bytes(b"no picture")
    out = tmp_path / "出力"
    words = ["corrupt", str(tmp_path), "--out", str(out), "--corruption", "contrast"]
    status, said, shown = run(words, PYTHONIOENCODING=encoding)
    assert status == 1 and "\\u51fa" in shown and r"caf\udce9\x1b[2J.png" in said and "\x1b" not in said + shown
    status, said, shown = run(["info", str(out)], PYTHONIOENCODING=encoding)
    assert (status, said) == (0, "") and "contrast" in shown


def test_nothing_that_is_printed_is_obeyed_by_a_terminal():
    kept = io.BytesIO()
    stream = frame._Stdout(kept, "utf-8", "backslashreplace")
    print("\r50 %\ta\x1b[2J\x07\u202eb\udcff é日", file=stream, flush=True)
    assert kept.getvalue().decode() == "\r50 %\ta\\x1b[2J\\x07\\u202eb\\udcff é日\n"


@pytest.mark.parametrize("named", ["cuda", "tpu,cpu", "nonsense"])
def test_a_device_that_is_not_there_is_named(named, tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    status, said, _ = run(["restore", str(tmp_path / "a.png"), "--out", str(tmp_path / "out")], JAX_PLATFORMS=named)
    assert status == 2 and f"JAX_PLATFORMS is '{named}'" in said.splitlines()[-1] and "Traceback" not in said


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            PermissionError(13, "Permission denied", "a\nb"),
            r"'a\nb': Permission denied; change its permissions, or choose another",
        ),
        (OSError("no errno"), "no errno"),
        (MemoryError("Unable to allocate 7 TiB"), "out of memory (Unable to allocate 7 TiB); ask for less at a time"),
        (UserError("two\nlines"), r"two\nlines"),
    ],
)
def test_each_kind_of_end_is_one_line(error, line, capsys):
    def fail():
        raise error

    assert frame.framed(fail) == 2
    shown = capsys.readouterr().err
    assert line in shown and shown.startswith("code-jax: error: ") and shown.count("\n") == 1


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_a_line_and_its_number_and_nothing_half_made_stays(number, heard, tiny_folder, tmp_path, capsys, monkeypatch):
    def write(contents, folder):
        (folder / "half").write_text("")
        signal.raise_signal(number)

    monkeypatch.setattr("checkpoints_convert.checkpoint.write_checkpoint", write)
    before = [signal.getsignal(each) for each in SIGNALS]
    assert main(["convert", tiny_folder, str(tmp_path / "out")]) == 128 + number
    assert capsys.readouterr().err == f"{INTERRUPTED}\n" and not list((tmp_path / "out").iterdir())
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_a_hang_up_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert frame.framed(lambda: signal.raise_signal(signal.SIGHUP) or 0) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_without_a_home_nothing_is_kept_and_the_remedy_is_named(capsys, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as for a user whom the system does not list
    assert main(["priors"]) == 2
    keep_compiled()
    error, warning = capsys.readouterr().err.splitlines()
    assert error.startswith("code-jax: error: this user has no home") and error.endswith("set XDG_CACHE_HOME to a folder")
    assert warning.startswith("code-jax: warning: compiled programs are not kept: this user has no home")


def test_a_defect_stays_a_traceback():
    with pytest.raises(ZeroDivisionError):
        frame.framed(lambda: 1 // 0)


@pytest.mark.parametrize(
    ("argv", "near"),
    [
        (["restor"], "did you mean restore?"),
        (["restore", "a", "--out", "b", "--langevin-stepz", "3"], "did you mean --langevin-steps?"),
        (["restore", "a", "--out", "b", "--fit", "cropp"], "did you mean crop?"),
        (["restore"], "for example: code-jax restore photo.png --out restored"),
        (["restore", "a", "--out", "b", "--samples", "1000000000"], "1,157 days"),
        (["restore", "a", "--out", "b", "--batch-size", "100000000"], "GiB"),
        (["restore", "", "--out", "b"], "the name of an input is empty"),
        (["restore", "a", "--out", ""], "argument --out: the name is empty"),
        (["evaluate", "--data", "", "--out", "b"], "argument --data: the name is empty"),
        (["restore", "a", "--out", "b", "--sigma", "x" * 100_000], "is not a number"),
        (["restore", "a", "--out", "b", "--seed", "9" * 5000], "is not a whole number"),
        (["restore", "a", "--out", "b", "--seed=--"], "'--' is not a whole number"),
        (["restore", "a", "--out", "b", "--fit=--"], "'--' is none of auto"),
    ],
)
def test_a_mistake_is_answered_with_what_was_meant(argv, near, capsys):
    assert main(argv) == 2
    shown = capsys.readouterr().err
    assert near in shown and shown.count("\n") == 1 and len(shown) < 500


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_nothing_but_a_file_is_replaced(kind, tmp_path):
    path, elsewhere = tmp_path / "file", tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    {"link": lambda: path.symlink_to(elsewhere), "pipe": lambda: os.mkfifo(path), "folder": path.mkdir}[kind]()
    with pytest.raises(UserError, match="where a file of ours belongs"):
        write_durably(path, b"ours")
    assert elsewhere.read_text() == "mine" and len(list(tmp_path.iterdir())) == 2
