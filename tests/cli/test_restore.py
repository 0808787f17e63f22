import itertools
import json
import os

import numpy as np
import pytest
from PIL import Image

from code_jax.cli.main import main
from code_jax.pictures.files import read_picture
from code_jax.runs.sources import find_sources

FAST = ["--ode-steps", "2", "--langevin-steps", "2", "--batch-size", "4"]

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(5):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"p{i}.png")
    return folder


def run(tiny_folder, *argv, out):
    return main(["restore", *map(str, argv), "--out", str(out), "--prior", tiny_folder, *FAST])


def bytes_of(out):
    return {path.name: path.read_bytes() for path in out.glob("p*.png")}


def manifest(out):
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def test_a_result_has_the_same_bytes_alone_among_others_and_in_any_order(tiny_folder, pictures, tmp_path):
    assert run(tiny_folder, pictures, out=tmp_path / "all") == 0
    together = bytes_of(tmp_path / "all")
    assert len(together) == 5 and len(set(together.values())) == 5
    assert run(tiny_folder, pictures / "p3.png", out=tmp_path / "alone") == 0
    assert bytes_of(tmp_path / "alone")["p3.png"] == together["p3.png"]
    backwards = [pictures / f"p{i}.png" for i in (4, 3, 2, 1, 0)]
    assert run(tiny_folder, *backwards, out=tmp_path / "backwards") == 0
    assert bytes_of(tmp_path / "backwards") == together
    assert run(tiny_folder, pictures, "--seed", 1, out=tmp_path / "seed") == 0
    assert all(a != b for a, b in zip(bytes_of(tmp_path / "seed").values(), together.values(), strict=True))


def test_bad_files_are_named_and_the_rest_is_restored(tiny_folder, pictures, tmp_path, capsys):
    (pictures / "empty.png").touch()
    (pictures / "text.jpg").write_text("no picture")
    (pictures / "cut.png").write_bytes((pictures / "p0.png").read_bytes()[:100])
    assert run(tiny_folder, pictures, out=tmp_path / "out") == 1
    assert len(bytes_of(tmp_path / "out")) == 5
    shown = capsys.readouterr()
    for name in ("empty.png", "text.jpg", "cut.png"):
        assert sum(name in line for line in shown.err.splitlines()) == 1
    assert "Traceback" not in shown.err and "restored 5, failed 3" in shown.out
    lines = {os.path.basename(line["input"]): line for line in manifest(tmp_path / "out")}
    assert len(lines) == 8
    assert lines["empty.png"]["status"] == "failed" and lines["empty.png"]["error"]
    good = lines["p0.png"]
    assert good["status"] == "done" and good["nfe"] == 2 + 2 + 2 + 1 and good["micro_batch"] == 4 and good["seed"] == 0
    assert good["settings"]["num_steps"] == 2 and good["settings"]["sigma"] > 0 and good["settings"]["relative_step"] > 0


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--step-size", "-1"], "step_size is [-1.0]"),
        (["--depth", "0"], "depth is [0.0]"),
        (["--depth", "2"], "depth is [2.0]"),
        (["--eta", "0"], "eta is 0.0"),
        (["--eta", "much"], "'much'"),
        (["--solver", "rk4"], "rk4"),
        (["--preset", "heavy"], "heavy"),
        (["--method", "magic"], "magic"),
        (["--samples", "0"], "--samples is 0"),
        (["--seed", "-1"], "--seed is -1"),
        (["--ode-steps", "many"], "'many'"),
        (["--prior", "no-such-prior"], "no-such-prior"),
        (["--depth", "0.5,0.2", "--step-size", "1,2,3"], "3 step sizes for 2 levels"),
        (["--dynamic-threshold", "0.9"], "it must be two numbers"),
        (["--surprise"], "--surprise"),
    ],
)
def test_a_wrong_value_is_one_line_and_status_2(tiny_folder, pictures, tmp_path, capsys, argv, named):
    base = ["restore", str(pictures), "--out", str(tmp_path / "out"), "--prior", tiny_folder]
    assert main([*base, *argv]) == 2
    shown = capsys.readouterr().err
    assert named in shown and shown.startswith("code-jax: error: ") and shown.count("\n") == 1


