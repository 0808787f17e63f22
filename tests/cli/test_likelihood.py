"""``code-jax likelihood`` and ``restore --likelihood``: the numbers of `log_likelihood`, whatever lies beside a picture."""

import functools
import json
import os

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import code_jax
from code_jax.cli.main import main
from code_jax.editing.keys import digest_of, fold_keys, image_key
from code_jax.pictures.provenance import read_facts
from code_jax.runs import engine

QUICK = {"solver": "heun", "num_steps": 3, "probes": 2}
ARGV = ["--solver", "heun", "--ode-steps", "3"]
FAST = ["--ode-steps", "2", "--langevin-steps", "2", "--batch-size", "2"]

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(pixels_of(i)).save(folder / f"p{i}.png")
    return folder


def pixels_of(i):
    return np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)


def tell(tiny_folder, capsys, *argv, status=0):
    """The objects that the command prints, by name."""
    assert main(["likelihood", *map(str, argv), "--prior", tiny_folder, "--json", *ARGV]) == status
    shown = capsys.readouterr()
    lines = [json.loads(line) for line in shown.out.splitlines()]
    return {os.path.basename(line["input"]): line for line in lines}, shown.err


def expected(prior, pixels, digest, images=None, **options):
    """By the function, with the key that the seed and a picture's hash give."""
    keys = fold_keys(np.stack([image_key(0, digest, 2**32 - 1)]))
    images = code_jax.from_uint8(pixels)[None] if images is None else images
    return code_jax.log_likelihood(keys, prior, images, **QUICK | options)


def test_a_picture_has_the_number_of_the_function_alone_or_among_others(tiny, tiny_folder, pictures, capsys):
    found, _ = tell(tiny_folder, capsys, pictures, "--batch-size", "2")
    assert list(found) == ["p0.png", "p1.png", "p2.png"]
    alone, _ = tell(tiny_folder, capsys, pictures / "p2.png", "--batch-size", "2")
    assert alone["p2.png"] == found["p2.png"]
    for i, line in enumerate(found.values()):
        theirs = expected(tiny, pixels_of(i), digest_of(pixels_of(i)))
        for name, value in (
            ("bits", theirs.bits),
            ("standard_error", theirs.standard_error),
            ("log_density", theirs.log_density),
        ):
            assert line[name] == pytest.approx(float(value[0]), rel=1e-4, abs=1e-4)
        assert line["floor"] == pytest.approx(float(theirs.floor), abs=1e-5)
        assert line["settings"]["solver"] == "heun" and line["hash"] == digest_of(pixels_of(i)) and len(line["prior_hash"]) == 64
    assert found["p0.png"]["standard_error"] > 0
    exact, _ = tell(tiny_folder, capsys, pictures / "p0.png", "--probes", "exact")
    assert exact["p0.png"]["standard_error"] == 0
    assert abs(exact["p0.png"]["bits"] - found["p0.png"]["bits"]) < 8 * found["p0.png"]["standard_error"]


def test_what_cannot_be_read_is_named_and_the_rest_is_told(tiny_folder, pictures, capsys):
    Image.fromarray(np.full((8, 8, 3), 9, np.uint8)).save(pictures / "constant.png")
    Image.fromarray(np.full((1, 40, 3), 9, np.uint8)).save(pictures / "row.png")
    (pictures / "empty.png").touch()
    found, errors = tell(tiny_folder, capsys, pictures, status=1)
    assert [name for name, line in found.items() if line["status"] == "failed"] == ["empty.png"]
    assert errors.count("code-jax: ") == 1 and "empty.png" in errors and "the file is empty" in errors
    assert all(np.isfinite(line["bits"]) for line in found.values() if line["status"] == "done")
    assert main(["likelihood", str(pictures), "--prior", tiny_folder, *ARGV]) == 1
    head, *rows, last = capsys.readouterr().out.splitlines()
    assert head.split() == ["bits/dim", "+-", "picture"] and len(rows) == 5
    told = {row.split()[2]: float(row.split()[0]) for row in rows}
    assert told == {line["input"]: pytest.approx(line["bits"], abs=1e-4) for line in found.values() if line["status"] == "done"}
    assert last.startswith(f"mean {np.mean([*told.values()]):.4f}"[:-1]) and "of 5, failed 1" in last


