import csv
import hashlib
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import code_jax
from code_jax.cli.main import main
from code_jax.editing.keys import fold_keys, image_key
from code_jax.pictures.provenance import read_facts
from code_jax.runs.commands import command_of

pytestmark = pytest.mark.usefixtures("own_cache")

FAST = ["--method", "official", "--ode-steps", "10", "--langevin-steps", "4", "--batch-size", "2"]


@pytest.fixture
def picture(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / "p.png")
    return tmp_path / "p.png"


def test_restore_gives_the_librarys_result_and_its_own_command_gives_it_again(tiny, tiny_folder, picture, tmp_path):
    out = tmp_path / "out"
    argv = ["restore", str(picture), "--out", str(out), "--prior", tiny_folder, *FAST, "--eta", "1.2", "--depth", "0.8,0.3"]
    assert main(argv) == 0
    (line,) = map(json.loads, (out / "manifest.jsonl").read_text().splitlines())
    assert line["nfe"] == 9 + 2 * 4 * 2 + 10 and line["settings"]["method"] == "official"
    pixels = np.asarray(Image.open(picture))
    key = fold_keys(image_key(0, hashlib.sha256(pixels.tobytes()).hexdigest(), 0)[None])
    settings = code_jax.OfficialSettings(num_steps=10, latent=8, further=(3,), langevin_steps=4, eta=1.2)
    alone = code_jax.official(key, tiny, code_jax.from_uint8(pixels[None]), settings)
    assert np.abs(code_jax.to_uint8(alone.images)[0].astype(int) - np.asarray(Image.open(out / "p.png"))).max() <= 1

    program, *words = shlex.split(command_of(read_facts(out / "p.png"), str(picture), out=str(tmp_path / "again")))
    assert program == "code-jax" and main(words) == 0
    assert (tmp_path / "again" / "p.png").read_bytes() == (out / "p.png").read_bytes()


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--solver", "heun"], "--solver is no setting of --method official"),
        (["--relative-step", "0.1"], "--relative-step is no setting"),
        (["--preset", "local"], "--preset is no setting"),
        (["--step-size", "1e-3,1e-2"], "takes one step_size"),
        (["--depth", "0.1"], "latent is 1"),
        (["--depth", "0.5,0.4"], "corrected steps [3, 4] must decrease"),
        (["--depth", "1.5"], "depth is [1.5]"),
        (["--langevin-steps", "3"], "langevin_steps is 3"),
        (["--ode-steps", "1001"], "num_steps is 1001"),
    ],
)
def test_a_wrong_value_is_one_line_and_status_2(tiny_folder, picture, tmp_path, capsys, argv, named):
    assert main(["restore", str(picture), "--out", str(tmp_path / "out"), "--prior", tiny_folder, *FAST, *argv]) == 2
    shown = capsys.readouterr().err
    assert named in shown and shown.startswith("code-jax: error: ") and shown.count("\n") == 1


def test_the_published_program_can_be_swept_and_its_quirks_left_out(tiny_folder, picture, tmp_path):
    argv = ["sweep", str(picture), "--out", str(tmp_path / "out"), "--prior", tiny_folder, *FAST, "--step-size", "1e-4,1e-3"]
    assert main([*argv, "--without-quirks", "all"]) == 0
    with open(tmp_path / "out" / "sweep.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step_size"] for row in rows] == ["0.0001", "0.001"]
    _, *words = shlex.split(rows[1]["command"])
    assert "--without-quirks" in words and main(words) == 0
    again = Path(words[words.index("--out") + 1]) / "p.png"
    np.testing.assert_array_equal(np.asarray(Image.open(again)), np.asarray(Image.open(rows[1]["output"])))