def test_wrong_places_are_one_line_and_status_2(tiny_folder, pictures, tmp_path, capsys):
    (tmp_path / "nothing").mkdir()
    (tmp_path / "file").touch()
    for inputs, out, named in (
        (tmp_path / "absent", tmp_path / "out", "absent"),
        (tmp_path / "nothing", tmp_path / "out", "no picture"),
        (pictures, tmp_path / "file", "file"),
        (pictures, tmp_path / "file" / "below", "below"),
        (pictures / "p0.png", pictures, "overwrite"),
    ):
        assert run(tiny_folder, inputs, out=out) == 2
        shown = capsys.readouterr().err
        assert named in shown and shown.count("\n") == 1


def test_a_step_beyond_the_limit_is_warned_of(tiny_folder, pictures, tmp_path, capsys):
    options = ("--langevin", "unadjusted", "--relative-step", "2.5")
    assert run(tiny_folder, pictures / "p0.png", *options, out=tmp_path / "out") in (0, 1)
    assert "beyond the limit" in capsys.readouterr().err


def test_what_is_not_finite_is_a_failure_and_no_picture(tiny_folder, pictures, tmp_path, capsys):
    argv = ["--langevin", "unadjusted", "--relative-step", "9e29", "--langevin-steps", "9"]
    assert main(["restore", str(pictures), "--out", str(tmp_path / "out"), "--prior", tiny_folder, *FAST, *argv]) == 1
    assert not bytes_of(tmp_path / "out")
    said = [line for line in capsys.readouterr().err.splitlines() if "the result is not finite: relative step " in line]
    assert len(said) == 5 and all("is beyond the limit" in line for line in said)


def test_samples_sheet_and_clean_sources(tiny_folder, pictures, tmp_path, capsys):
    (pictures / "clean").mkdir()
    for i in range(5):
        Image.open(pictures / f"p{i}.png").transpose(Image.Transpose.ROTATE_90).save(pictures / "clean" / f"p{i}.png")
    assert run(tiny_folder, pictures, "--samples", 2, "--compare", out=tmp_path / "out") == 0
    assert sorted(bytes_of(tmp_path / "out")) == sorted(f"p{i}_{k}.png" for i, k in itertools.product(range(5), (1, 2)))
    assert len(manifest(tmp_path / "out")) == 10
    shown = capsys.readouterr().out
    folders = pictures, pictures / "clean"
    given, clean = ([read_picture(folder / f"p{i}.png", (8, 8, 3), "resize") for i in range(5)] for folder in folders)
    before = np.mean(10 * np.log10(255**2 / np.mean((np.stack(given).astype(float) - clean) ** 2, axis=(1, 2, 3))))
    assert f"mean of 10: {before:.2f} dB before" in shown
    with Image.open(tmp_path / "out" / "contact_sheet.png") as sheet:
        found = np.asarray(sheet)
    expected = np.asarray(Image.open(pictures / "p0.png")).repeat(20, 0).repeat(20, 1)
    top, left = 8 + 18 + 18, 8  # the first input, enlarged twenty times, below the column's name and the row's
    np.testing.assert_array_equal(found[top : top + 160, left : left + 160], expected)


def test_sources_are_mirrored_and_never_share_an_output(tmp_path):
    for name in ("a.jpg", "a.png", "x/a.jpg", "notes.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "in" / name) if "a." in name else (tmp_path / "in" / name).touch()
    sources = find_sources([tmp_path / "in", tmp_path / "in" / "a.png"], tmp_path / "out")
    outputs = [source.name for source in sources]
    assert len(sources) == 4 and len(set(outputs)) == 4
    assert "x/a" in outputs and "a.jpg" in outputs


def test_pictures_are_read_upright_in_every_common_mode(tmp_path):
    ramp = np.tile(np.arange(0, 256, 32, dtype=np.uint8), (8, 1))
    upright = Image.fromarray(ramp)
    for mode in ("L", "LA", "P", "RGB", "RGBA", "1"):
        upright.convert(mode).save(tmp_path / f"{mode}.png")
        expected = np.asarray(upright.convert(mode).convert("RGB"))
        np.testing.assert_array_equal(read_picture(tmp_path / f"{mode}.png", (8, 8, 3), "resize"), expected)
    Image.fromarray(ramp.astype(np.uint16) * 257).save(tmp_path / "16.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "16.png", (8, 8, 3), "resize")[..., 0], ramp)
    turned = upright.convert("RGB").transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown upright by a quarter turn clockwise
    turned.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_picture(tmp_path / "turned.png", (8, 8, 3), "resize")[..., 0], ramp)


def test_help_and_priors(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["restore", "--help"])
    assert stopped.value.code == 0
    assert main([]) == 2
    assert main(["priors"]) == 0
    assert "eurosat-64" in capsys.readouterr().out
