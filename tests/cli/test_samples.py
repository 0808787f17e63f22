"""Several results of an input: their variety, and their fidelity to it, as they are reported."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from code_jax.cli.main import main
from code_jax.metrics import diversity, psnr
from code_jax.pictures.arrays import from_uint8

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def folder(tmp_path):
    for seed in range(2):
        pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "in" / f"p{seed}.png")
    return tmp_path / "in"


def restore(tiny_folder, folder, out, *argv):
    fast = ["--ode-steps", "2", "--langevin-steps", "2", "--batch-size", "4"]
    return main(["restore", str(folder), "--out", str(out), "--prior", tiny_folder, *fast, *argv])


def lines_of(out):
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def read(path):
    return from_uint8(np.asarray(Image.open(path))[None])


def test_diversity_and_fidelity_are_those_of_the_files(tiny_folder, folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert restore(tiny_folder, folder, out, "--samples", "3") == 0
    said = capsys.readouterr().out
    varieties, fidelities = [], []
    for name in ("p0", "p1"):
        lines = sorted((line for line in lines_of(out) if line["name"] == name), key=lambda line: line["sample"])
        samples = [read(out / line["output"]) for line in lines]
        fidelities += [float(psnr(sample, read(folder / f"{name}.png"))[0]) for sample in samples]
        varieties.append(float(diversity(np.stack(samples))[0]))
        assert [line["psnr_input"] for line in lines] == pytest.approx(fidelities[-3:], rel=1e-5)
        assert lines[-1]["diversity"] == pytest.approx(varieties[-1], rel=1e-5) and "diversity" not in lines[0] | lines[1]
    assert re.search(r"fidelity: PSNR to the input, mean of 6: ([\d.]+) dB", said)[1] == f"{np.mean(fidelities):.2f}"
    assert float(re.search(r"mean of 2: ([\d.]+) \(range", said)[1]) == pytest.approx(np.mean(varieties), abs=1e-4)


def test_a_resumed_run_reports_what_a_whole_one_does(tiny_folder, folder, tmp_path, capsys):
    assert restore(tiny_folder, folder, tmp_path / "whole", "--samples", "3") == 0
    whole = capsys.readouterr().out.splitlines()[2:]
    assert restore(tiny_folder, folder, tmp_path / "cut", "--samples", "3") == 0
    manifest = tmp_path / "cut" / "manifest.jsonl"
    kept = [line for line in manifest.read_text().splitlines() if json.loads(line)["sample"] != 1 and "diversity" not in line]
    manifest.write_text("\n".join(kept) + "\n")
    capsys.readouterr()
    assert restore(tiny_folder, folder, tmp_path / "cut", "--samples", "3") == 0
    assert capsys.readouterr().out.splitlines()[2:] == whole and len(whole) == 2
    assert restore(tiny_folder, folder, tmp_path / "cut", "--samples", "3") == 0
    assert capsys.readouterr().out.splitlines()[2:] == whole


def test_an_input_returned_as_it_is_has_no_number(tiny_folder, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("code_jax.pictures.files.read_mask", lambda *_: np.zeros((8, 8), bool))  # which no file gives
    assert restore(tiny_folder, folder, tmp_path / "out", "--mask", "mask.png") == 0
    assert [line["psnr_input"] for line in lines_of(tmp_path / "out")] == [None, None]
    said = capsys.readouterr().out
    assert "fidelity" not in said and "diversity" not in said