def test_a_larger_picture_is_told_in_windows(tiny, tiny_folder, tmp_path, capsys):
    pixels = np.random.default_rng(9).integers(0, 256, (9, 13, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    found, _ = tell(tiny_folder, capsys, tmp_path / "wide.png", "--fit", "tile")
    wide = code_jax.tiled(tiny, (9, 13))
    theirs = expected(wide, pixels, digest_of(pixels))
    assert found["wide.png"]["bits"] == pytest.approx(float(theirs.bits[0]), abs=1e-4)


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--probes", "1"], "probes is 1"),
        (["--probes", "many"], "'many'"),
        (["--ode-steps", "0"], "num_steps is 0"),
        (["--seed", "-1"], "--seed is -1"),
        (["--batch-size", "0"], "--batch-size is 0"),
        (["--prior", "no-such-prior"], "no-such-prior"),
        (["absent.png"], "absent.png"),
    ],
)
def test_a_wrong_value_is_one_line_and_status_2(tiny_folder, pictures, capsys, argv, named):
    assert main(["likelihood", str(pictures), "--prior", tiny_folder, *argv]) == 2
    shown = capsys.readouterr()
    assert named in shown.err and shown.err.count("\n") == 1 and not shown.out


@pytest.fixture
def full_likelihood(monkeypatch):
    """`restore` computes with fewer steps than it does for its users."""
    monkeypatch.setattr(engine, "log_likelihood", functools.partial(code_jax.log_likelihood, **QUICK))


def test_restore_tells_before_and_after_in_manifest_file_and_summary(
    tiny, tiny_folder, pictures, tmp_path, capsys, full_likelihood
):  # fmt: skip
    base = ["restore", str(pictures), "--out", str(tmp_path / "out"), "--prior", tiny_folder, *FAST]
    assert main(base) == 0  # without: it is taken up, and what lacks the numbers is made again
    plain = (tmp_path / "out" / "p0.png").read_bytes()
    capsys.readouterr()
    assert main([*base, "--likelihood"]) == 0
    said = capsys.readouterr().out
    assert "restored 3, failed 0" in said
    lines = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert len(lines) == 3
    for line in lines:
        result = np.asarray(Image.open(tmp_path / "out" / line["output"]))
        for told, error, pixels in zip(
            line["bits"], line["bits_error"], (np.asarray(Image.open(line["input"])), result), strict=True
        ):
            theirs = expected(tiny, pixels, line["hash"])  # at the noise of the input
            assert told == pytest.approx(float(theirs.bits[0]), abs=1e-4)
            assert error == pytest.approx(float(theirs.standard_error[0]), abs=1e-4)
        assert read_facts(tmp_path / "out" / line["output"])["bits"] == line["bits"]
    before, after = np.mean([line["bits"] for line in lines], axis=0)
    raised = sum(line["bits"][1] < line["bits"][0] for line in lines)
    assert f"likelihood: {before:.3f} bits per dimension before, {after:.3f} after; likelier than before: {raised} of 3" in said
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "p0.png")), _decoded(plain, tmp_path))
    assert main([*base, "--likelihood"]) == 0
    assert "restored 0, done before 3" in capsys.readouterr().out
    assert main(["info", str(tmp_path / "out")]) == 0
    assert f"{before:.3f} before, {after:.3f} after, mean of 3" in capsys.readouterr().out
    assert main(["info", str(tmp_path / "out" / "p0.png")]) == 0
    assert " --likelihood " in capsys.readouterr().out.splitlines()[-1]


def _decoded(data, folder):
    (folder / "plain.png").write_bytes(data)
    return np.asarray(Image.open(folder / "plain.png"))


def test_restore_tells_of_tiles_and_of_gray(tiny, tiny_folder, tmp_path, full_likelihood):
    pixels = np.random.default_rng(3).integers(0, 256, (9, 10), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "gray.png")
    argv = ["restore", str(tmp_path / "gray.png"), "--out", str(tmp_path / "out"), "--prior", tiny_folder, "--fit", "tile"]
    assert main([*argv, *FAST, "--likelihood"]) == 0
    (line,) = [json.loads(text) for text in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    wide, result = code_jax.tiled(tiny, (9, 10)), np.asarray(Image.open(tmp_path / "out" / "gray.png"))
    for told, each in zip(line["bits"], (pixels, result), strict=True):
        images = code_jax.from_uint8(jnp.repeat(each[None, ..., None], 3, axis=3).astype(jnp.uint8))
        assert told == pytest.approx(float(expected(wide, None, line["hash"], images).bits[0]), abs=1e-4)
