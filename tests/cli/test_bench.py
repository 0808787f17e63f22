import time

import jax
import jax.numpy as jnp
import pytest

from checkpoints_convert.diffusers import write_diffusers
from code_jax.bench.measure import in_turn, ratio
from code_jax.cli.main import main


def test_tasks_are_timed_in_turn_after_a_first_run():
    order = []
    tasks = [lambda name=name: order.append(name) or time.sleep(0.01) or jnp.zeros(()) for name in "ab"]
    seconds = in_turn(tasks, 3)
    assert order == ["a", "b", *"ababab"] and [len(times) for times in seconds] == [3, 3]
    assert min(min(times) for times in seconds) >= 0.01


def test_a_ratio_is_the_median_of_the_runs_own():
    assert ratio("x", [2.0, 9.0, 4.0], [1.0, 3.0, 4.0]) == ("x", "2.000", "1.000 to 3.000")
    assert ratio("x", [2.0], [1.0], 0.5).median == "1.000"


def test_the_table_names_the_machine_and_counts_the_evaluations(tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("code_jax.bench.against_pytorch.installed", lambda: False)
    write_diffusers(tiny, tmp_path / "tiny")
    few = ["--runs", "1", "--ode-steps", "2", "--langevin-steps", "2", "--points", "4", "--batch-size", "2"]
    assert main(["bench", "--prior", str(tmp_path / "tiny"), *few]) == 0
    shown = capsys.readouterr()
    table = [line.split(" | ") for line in shown.out.splitlines() if line.startswith("| ")]
    rows = {cells[0].removeprefix("| "): cells[1] for cells in table[1:]}
    assert rows["edit of 11 evaluations, an image"].endswith(" ms")
    assert "sweep of 4 points / (its evaluations × network)" in rows
    count = sum(leaf.size for leaf in jax.tree.leaves(tiny.params))
    assert rows["weights"] == f"{4 * count / 2**20:.1f} MiB"
    assert "cores; Python" in shown.out and "jax" in shown.out


@pytest.mark.parametrize(("argv", "named"), [(["--runs", "0"], "--runs is 0"), (["--batch-size", "-1"], "--batch-size is -1")])
def test_a_wrong_value_is_one_line_and_status_2(capsys, argv, named):
    assert main(["bench", *argv]) == 2
    shown = capsys.readouterr().err
    assert named in shown and shown.count("\n") == 1


@pytest.mark.parity
def test_the_comparison_is_of_the_same_network(tiny):
    from code_jax.bench.against_pytorch import against_pytorch

    rows = against_pytorch(tiny, 2, 1)
    assert rows[0].what.startswith("PyTorch") and float(rows[1].median) > 0
