import csv
import hashlib
import math
import os
import shlex
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import code_jax
from code_jax.cli.main import main
from code_jax.cli.sweep import _axis, _etas
from code_jax.editing.keys import image_key

FAST = ["--ode-steps", "2", "--solver", "ddim", "--langevin-steps", "2"]
SAMPLE = "code_jax/priors/samples/blur.png"

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "in").mkdir()
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"p{i}.png")
    return tmp_path / "in"


def table(out):
    with open(out / "sweep.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def process(*words):
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_each_cells_command_gives_its_bytes_on_the_bundled_prior(tmp_path):
    out = tmp_path / "grid of points"  # a name that a shell would split
    axes = ["--relative-step", "0.01:0.2:2", "--depth", "0.15,0.5", "--eta", "1.3,none", "--seeds", "2", "--seed", "5"]
    said = process("code_jax", "sweep", SAMPLE, "--out", str(out), *axes, *FAST)
    rows = table(out)
    assert len(rows) == 16 and "16 points" in said
    assert len({(out / "cells" / "blur" / f"{p:04d}.png").read_bytes() for p in range(16)}) == 16
    program, *words = shlex.split(rows[13]["command"])
    assert program == "code-jax"
    process("code_jax", *words)
    (again,) = (out / "reproduced" / "0013").glob("*.png")
    assert again.read_bytes() == Path(rows[13]["output"]).read_bytes()


def test_the_table_says_what_the_formulae_say(tiny_folder, pictures, tmp_path):
    (pictures / "clean").mkdir()
    for i in range(2):
        Image.open(pictures / f"p{i}.png").transpose(Image.Transpose.ROTATE_90).save(pictures / "clean" / f"p{i}.png")
    out = tmp_path / "out"
    argv = ["--step-size", "1e-3,1e-2", "--depth", "0.2,0.6", "--eta", "0.9", "--seeds", "2", "--batch-size", "4"]
    assert main(["sweep", str(pictures), "--out", str(out), "--prior", tiny_folder, *argv, *FAST]) == 0
    rows = table(out)
    assert len(rows) == 2 * 8
    settings = [tuple(float(row[name]) for name in ("depth", "step_size", "seed")) for row in rows[:8]]
    assert settings == [(d, h, s) for d in (0.2, 0.6) for h in (1e-3, 1e-2) for s in (0, 1)]
    schedule = code_jax.linear_schedule()
    for row in rows:
        cell, given, clean = (
            np.asarray(Image.open(path), float)
            for path in (row["output"], row["input"], f"{os.path.dirname(row['input'])}/clean/{os.path.basename(row['input'])}")
        )
        for name, other in (("psnr_input", given), ("psnr_reference", clean)):
            assert float(row[name]) == pytest.approx(10 * math.log10(255**2 / np.mean((cell - other) ** 2)), rel=1e-4)
        variance = float(schedule.variance(schedule.timestep(float(row["depth"]))))
        assert float(row["relative_step"]) == pytest.approx(float(row["step_size"]) / variance, rel=1e-3)
        assert row["finite"] == "True" and int(row["nfe"]) == 2 + 2 + 2 + 1 and row["micro_batch"] == "4"
    # The seventh point by the library: keys as restoring has them, numbers as the row has them.
    row, picture = rows[6], np.asarray(Image.open(rows[6]["input"]))
    key = jax.random.key(int(row["seed"]))
    for word in image_key(int(row["seed"]), hashlib.sha256(picture.tobytes()).hexdigest(), 0)[1:]:
        key = jax.random.fold_in(key, word)
    program = code_jax.EditProgram(num_steps=2, solver="ddim", langevin_steps=2)
    config = code_jax.EditConfig(depth=0.6, step_size=1e-2, eta=0.9, program=program)
    alone = code_jax.edit(key[None], code_jax.load_prior(tiny_folder), code_jax.from_uint8(picture[None]), config)
    assert np.abs(code_jax.to_uint8(alone.images)[0].astype(int) - np.asarray(Image.open(row["output"]))).max() <= 1
    assert float(row["clipped"]) == pytest.approx(float(alone.info.clipped[0]), abs=2 / 192)
    assert float(row["squared_score"]) == pytest.approx(float(alone.info.squared_score[0]), rel=1e-3)


def test_the_sheet_holds_every_cell_in_its_place(tiny_folder, pictures, tmp_path):
    out = tmp_path / "out"
    argv = ["--step-size", "1e-3,1e-2,2e-2", "--depth", "0.2,0.6", "--batch-size", "4"]
    assert main(["sweep", str(pictures / "p0.png"), "--out", str(out), "--prior", tiny_folder, *argv, *FAST]) == 0
    sheet = np.asarray(Image.open(out / "contact_sheet.png"))
    for row in range(2):  # depth down, step size across; cells enlarged twenty times
        for column in range(3):
            cell = np.asarray(Image.open(out / "cells" / "p0" / f"{3 * row + column:04d}.png")).repeat(20, 0).repeat(20, 1)
            top, left = 8 + 18 + 18 + row * (160 + 36 + 8), 8 + (column + 1) * 168
            np.testing.assert_array_equal(sheet[top : top + 160, left : left + 160], cell)
    with Image.open(out / "plot.png") as plot:
        colours = {colour for _, colour in plot.getcolors(1 << 16)}
    assert {(68, 1, 84), (253, 200, 37)} <= colours  # both depths are drawn


def test_what_is_not_finite_and_what_is_no_picture_is_said(tiny_folder, pictures, tmp_path, capsys):
    (pictures / "cut.png").write_bytes((pictures / "p0.png").read_bytes()[:60])
    argv = ["--langevin", "unadjusted", "--langevin-steps", "9", "--relative-step", "0.05,1e25", "--ode-steps", "2"]
    assert main(["sweep", str(pictures), "--out", str(tmp_path / "out"), "--prior", tiny_folder, *argv]) == 1
    shown = capsys.readouterr()
    assert "cut.png" in shown.err and "of 2 points, at some: relative step 1e+25 is beyond the limit" in shown.err
    assert "not finite 2, failed 1" in shown.out
    rows = table(tmp_path / "out")
    assert [row["finite"] for row in rows] == ["True", "False"] * 2
    assert [bool(row["output"]) for row in rows] == [True, False] * 2 and rows[1]["psnr_input"] == ""


@pytest.mark.slow
def test_a_cell_at_its_own_size_is_what_restoring_with_its_command_gives(tiny, tmp_path):
    """Coarse to fine: the coarsest level at all points together, the others point by point."""
    code_jax.save_prior(tiny.replace(patches=(1, 2)), tmp_path / "prior")
    (tmp_path / "in").mkdir()
    for i, size in enumerate([(8, 8), (17, 24)]):
        pixels = np.random.default_rng(i).integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"p{i}.png")
    argv = ["--prior", str(tmp_path / "prior"), "--sigma", "0.4,1", "--seeds", "2", "--batch-size", "1"]
    assert main(["sweep", str(tmp_path / "in"), "--out", str(tmp_path / "out"), *argv, *FAST]) == 0
    rows = table(tmp_path / "out")
    assert [int(row["nfe"]) for row in rows] == [7] * 4 + [14] * 4
    _, *words = shlex.split(rows[7]["command"])
    assert "auto" in words and main(words) == 0
    (again,) = (tmp_path / "out" / "reproduced" / "0003").glob("p1.png")
    assert again.read_bytes() == Path(rows[7]["output"]).read_bytes()
    assert len({Path(row["output"]).read_bytes() for row in rows}) == 8


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--step-size", "1e-6:1e-3:0"], "has 0 values"),
        (["--step-size", "1e-6:1e-3:1000000000"], "has 1000000000 values"),
        (["--step-size", "0:1e-3:4"], "must be positive"),
        (["--step-size", "1e-6:1e-3"], "'1e-6:1e-3' is no range"),
        (["--step-size", "1e-6:1e-3:2.5"], "'2.5' is not a whole number"),
        (["--step-size", ""], "'' is not a number"),
        (["--depth", "0.2:1:100", "--eta", "0.1:3:100", "--step-size", "1e-6:1e-3:100"], "1000000 points"),
        (["--seeds", "1000000000"], "1000000000 points"),
        (["--seeds", "0"], "seeds is 0"),
        (["--depth", "0.2:1.2:3"], "depth is 1.2"),
        (["--depth", "nan"], "'nan' is not a finite number"),
        (["--eta", "none,0"], "eta is 0.0"),
        (["--anneal-rate", "2"], "anneal_rate is 2.0"),
        (["--step-size", "1e-3", "--relative-step", "0.1"], "give one of them"),
        (["--batch-size", "0"], "--batch-size is 0"),
        (["--seed", "-1"], "--seed is -1"),
        (["--reference", "no/such/place"], "no/such/place"),
        (["--solver", "rk4"], "rk4"),
    ],
)
def test_a_wrong_value_is_one_line_and_status_2(tiny_folder, pictures, tmp_path, capsys, argv, named):
    assert main(["sweep", str(pictures), "--out", str(tmp_path / "out"), "--prior", tiny_folder, *argv]) == 2
    shown = capsys.readouterr().err
    assert named in shown and shown.startswith("code-jax: error: ") and shown.count("\n") == 1


def test_ranges_are_geometric_or_linear_with_exact_ends():
    assert _axis("1e-6:1e-3:4", geometric=True) == (1e-6, 1e-5, 1e-4, 1e-3)
    assert _axis("0.2:1:5") == (0.2, 0.4, 0.6, 0.8, 1.0)
    assert _axis("0.3:0.9:1") == (0.3,)
    assert _axis("0.123456789,2") == (0.123456789, 2.0)
    assert _etas("1.5,1.7,2,none") == (1.5, 1.7, 2.0, None)
    assert _etas("1:2:3,none") == (1.0, 1.5, 2.0, None)
