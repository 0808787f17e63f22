import json

import numpy as np
import pytest
from PIL import Image

from code_jax.cli.main import main
from code_jax.corruptions import NAMES, corrupt, picture_seed


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for i, (name, shape) in enumerate({"a.png": (40, 50, 3), "sub/b.png": (64, 33, 3)}.items()):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, shape, np.uint8)).save(folder / name)
    return folder


def read(path):
    return np.asarray(Image.open(path))


def test_one_corruption_of_a_folder(pictures, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["corrupt", str(pictures), "--out", str(out), "--corruption", "fog", "--severity", "3", "--seed", "7"]) == 0
    for name in ("a.png", "sub/b.png"):
        clean = read(pictures / name)
        np.testing.assert_array_equal(read(out / name), corrupt(clean, "fog", 3, picture_seed(7, clean)))
    assert "corrupted 2 in 1 way, failed 0" in capsys.readouterr().out
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert [line["corruption"] for line in lines] == ["fog", "fog"]


def test_all_and_a_sheet(pictures, tmp_path):
    out = tmp_path / "out"
    assert main(["corrupt", str(pictures / "a.png"), "--out", str(out), "--corruption", "all", "--compare"]) == 0
    assert sorted(path.parent.name for path in out.glob("*/a.png")) == sorted(NAMES)
    with Image.open(out / "contact_sheet.png") as sheet:
        assert sheet.height > len(NAMES) * 40


def test_a_bad_file_is_named_and_the_rest_done(pictures, tmp_path, capsys):
    (pictures / "text.png").write_text("no picture")
    Image.new("RGB", (8, 8)).save(pictures / "tiny.png")
    assert main(["corrupt", str(pictures), "--out", str(tmp_path / "out"), "--corruption", "fog,contrast", "--compare"]) == 1
    shown = capsys.readouterr().err
    assert "text.png" in shown and "8x8" in shown and "Traceback" not in shown and shown.count("\n") == 2
    assert (tmp_path / "out" / "contrast" / "sub" / "b.png").is_file()


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--corruption", "fogg"], "nearest is 'fog'"),
        (["--corruption", "fog", "--severity", "6"], "--severity is 6"),
        (["--corruption", "fog", "--seed", "-1"], "--seed is -1"),
        ([], "--corruption"),
    ],
)
def test_a_wrong_value_is_one_line_and_status_2(pictures, tmp_path, capsys, argv, named):
    assert main(["corrupt", str(pictures), "--out", str(tmp_path / "out"), *argv]) == 2
    shown = capsys.readouterr().err
    assert named in shown and shown.count("\n") == 1


def test_inputs_are_not_overwritten(pictures, capsys):
    assert main(["corrupt", str(pictures / "a.png"), "--out", str(pictures), "--corruption", "fog"]) == 2
    assert "overwrite" in capsys.readouterr().err
