"""The same command again: what is done stays, what is missing, damaged or new is made, other settings are refused."""

import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from code_jax.runs import manifest
from tests import oracles
from tests.runs.results import assert_complete, files, lines


@pytest.fixture
def made(pictures, tmp_path, restore, capsys):
    """Ten pictures, a bad one, and what a first run made of them."""
    (pictures / "bad.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    assert restore(pictures, "--out", out) == 1
    capsys.readouterr()
    return pictures, out, files(out)


def stamps(out):
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in out.glob("*.png")}


def test_nothing_is_done_twice(made, restore, capsys):
    pictures, out, expected = made
    before = stamps(out)
    assert restore(pictures, "--out", out) == 1
    shown = capsys.readouterr()
    assert "restored 0, done before 10, failed 1" in shown.out
    assert "bad.png' earlier: not a picture" in shown.err and "--retry-failed tries again" in shown.err
    assert stamps(out) == before
    assert_complete(out, expected, failed=1)


def test_what_is_missing_damaged_or_unrecorded_is_made_again(made, restore, capsys):
    pictures, out, expected = made
    (out / "p00.png").unlink()
    (out / "p01.png").write_bytes(expected["p01.png"][:-1])
    (out / "p02.png").write_bytes(expected["p03.png"])
    kept = [line for line in lines(out) if line["name"] != "p04"]
    (out / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
    before = stamps(out)
    assert restore(pictures, "--out", out) == 1
    assert "restored 4, done before 6, failed 1" in capsys.readouterr().out
    assert_complete(out, expected, failed=1)
    untouched = {f"p{i:02}.png" for i in range(5, 10)} | {"p03.png"}
    assert {name for name, stamp in stamps(out).items() if stamp == before.get(name)} == untouched


def test_a_changed_input_is_restored_anew_and_a_failed_one_when_asked(made, restore, capsys):
    pictures, out, expected = made
    shutil.copy(pictures / "p09.png", pictures / "p00.png")
    (pictures / "bad.png").write_bytes((pictures / "p01.png").read_bytes())  # mended: that is seen without asking
    assert restore(pictures, "--out", out) == 0
    assert "restored 2, done before 9, failed 0" in capsys.readouterr().out
    assert_complete(out, expected | {"p00.png": expected["p09.png"], "bad.png": expected["p01.png"]})


def test_what_failed_is_tried_again_when_asked(made, restore, capsys):
    pictures, out, expected = made
    assert restore(pictures, "--out", out, "--retry-failed") == 1
    assert "bad.png': not a picture" in capsys.readouterr().err
    assert_complete(out, expected, failed=1)


def test_more_inputs_join_and_a_manifest_of_nonsense_is_no_obstacle(made, restore, capsys):
    pictures, out, expected = made
    Image.new("L", (9, 9), 77).save(pictures / "new.png")
    nonsense = ["null", "[]", "{}", '"x"', "{", "\xff", "1e999", '{"name": "p00", "status": "done"}']
    line = lines(out)[-1]
    odd = [
        {"name": 3}, {"sample": "x"}, {"file_hash": 1}, {"output": None}, {"output_hash": 5}, {"input": []}, {"settings": None},
        {"name": "../p00"}, {"output": "/etc/passwd"}, {"name": ""}, {"status": "done", "output": "../../p00.png"},
    ]  # fmt: skip
    damaged = [line | change for change in odd]
    damaged += [{name: line[name] for name in line if name != lost} for lost in ("sample", "name", "file_hash", "input")]
    with open(out / "manifest.jsonl", "a", encoding="latin-1") as file:
        file.writelines(text + "\n" for text in [*nonsense, *map(json.dumps, damaged)])
    assert restore(pictures, "--out", out) == 1
    assert "restored 1, done before 10, failed 1" in capsys.readouterr().out
    assert {name: data for name, data in files(out).items() if name != "new.png"} == expected
    assert len(lines(out)) == 12


def test_lines_of_one_name_take_linear_time(made, monkeypatch):
    """Counted in looks at a line, not in seconds."""
    _, out, _ = made
    first, looks = lines(out)[0], 0

    class Looked(dict):
        def __getitem__(self, name):
            nonlocal looks
            looks += 1
            return super().__getitem__(name)

    monkeypatch.setattr(manifest, "manifests", lambda out: ["one"])
    monkeypatch.setattr(manifest, "read_lines", lambda path: [Looked(first | {"sample": k}) for k in range(number)])
    counts = []
    for number in (100, 1000):
        looks = 0
        assert len(manifest.joined_lines(out)) == number
        counts.append(looks / number)
    assert counts[1] < 1.1 * counts[0]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--seed", "1"), "seed was 0, is 1"),
        (("--eta", "1.5"), "eta was "),
        (("--sigma", "0.5"), "sigma was 0.72, is 0.5"),
        (("--samples", "2"), "samples was 1, is 2"),
        (("--fit", "crop"), "fit was auto, is crop"),
        (("--format", "webp"), "format was None, is webp"),
        (("--keep-size",), "keep_size was None, is True"),
        (("--suffix", "_x"), "suffix was None, is _x"),
    ],
)
def test_other_settings_are_refused_and_the_difference_is_named(options, named, made, restore, capsys):
    pictures, out, expected = made
    told = (out / "manifest.jsonl").read_bytes()
    assert restore(pictures, "--out", out, *options) == 2
    shown = capsys.readouterr()
    assert named in shown.err and "--overwrite" in shown.err and "another --out" in shown.err and shown.err.count("\n") == 1
    assert files(out) == expected and (out / "manifest.jsonl").read_bytes() == told and not shown.out


def test_another_prior_is_another_setting(made, restore, capsys):
    pictures, out, _ = made
    other = oracles.gaussian(jnp.full((8, 8, 3), 0.1), jnp.float32(0.41))
    assert restore(pictures, "--out", out, prior=other) == 2
    assert "prior_hash was " in capsys.readouterr().err


def test_overwrite_makes_everything_of_the_new_settings(made, restore, tmp_path, capsys):
    pictures, out, expected = made
    assert restore(pictures, "--out", tmp_path / "other", "--seed", "1") == 1
    other = files(tmp_path / "other")
    assert restore(pictures, "--out", out, "--seed", "1", "--overwrite") == 1
    assert "restored 10, failed 1" in capsys.readouterr().out
    assert_complete(out, other, failed=1)
    assert all(np.any(expected[name] != other[name]) for name in expected)


def test_missing_samples_alone_are_made(pictures, tmp_path, restore, capsys):
    out = tmp_path / "out"
    assert restore(pictures, "--out", out, "--samples", "3") == 0
    expected, before = files(out), stamps(out)
    (out / "p03_2.png").unlink()
    assert restore(pictures, "--out", out, "--samples", "3") == 0
    assert "restored 1, done before 29, failed 0" in capsys.readouterr().out
    assert_complete(out, expected)
    assert [name for name, stamp in stamps(out).items() if stamp != before[name]] == ["p03_2.png"]
