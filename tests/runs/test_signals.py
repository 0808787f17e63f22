"""Real processes that are interrupted and killed: nothing half-written, nothing lost, and the end is the same."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from code_jax.durable import write_durably
from tests.runs.conftest import make_pictures
from tests.runs.driver import run
from tests.runs.results import assert_complete, assert_whole, files, lines

COUNT = 64


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Sixty-four pictures and a bad file, and what a run that nothing disturbs makes of them."""
    folder = tmp_path_factory.mktemp("undisturbed")
    make_pictures(folder / "in", COUNT)
    (folder / "in" / "bad.png").write_bytes(b"no picture")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder.parent / "cache"))  # the processes' programs are compiled here
        assert run(0, [str(folder / "in"), "--out", str(folder / "out")]) == 1
    return folder, files(folder / "out")


@contextlib.contextmanager
def running(folder, out, pause):
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XDG_CACHE_HOME": str(folder.parent / "cache")}
    command = [sys.executable, "-m", "tests.runs.driver", str(pause), str(folder / "in"), "--out", str(out)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_lines(process, out, count):
    deadline = time.monotonic() + 60
    while len(lines(out)) < count:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.002)


@pytest.mark.slow
def test_processes_killed_at_random_moments_lose_nothing(undisturbed, tmp_path, restore, capsys):
    folder, expected = undisturbed
    out, moments = tmp_path / "out", np.random.default_rng(5)
    known = 0
    for _ in range(5):
        with running(folder, out, 0.005) as process:
            wait_for_lines(process, out, known + int(moments.integers(1, 10)))
            time.sleep(moments.uniform(0, 0.06))
            process.kill()
            assert process.wait() == -signal.SIGKILL
        done = assert_whole(out)
        assert done >= known
        known = done
    assert 0 < known < COUNT
    assert restore(folder / "in", "--out", out) == 1
    assert f"restored {COUNT - known}, done before {known}, failed 1" in capsys.readouterr().out
    assert_complete(out, expected, failed=1)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_after_the_batch_in_flight_with_the_summary(number, status, heard, undisturbed, tmp_path, restore, capsys):
    folder, expected = undisturbed
    out = tmp_path / "out"
    with running(folder, out, 0.02) as process:
        wait_for_lines(process, out, 3)

        before = {name: data for name, data in files(out).items() if not name.endswith(".tmp")}
        assert restore(folder / "in", "--out", out) == 2  # another run, while the process is alive
        refused = capsys.readouterr().err
        assert f"process {process.pid} on " in refused and "is at work in" in refused and refused.count("\n") == 1
        assert before.items() <= files(out).items()

        process.send_signal(number)
        shown, errors = process.communicate(timeout=60)
    assert process.returncode == status
    assert "stopping after the batch in flight" in errors and "Traceback" not in errors
    done = assert_whole(out)
    assert f"restored {done}, failed 1" in shown and "interrupted: the same command goes on from here" in shown
    assert done % 4 == 0 and 0 < done < COUNT and not [name for name in files(out) if name.endswith(".tmp")]

    assert restore(folder / "in", "--out", out) == 1
    assert f"restored {COUNT - done}, done before {done}, failed 1" in capsys.readouterr().out
    assert_complete(out, expected, failed=1)


def test_a_second_signal_drops_the_batch_at_the_next_segment(undisturbed, tmp_path):
    folder, _ = undisturbed
    out = tmp_path / "out"
    with running(folder, out, 2.0) as process:  # ten segments of a batch would take twenty seconds
        while not lines(out):  # the bad file comes first: then the first batch begins
            assert process.poll() is None
            time.sleep(0.01)
        for number in (signal.SIGTERM, signal.SIGINT):
            time.sleep(0.7)
            process.send_signal(number)
        begun = time.monotonic()
        shown, errors = process.communicate(timeout=60)
    assert process.returncode == 143 and time.monotonic() - begun < 12
    assert "restored 0, failed 1" in shown and "Traceback" not in errors
    assert files(out) == {} and len(lines(out)) == 1


def test_a_dead_run_s_lock_and_leftovers_are_taken_over(pictures, tmp_path, restore):
    out = tmp_path / "out"
    assert restore(pictures, "--out", out) == 0
    for path in out.glob("*.png"):
        path.unlink()
    (out / ".manifest.jsonl.lock").write_text("process 1 on nowhere\n")
    (out / f".{'0' * 32}.tmp").write_bytes(b"half a pict")
    (out / ".mine.tmp").write_bytes(b"not ours")
    (out / "manifest.jsonl").write_bytes(b'{"input": "half a li')
    assert restore(pictures, "--out", out) == 0
    assert (out / ".mine.tmp").read_bytes() == b"not ours"
    (out / ".mine.tmp").unlink()
    assert len(files(out)) == len(lines(out)) == 10 and assert_whole(out) == 10


def test_a_durable_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_durably(path, b"old")
    for call in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            with pytest.raises(OSError, match="No space") as error:
                write_durably(path, b"new")
        assert error.value.filename == str(path)
        assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
