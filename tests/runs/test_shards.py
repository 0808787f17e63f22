import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from code_jax.cli.main import main
from code_jax.runs.manifest import merge
from code_jax.runs.shards import Shard

FAST = ["--ode-steps", "2", "--langevin-steps", "2", "--batch-size", "2"]
PICTURES = 24

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("in")
    for i in range(PICTURES):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"p{i}.png")
    return folder


@pytest.fixture(scope="module")
def expected(pictures, tiny_folder, tmp_path_factory):
    """The results of one undivided run."""
    out = tmp_path_factory.mktemp("whole")
    assert main([*command(pictures, tiny_folder, out)]) == 0
    return results(out)


def command(pictures, tiny_folder, out, *more):
    return ["restore", str(pictures), "--out", str(out), "--prior", tiny_folder, *FAST, *more]


def results(out):
    return {path.name: path.read_bytes() for path in out.glob("p*.png")}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def start(words, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "code_jax", *words], env=os.environ | environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def kill_at_work(process, out):
    """SIGKILL once two of its results are there."""
    deadline = time.monotonic() + 60
    while len(results(out)) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL


def test_shares_are_disjoint_complete_and_do_not_move_when_an_input_is_added():
    names = [f"folder/p{i}" for i in range(1000)]
    for count in (1, 2, 7):
        owners = [[index for index in range(1, count + 1) if Shard(index, count).holds(name)] for name in names]
        assert all(len(owner) == 1 for owner in owners)
        sizes = np.bincount(np.ravel(owners))[1:]
        assert len(sizes) == count and np.all(np.abs(sizes - 1000 / count) < 5 * (1000 / count) ** 0.5)
        # An input's share is its name's alone.
        assert owners == [[1 + int(hashlib.sha256(name.encode()).hexdigest()[:16], 16) % count] for name in names]


@pytest.mark.slow
def test_a_killed_share_is_picked_up_by_runs_of_any_other_number(pictures, tiny_folder, expected, tmp_path, capsys):
    out = tmp_path / "out"
    killed = start(command(pictures, tiny_folder, out, "--shard", "1/2"))
    kill_at_work(killed, out)
    left = results(out)
    assert 2 <= len(left) < len(expected)
    assert main(command(pictures, tiny_folder, out, "--shard", "2/2")) == 0
    second = {line["name"] for line in lines(out / "manifest.2-of-2.jsonl")}
    assert second == {name.removesuffix(".png") for name in expected if Shard(2, 2).holds(name.removesuffix(".png"))}

    stamps = {name: (out / name).stat().st_mtime_ns for name in results(out)}
    told = {line["output"] for path in out.glob("manifest.*.jsonl") for line in lines(path)}
    for index in (1, 2, 3):
        assert main(command(pictures, tiny_folder, out, "--shard", f"{index}/3")) == 0
    assert results(out) == expected
    assert all((out / name).stat().st_mtime_ns == stamps[name] for name in told)  # nothing was made twice

    assert merge(out) == merge(out) == (PICTURES, 0)
    assert not list(out.glob("manifest.*-of-*")) and not list(out.glob(".manifest.*-of-*"))
    merged = lines(out / "manifest.jsonl")
    assert sorted(line["output"] for line in merged) == sorted(expected)
    capsys.readouterr()
    assert main(command(pictures, tiny_folder, out)) == 0
    assert f"restored 0, done before {PICTURES}" in capsys.readouterr().out


@pytest.mark.slow
def test_a_process_of_jax_distributed_outlives_its_killed_coordinator(pictures, tiny_folder, expected, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    out = tmp_path / "out"
    common = {
        "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}", "SLURM_JOB_ID": "1", "SLURM_NTASKS": "2",
        "SLURM_STEP_NODELIST": "localhost", "SLURM_STEP_NUM_TASKS": "2", "JAX_PLATFORMS": "cpu",
    }  # fmt: skip
    first, second = (
        start(command(pictures, tiny_folder, out, "--distributed"), **common, SLURM_PROCID=str(i), SLURM_LOCALID=str(i))
        for i in (0, 1)
    )
    kill_at_work(first, out)
    _, said = second.communicate(timeout=120)
    assert second.returncode == 0, said
    assert {line["status"] for line in lines(out / "manifest.2-of-2.jsonl")} == {"done"}
    done = {name for name in expected if Shard(2, 2).holds(name.removesuffix(".png"))}
    assert done <= results(out).keys()
    assert main(command(pictures, tiny_folder, out)) == 0  # undivided, it picks up what both left
    assert results(out) == expected and not list(out.glob("manifest.*-of-*"))


@pytest.mark.parametrize("counts", [(1, 2, 3), (1, 3, 2), (3, 2, 3)])
def test_what_is_merged_tells_of_the_file_as_it_is(tiny_folder, tmp_path, counts):
    """An input that changed between runs of several numbers of shares, whose manifests all stay until they are joined."""
    given, out = tmp_path / "in", tmp_path / "out"
    given.mkdir()
    for seed, count in enumerate(counts):
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)).save(given / "p.png")
        for index in range(1, count + 1):
            assert main(command(given, tiny_folder, out, "--shard", f"{index}/{count}")) == 0
    assert merge(out) == (1, 0)
    (line,) = lines(out / "manifest.jsonl")
    assert line["file_hash"] == hashlib.sha256((given / "p.png").read_bytes()).hexdigest()
    assert line["output_hash"] == hashlib.sha256((out / "p.png").read_bytes()).hexdigest()


def test_shares_work_side_by_side_but_not_with_the_whole(pictures, tiny_folder, tmp_path, capsys):
    with Shard(1, 2).locked(tmp_path), Shard(2, 2).locked(tmp_path):
        for busy in ([], ["--shard", "1/2"]):
            assert main(command(pictures, tiny_folder, tmp_path, *busy)) == 2
            shown = capsys.readouterr().err
            assert f"process {os.getpid()}" in shown and shown.count("\n") == 1
        assert main(["merge", str(tmp_path)]) == 2
        assert f"process {os.getpid()}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--shard", "5/4"], "'5/4' is no share"),
        (["--shard", "0/4"], "'0/4' is no share"),
        (["--shard", "1"], "'1' is no share"),
        (["--shard", "a/b"], "'a/b' is no share"),
        (["--shard", "1/2", "--distributed"], "not allowed with"),
        (["--shard", "1/2", "--compare"], "--compare is of all the pictures"),
        (["--distributed"], "give each its share: --shard I/N"),
    ],
)
def test_a_wrong_share_is_one_line_and_status_2(pictures, tiny_folder, tmp_path, capsys, argv, named):
    assert main(command(pictures, tiny_folder, tmp_path / "out", *argv)) == 2
    shown = capsys.readouterr().err
    assert named in shown and shown.count("\n") == 1


def test_merge_refuses_what_it_cannot_join(pictures, tiny_folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["merge", str(out)]) == 2
    assert "is no folder" in capsys.readouterr().err
    out.mkdir()
    assert main(["merge", str(out)]) == 2
    assert "no manifest" in capsys.readouterr().err
    for index, seed in ((1, "0"), (2, "1")):
        apart = tmp_path / f"apart{index}"
        assert main(command(pictures / "p0.png", tiny_folder, apart, "--seed", seed)) == 0
        (line,) = lines(apart / "manifest.jsonl")
        line["name"] = f"p{seed}"
        (out / f"manifest.{index}-of-2.jsonl").write_text(json.dumps(line))
    capsys.readouterr()
    assert main(["merge", str(out)]) == 2
    assert "other settings: seed was" in capsys.readouterr().err
    assert len(list(out.glob("manifest.*-of-2.jsonl"))) == 2
