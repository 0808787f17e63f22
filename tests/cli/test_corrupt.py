import json
import sys

import numpy as np
import pytest
from PIL import Image

from code_jax.cli.main import main
from code_jax.corruptions import ALL_NAMES, NAMES, corrupt, picture_seed


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
    assert "corrupted 2 pictures in 1 way, failed 0" in capsys.readouterr().out
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert [line["corruption"] for line in lines] == ["fog", "fog"]


def test_all_and_a_sheet(pictures, tmp_path):
    out = tmp_path / "out"
    assert main(["corrupt", str(pictures / "a.png"), "--out", str(out), "--corruption", "all", "--compare"]) == 0
    assert sorted(path.parent.name for path in out.glob("*/a.png")) == sorted(NAMES)
    with Image.open(out / "contact_sheet.png") as sheet:
        assert sheet.width / 8 > 160 and sheet.height / 6 > 160 * 40 / 50  # 48 pictures in rows of 8


def test_a_system_without_posix_locks_is_told_where_to_run(pictures, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows
    assert main(["corrupt", str(pictures), "--out", str(tmp_path / "out"), "--corruption", "fog"]) == 2
    shown = capsys.readouterr().err
    assert "on Windows, run code-jax in WSL" in shown and shown.count("\n") == 1


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


def test_the_list_has_all_with_their_families(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["corrupt", "--corruption", "list"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0 and [name for name in ALL_NAMES if f"\n  {name} " not in shown] == []
    assert (
        "noise\n  gaussian_noise" in shown
        and " ".join(shown.split()).count("(Not of the paper's") == len(ALL_NAMES) - len(NAMES) == 4
    )


@pytest.mark.parametrize("name", ["gaussian_noise", "masking_random_color", "saturate"])
def test_gray_stays_gray_and_its_noise_is_as_strong(name, tmp_path):
    gray = np.full((96, 96), 128, np.uint8)
    Image.fromarray(gray).save(tmp_path / "gray.png")
    assert main(["corrupt", str(tmp_path / "gray.png"), "--out", str(tmp_path / "out"), "--corruption", name]) == 0
    with Image.open(tmp_path / "out" / "gray.png") as made:
        assert made.mode == "L"
        noise = np.asarray(made).astype(float) - 128
    if name == "gaussian_noise":  # sigma 0.38, clipped at black and white: of |n| < 1.32 the deviation is 0.81
        assert abs(noise.std() / 255 - 0.38 * 0.81) < 0.01


def test_what_is_there_and_not_of_the_same_settings_stays(pictures, tmp_path, capsys):
    """Pictures of one's own, results of another command, of other settings or of other inputs: refused, nothing changed."""
    out = tmp_path / "out"
    command = ["corrupt", str(pictures / "a.png"), "--out", str(out), "--corruption", "fog"]
    out.mkdir()
    Image.new("RGB", (9, 9)).save(out / "a.png")
    own = (out / "a.png").read_bytes()
    assert main(command) == 2 and "a.png' is there already" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["a.png"] and (out / "a.png").read_bytes() == own
    (out / "a.png").unlink()
    assert main(command) == main(command) == 0  # again: the same
    made = {path.name: path.read_bytes() for path in out.iterdir()}
    capsys.readouterr()
    other = tmp_path / "other" / "a.png"
    other.parent.mkdir()
    other.write_bytes((pictures / "a.png").read_bytes())
    for argv, named in (
        ([*command[:-1], "frost"], "corruption was"),
        ([*command, "--severity", "2"], "severity was 5, is 2"),
        (["corrupt", str(other), *command[2:]], "is made of"),
        (["restore", str(pictures / "a.png"), "--out", str(out)], "code-jax 'corrupt' made"),
        (["sweep", str(pictures / "a.png"), "--out", str(out)], "code-jax 'corrupt' made"),
    ):
        assert main(argv) == 2
        shown = capsys.readouterr().err
        assert named in shown and shown.count("\n") == 1
        assert {path.name: path.read_bytes() for path in out.iterdir()} == made
    assert main(["corrupt", str(pictures / "sub" / "b.png"), *command[2:]]) == 0  # another picture beside it
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert [line["output"] for line in lines] == ["a.png", "b.png"]


@pytest.mark.parametrize("line", [{}, {"output": "p.png"}, {"output": 3}, {"output": None}, [], {"input": 3, "output": None}])
def test_a_manifest_s_line_that_is_none_is_passed_over(line, pictures, tmp_path):
    out = tmp_path / "out"
    words = ["corrupt", str(pictures), "--out", str(out), "--corruption", "contrast"]
    assert main(words) == 0
    sound = (out / "manifest.jsonl").read_text()
    damaged = {"input": str(tmp_path)} | line if isinstance(line, dict) else line
    (out / "manifest.jsonl").write_text(f"{json.dumps(damaged)}\n{sound}")
    assert main(words) == 0
    kept = [json.loads(each) for each in (out / "manifest.jsonl").read_text().splitlines()]
    assert [each for each in kept if each["input"] != str(tmp_path)] == [json.loads(each) for each in sound.splitlines()]


def test_inputs_are_not_overwritten(pictures, capsys):
    assert main(["corrupt", str(pictures / "a.png"), "--out", str(pictures), "--corruption", "fog"]) == 2
    assert "overwrite" in capsys.readouterr().err
