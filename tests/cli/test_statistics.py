"""``code-jax calibrate`` and ``code-jax statistics``."""

import json
import os

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import code_jax
from code_jax.cli.main import main
from code_jax.editing.keys import digest_of, fold_keys, image_key

pytestmark = pytest.mark.usefixtures("own_cache")


def pixels_of(i):
    return np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)


@pytest.fixture
def clean(tmp_path):
    folder = tmp_path / "clean"
    folder.mkdir()
    for i in range(31):
        Image.fromarray(pixels_of(i)).save(folder / f"c{i}.png")
    (folder / "bad.png").write_text("no picture")
    return folder


def test_a_prior_is_calibrated_and_tells_strange_pictures(tiny, tiny_folder, clean, tmp_path, capsys):
    path, strange = tmp_path / "calibration.json", tmp_path / "strange"
    argv = [tiny_folder, str(clean), "--out", str(path), "--num-steps", "2", "--batch-size", "4"]
    assert main(["calibrate", *argv]) == 0
    shown = capsys.readouterr()
    assert "calibrated on 31 pictures" in shown.out and "bad.png" in shown.err
    strange.mkdir()
    Image.fromarray(np.full((8, 8, 3), 255, np.uint8)).save(strange / "constant.png")
    Image.fromarray(np.full((1, 30, 3), 9, np.uint8)).save(strange / "row.png")
    Image.fromarray(pixels_of(3)).save(strange / "clean.png")
    argv = ["statistics", str(strange), "--prior", tiny_folder, "--calibration", str(path), "--batch-size", "4"]
    assert main([*argv, "--json"]) == 0
    lines = {os.path.basename(line["input"]): line for line in map(json.loads, capsys.readouterr().out.splitlines())}
    keys = fold_keys(np.stack([image_key(0, digest_of(pixels_of(3)), 2**32 - 1)]))
    found = code_jax.picture_statistics(keys, tiny, code_jax.from_uint8(pixels_of(3))[None], num_steps=2)
    for name in ("noise", "residual", "residual_bands", "encoding", "encoding_bands", "path"):
        np.testing.assert_allclose(lines["clean.png"][name], getattr(found, name)[0], rtol=1e-3, atol=1e-4)
    judged = code_jax.Calibration.from_plain(json.loads(path.read_text())).judge(tiny, found)
    assert lines["clean.png"]["typicality"] == pytest.approx(judged.typicality[0], abs=0.02)
    assert lines["clean.png"]["typicality"] > 0.05 > lines["constant.png"]["typicality"]
    assert lines["constant.png"]["noise"] == lines["row.png"]["noise"] == 0
    assert main(argv) == 0
    head, *rows, last = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["noise", "sigma"] and len(rows) == 3 and last.startswith("3 pictures, failed 0")


def test_without_a_calibration_noise_is_told_and_how_to_get_one(tiny_folder, clean, tmp_path, capsys):
    argv = ["statistics", str(clean / "c0.png"), "--prior", tiny_folder]
    assert main(argv) == 0
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1 and f"code-jax calibrate {tiny_folder} PICTURES" in shown.err
    assert len(shown.out.splitlines()) == 3


def test_one_of_other_weights_is_refused_in_a_line(tiny, tiny_folder, clean, tmp_path, capsys):
    sigmas, ones = np.tile((0.1, 0.2), (40, 1)), np.ones((40, 2))
    rng = np.random.default_rng(0)
    found = code_jax.PictureStatistics(
        sigmas, ones[:, 0], ones, np.ones((40, 2, 4)), ones, np.ones((40, 2, 4)), rng.standard_normal((40, 6))
    )
    other = tiny.replace(params={name: jnp.zeros(3) for name in ("a",)})
    plain = code_jax.Calibration.of(other, found).to_plain()
    (tmp_path / "other.json").write_text(json.dumps(plain))
    (tmp_path / "text.json").write_text("none")
    for name, named in (("other.json", "other weights"), ("text.json", "cannot be read"), ("absent.json", "absent.json")):
        argv = ["statistics", str(clean / "c0.png"), "--prior", tiny_folder, "--calibration", str(tmp_path / name)]
        assert main(argv) == 2
        shown = capsys.readouterr().err
        assert named in shown and shown.count("\n") == 1


def test_too_few_pictures_and_wrong_places_are_a_line(tiny_folder, tmp_path, capsys):
    few = tmp_path / "few"
    few.mkdir()
    Image.fromarray(pixels_of(0)).save(few / "a.png")
    for argv, named in (
        ([str(few), "--num-steps", "2"], "1 pictures calibrate nothing"),
        ([str(tmp_path / "absent")], "does not exist"),
        ([str(few), "--out", str(few)], "is a folder"),
        ([str(few), "--num-steps", "1"], "num_steps is 1"),
    ):
        assert main(["calibrate", tiny_folder, *argv]) == 2
        shown = capsys.readouterr().err
        assert named in shown and shown.count("\n") == 1
