import sys
import time

import jax
import jax.numpy as jnp
import pytest

import code_jax
from code_jax.bench import throughput
from code_jax.bench.measure import default_grids, in_turn, ratio, with_fewer_steps
from code_jax.bench.start_up import start_up
from code_jax.bench.throughput import HEAD, flops
from code_jax.cli.main import main
from tests.conftest import ONE_LEVEL, tiny_prior


def test_tasks_are_timed_in_turn_after_a_first_run():
    order = []
    tasks = [lambda name=name: order.append(name) or time.sleep(0.01) or jnp.zeros(()) for name in "ab"]
    seconds = in_turn(tasks, 3)
    assert order == ["a", "b", *"ababab"] and [len(times) for times in seconds] == [3, 3]
    assert min(min(times) for times in seconds) >= 0.01


def test_a_ratio_is_the_median_of_the_runs_own():
    assert ratio("x", [2.0, 9.0, 4.0], [1.0, 3.0, 4.0]) == ("x", "2.000", "1.000 to 3.000")
    assert ratio("x", [2.0], [1.0], 0.5).median == "1.000"


@pytest.mark.slow
def test_the_table_names_the_machine_and_counts_the_evaluations(tmp_path, capsys, monkeypatch):
    tiny = tiny_prior(**ONE_LEVEL, add_attention=False)
    monkeypatch.setattr("code_jax.bench.against_pytorch.obstacle", lambda precision: f"{precision} is too much")
    code_jax.save_prior(tiny, tmp_path / "tiny")
    few = ["--runs", "1", "--ode-steps", "2", "--langevin-steps", "2", "--points", "20", "--batch-size", "2"]
    assert main(["bench", "--prior", str(tmp_path / "tiny"), *few]) == 0
    shown = capsys.readouterr()
    table = [line.split(" | ") for line in shown.out.splitlines() if line.startswith("| ")]
    rows = {cells[0].removeprefix("| "): cells[1] for cells in table[1:]}
    assert rows["edit of 7 evaluations, an image"].endswith(" ms")
    # Ten encodings of 2 evaluations and twenty decodings of 5; or two encodings.
    assert {"sweep of 20 points / (120 evaluations × network)", "sweep of 20 points / (104 evaluations × network)"} <= set(rows)
    assert "no comparison with PyTorch: float32 is too much" in shown.err
    count = sum(leaf.size for leaf in jax.tree.leaves(tiny.params))
    assert rows["weights"] == f"{4 * count / 2**20:.1f} MiB"
    for name in ("sdedit of 3 evaluations", "ddim of 5 evaluations"):
        assert float(rows[f"{name} / edit"]) > 0 and rows[f"{name}: working memory, an image"].endswith(" MiB")
    assert 20 < float(rows["bfloat16 network: PSNR to the float32 network's results"].removesuffix(" dB")) < 80
    assert "cores, 1 of them devices; Python" in shown.out and "jax" in shown.out


@pytest.mark.parametrize("file", ["/dev/zero", "."])
def test_a_table_that_no_file_holds_is_refused_before_anything_is_measured(file, capsys):
    assert main(["bench", "--prior", "no such prior", "--table", file]) == 2
    assert capsys.readouterr().err == f"code-jax: error: {file} is not a regular file\n"


@pytest.mark.slow
def test_a_table_of_devices_keeps_a_row_for_each(tmp_path, tiny, tiny_folder, capsys, monkeypatch):
    file, others = tmp_path / "tables.md", f"{tiny_folder} | 8 × TPU v9 | float32 | 2"
    file.write_text("# Tables\n\nbefore\n")
    few = ["bench", "--prior", tiny_folder, "--table", str(file), "--batches", "1,2", "--runs", "1"]
    few += ["--ode-steps", "1", "--langevin-steps", "1"]
    assert main(few) == 0
    lines = file.read_text().splitlines()
    assert lines[:4] == ["# Tables", "", "before", ""] and lines[4] == f"| {' | '.join(HEAD)} |"
    rows = [dict(zip(HEAD, line.strip("| ").split(" | "), strict=True)) for line in lines[6:]]
    assert [(row["precision"], row["batch"]) for row in rows] == [(p, b) for p in ("float32", "bfloat16") for b in "12"]
    for row in rows:
        batch, rate, images = int(row["batch"]), float(row["TFLOP a second and device"]), float(row["images a second"])
        casts = 0.05 if row["precision"] == "bfloat16" else 0  # are counted as well
        assert rate * 1e12 == pytest.approx(flops(tiny, batch) / batch * images * 4, rel=0.01 + casts)
        assert row["evaluations of each"] == "4" and row["share of the bfloat16 peak"] == "its peak is unknown"
        assert float(row["MiB an image"]) > 0 and jax.__version__ in row["measured"]
        largest = float(row["largest difference of ε"])  # bfloat16 has 8 digits, of weights and sums
        assert largest == 0 if row["precision"] == "float32" else 2**-12 < largest < 0.2
    # Another device's row stays, ours is replaced where it stands, and so does what follows.
    lines.insert(6, f"| {others} | 1 | 4 | 1 | 0.1 | 1 | 1 | then |")
    file.write_text("\n".join([*lines, "", "after"]))
    monkeypatch.setitem(throughput._PEAKS, "", 1e9)  # of whatever device this is
    assert main(few) == 0
    again = file.read_text().splitlines()
    assert again[:7] == lines[:7] and again[11:] == ["", "after"] and len(again) == 13
    row = dict(zip(HEAD, again[7].strip("| ").split(" | "), strict=True))
    share = float(row["share of the bfloat16 peak"])
    assert share == pytest.approx(float(row["TFLOP a second and device"]) * 1e12 / 1e9, rel=0.02)
    assert len(capsys.readouterr().out.splitlines()) == 8


