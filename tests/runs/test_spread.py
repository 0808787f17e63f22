"""Restoring by a cluster's worker, which here is in this process: what Ray itself does is tested where Ray is."""

import contextlib
import itertools
import pickle

import pytest
from PIL import Image

from tests.runs.results import files, lines


class Here:
    """One worker, which dies of the picture that it is told; all that goes to it and comes back is pickled."""

    actors, micro_batch = 1, 4

    def __init__(self, deadly=None):
        self.deadly = deadly

    def put(self, value):
        return value

    def do(self, make, args, items, interruption):
        worker, items = make(*args), iter(items)
        while call := list(itertools.islice(items, worker.size)):
            alive = [item for item in call if item[0].path.name != self.deadly]
            done = iter(pickle.loads(pickle.dumps(worker.work(pickle.loads(pickle.dumps(alive))))))
            yield from ((item, next(done) if item in alive else None) for item in call)


@pytest.fixture
def spread(restore, monkeypatch):
    """Runs the command with such a cluster."""

    def run(*argv, deadly=None):
        with monkeypatch.context() as patch:
            patch.setattr("code_jax.cli.restore.engine_of", lambda args: contextlib.nullcontext(Here(deadly)))
            return restore(*argv, "--engine", "ray")

    return run


def told(out):
    kept = [{name: value for name, value in line.items() if name != "seconds"} for line in lines(out)]
    return sorted(kept, key=lambda line: (line["name"], line["sample"] or 0))


@pytest.mark.parametrize("options", [(), ("--samples", "2", "--report")])
def test_results_manifest_and_report_are_those_of_a_run_without_a_cluster(options, pictures, tmp_path, restore, spread, capsys):
    (pictures / "sub").mkdir()
    Image.new("L", (9, 9), 77).save(pictures / "sub" / "gray.png")
    (pictures / "bad.jpg").write_bytes(b"no picture")
    assert restore(pictures, "--out", tmp_path / "local", *options) == 1
    assert spread(pictures, "--out", tmp_path / "spread", *options) == 1
    assert files(tmp_path / "spread") == files(tmp_path / "local")
    assert told(tmp_path / "spread") == told(tmp_path / "local")
    capsys.readouterr()
    assert spread(pictures, "--out", tmp_path / "spread", *options) == 1
    assert "restored 0, done before" in capsys.readouterr().out


def test_a_picture_that_workers_die_of_is_named_and_the_rest_is_restored(pictures, tmp_path, restore, spread, capsys):
    assert spread(pictures, "--out", tmp_path / "out", deadly="p03.png") == 1
    shown = capsys.readouterr()
    assert "restored 9, failed 1" in shown.out and "p03.png': three workers died with it" in shown.err
    assert spread(pictures, "--out", tmp_path / "out") == 1  # which is not tried again
    assert spread(pictures, "--out", tmp_path / "out", "--retry-failed") == 0
    assert restore(pictures, "--out", tmp_path / "local") == 0
    assert files(tmp_path / "out") == files(tmp_path / "local") and told(tmp_path / "out") == told(tmp_path / "local")
