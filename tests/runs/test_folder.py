"""What is in an output folder already: nothing of a person's is lost, and nothing that a file says ends in a traceback."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from code_jax.cli.main import main
from code_jax.errors import UserError
from code_jax.evaluation.records import Records
from code_jax.runs.folder import check_folder, claim, claimed
from tests.runs.results import assert_complete, files, lines


def everything(folder):
    return {path.relative_to(folder): path.is_file() and path.read_bytes() for path in folder.rglob("*")}


@pytest.fixture
def made(pictures, tmp_path, restore, capsys):
    assert restore(pictures, "--out", tmp_path / "out") == 0
    capsys.readouterr()
    return tmp_path / "out", files(tmp_path / "out")


def refused(restore, pictures, out, capsys, *named):
    before = everything(out)
    assert restore(pictures, "--out", out) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and all(word in said for word in named), said
    assert everything(out) == before


def test_a_picture_of_ones_own_is_not_replaced(pictures, tmp_path, restore, capsys):
    out = tmp_path / "holiday"
    out.mkdir()
    Image.new("RGB", (5, 5), "green").save(out / "p03.png")
    refused(restore, pictures, out, capsys, "p03.png' is there already")


def test_a_manifest_of_another_program_is_not_replaced(pictures, tmp_path, restore, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.jsonl").write_text('{"shard": 1}\n')
    refused(restore, pictures, out, capsys, "manifest.jsonl' is there already")


@pytest.mark.parametrize("name", ["manifest.jsonl", ".manifest.jsonl.lock", ".manifest.json", "p03.png"])
def test_links_to_elsewhere_are_refused(name, made, pictures, tmp_path, restore, capsys):
    out, _ = made
    (tmp_path / "elsewhere").write_bytes((out / name).read_bytes())
    (out / name).unlink()
    (out / name).symlink_to(tmp_path / "elsewhere")
    refused(restore, pictures, out, capsys, name, "a symbolic link")


@pytest.mark.parametrize("name", ["manifest.jsonl", "manifest.1-of-2.jsonl"])
def test_a_pipe_is_not_waited_for(name, pictures, tmp_path, restore, capsys):
    out = tmp_path / "out"
    out.mkdir()
    os.mkfifo(out / name)
    refused(restore, pictures, out, capsys, name)


def test_a_sub_folder_that_leads_elsewhere_is_refused(pictures, tmp_path, restore, capsys):
    (pictures / "sub").mkdir()
    (pictures / "p00.png").rename(pictures / "sub" / "p00.png")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").symlink_to(tmp_path / "elsewhere")
    refused(restore, pictures, tmp_path / "out", capsys, "elsewhere", "outside of --out")


@pytest.mark.parametrize(
    "change",
    [
        {"psnr": None}, {"psnr": ["a", 1]}, {"psnr_input": "x"}, {"status": []}, {"name": "a\0"}, {"name": "../p00"},
        {"output": "/etc/passwd"}, {"output": "\ud800"}, {"output_hash": 3}, {"micro_batch": "8"}, {"micro_batch": -1},
        {"sample": 10**400}, {"settings": [1]}, {"diversity": {}}, {"file_hash": 1.5}, {"input": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_line_of_wrong_types_is_passed_over(change, made, pictures, restore, capsys):
    out, expected = made
    told = lines(out)
    text = "[" * 100_000 + "\n" + "".join(json.dumps(each) + "\n" for each in [told[0] | change, *told[1:]])
    (out / "manifest.jsonl").write_text(text)
    assert main(["info", str(out)]) == 0
    assert "9 results of 9 pictures" in capsys.readouterr().out
    assert restore(pictures, "--out", out) == 0
    assert "restored 1, done before 9" in capsys.readouterr().out
    assert_complete(out, expected)


def test_a_folder_is_one_commands_and_one_settings(tmp_path):
    settings = {"depth": (0.1, float("inf")), "seed": 0}
    with claimed(tmp_path, "sweep", settings), pytest.raises(UserError, match="at work in"), claimed(tmp_path, "sweep"):
        pass
    check_folder(tmp_path, "sweep", settings)
    with pytest.raises(UserError, match="seed was 0, is 1"):
        claim(tmp_path, "sweep", {"depth": (0.1, float("inf")), "seed": 1})
    with pytest.raises(UserError, match="holds what code-jax 'sweep' made"):
        check_folder(tmp_path, "evaluate")


@pytest.mark.parametrize(("command", "name"), [("train", "prior/unet"), ("sweep", "cells/sub/in"), ("evaluate", "records")])
def test_a_link_however_deep_is_refused_before_anything_is_written(command, name, tmp_path):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    claim(out, command)
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    elsewhere.mkdir()
    (out / name).symlink_to(elsewhere)
    with pytest.raises(UserError, match=f"{name}' is a symbolic link"):
        check_folder(out, command)


def test_info_tells_of_a_folder(made, pictures, restore, capsys):
    out, _ = made
    (pictures / "bad\n.png").write_bytes(b"no picture")
    assert restore(pictures, "--out", out) == 1
    capsys.readouterr()
    assert main(["info", str(out)]) == 0
    shown = capsys.readouterr().out
    for words in ("code-jax restore", "10 results of 10 pictures", "1 picture\n", "bad\\n.png", "PSNR to the input", "solver"):
        assert words in shown
    assert "micro_batch" not in shown
    assert main(["info", str(pictures)]) == 2 and "holds no results" in capsys.readouterr().err


def test_a_record_that_is_not_whole_is_none(tmp_path):
    records = Records(tmp_path, resume=False)
    path, record = records.path("code-fog-5", {"seed": 1}), {"psnr": np.arange(6.0).reshape(2, 3), "memory": np.array(7)}
    records.write(path, record)
    found = records.read(path)
    assert found is not None and found.keys() == record.keys() and np.array_equal(found["psnr"], record["psnr"])
    data = path.read_bytes()
    for changed in (b"", data[:100], data[:-30], data.replace(b"psnr", b"psnX")):
        path.write_bytes(changed)
        assert records.read(path) is None
    np.savez(path, psnr=np.zeros(3))
    assert records.read(path) is None
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match="no regular file"):
        records.read(path)