@pytest.mark.parametrize("points", [1, 60, 200])
def test_the_sweeps_have_steps_that_a_user_would_try(points):
    for grid in default_grids(points):
        swept = grid.points()
        assert len(swept) == max(points, 10 if grid.seeds == 2 else 2)
        relative = [dict(point.numbers)["relative_step"] for point in swept]
        assert 0.0049 < min(relative) <= max(relative) < 0.41


def test_flops_are_twice_the_multiplications_of_the_convolutions_and_products():
    """A lower bound by hand: kernels times the pixels they meet; activations, norms and attention add less than half again."""
    tiny = tiny_prior()
    network = tiny.function.network.config
    assert network.block_out_channels == (8, 16) and network.layers_per_block == 1
    fine = 3 * 8 + 8 * 8 * 2 + 24 * 8 + 8 * 8 + 16 * 8 + 8 * 8 + 8 * 3  # 3×3 at 8×8: in, down, up twice, out
    coarse = 8 * 16 + 16 * 16 + 4 * 16 * 16 + (32 * 16 + 16 * 16) + (24 * 16 + 16 * 16)  # 3×3 at 4×4: down, middle, up twice
    least = 2 * 9 * (fine * 64 + coarse * 16)
    assert least < flops(tiny, 1) < 1.5 * least
    assert flops(tiny, 4) == pytest.approx(4 * flops(tiny, 1), rel=0.01)


@pytest.mark.slow
def test_two_starts_are_timed_with_a_cache_of_their_own(tiny, tiny_folder):
    config = with_fewer_steps(code_jax.preset(), 1, 1)
    rows = start_up(tiny_folder, ["--ode-steps=1", "--langevin-steps=1"], tiny, config)
    assert [row.what.split()[0] for row in rows] == ["first", "second"]
    for row in rows:
        whole = float(row.spread.split(" s;")[0].removeprefix("of "))
        imports, evaluations = (float(part.split()[-2]) for part in row.spread.split("; ")[1].split(", "))
        assert "4 evaluations " in row.spread
        assert float(row.median.removesuffix(" s")) == pytest.approx(whole - imports - evaluations, abs=0.2)  # of rounded terms


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--runs", "0"], "--runs is 0"),
        (["--batch-size", "-1"], "--batch-size is -1"),
        (["--batches", "1,0"], "'1,0' is no list"),
        (["--batches", "all"], "'all'"),
    ],
)
def test_a_wrong_value_is_one_line_and_status_2(capsys, argv, named):
    assert main(["bench", *argv]) == 2
    shown = capsys.readouterr().err
    assert named in shown and shown.count("\n") == 1


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")  # PyTorch's own, of its compiler
def test_the_comparison_is_of_the_same_network(tiny):
    from code_jax.bench.against_pytorch import against_pytorch

    rows = against_pytorch(tiny, 2, 1, calls=2)
    assert all(row.what.startswith("PyTorch") for row in rows)
    assert ["compiled" in row.what for row in rows] == [False, False, True, True]
    assert all(float(row.median.removesuffix(" ms")) > 0 for row in rows)


@pytest.mark.parity
def test_a_comparison_in_bfloat16_is_of_the_same_network_too(tiny):
    from code_jax.bench.against_pytorch import against_pytorch

    assert len(against_pytorch(tiny.with_precision("bfloat16"), 2, 1, calls=1, compiled=False)) == 2
    with pytest.raises(code_jax.UserError, match="not finite"):
        against_pytorch(tiny.replace(params=jax.tree.map(lambda leaf: leaf * jnp.nan, tiny.params)), 2, 1, 1, compiled=False)
    other = tiny.replace(params=jax.tree.map(lambda leaf: leaf + 0.5, tiny.params))
    save = code_jax.save_prior
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ValueError, match="differ by"):
        patch.setattr("code_jax.priors.save.save_prior", lambda prior, folder: save(other, folder))
        against_pytorch(tiny, 2, 1, calls=1, compiled=False)


def test_what_a_comparison_lacks_is_said(monkeypatch):
    from code_jax.bench.against_pytorch import obstacle

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert obstacle("float32") == "it takes the extra parity"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert obstacle("bfloat16") == "on a CPU it takes float32" and obstacle("float32") is None
    monkeypatch.setattr("jax.default_backend", lambda: "tpu")
    monkeypatch.setitem(sys.modules, "torch", type("torch", (), {}))
    assert obstacle("bfloat16") == "PyTorch does not use this tpu"
