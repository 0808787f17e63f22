"""The sheet and the page of a run say of each picture what its files and the manifest say."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from code_jax.runs import comparison


def scene(height, width, seed):
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path):
    """Damaged pictures of several proportions with their clean sources."""
    for name, shape in (("a", (30, 20)), ("b", (12, 33)), ("c", (8, 8))):
        clean = scene(*shape, seed=len(name) + shape[0])
        for place, picture in (("in/clean", clean), ("in", clean.point(lambda level: level // 2))):
            (tmp_path / place).mkdir(parents=True, exist_ok=True)
            picture.save(tmp_path / place / f"{name}.png")
    return tmp_path / "in"


def read(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


@pytest.mark.parametrize("fit", ["tile", "resize"])
def test_the_sheet_states_the_pixels_that_were_restored_and_shows_true_proportions(fit, folder, tmp_path, restore, monkeypatch):
    drawn = []

    def spied(columns, lines, foot):
        drawn.append((columns, list(lines), foot))
        return iter(())

    monkeypatch.setattr(comparison, "contact_sheets", spied)
    out = tmp_path / "out"
    assert restore(folder, "--out", out, "--fit", fit, "--compare") == 0
    columns, lines, foot = drawn[0]
    assert columns == ["input", "result", "clean source"] and f"fit {fit}" in foot and "seed 0" in foot
    told = {line["input"]: line["psnr"] for line in map(json.loads, (out / "manifest.jsonl").read_text().splitlines())}
    for name, pictures, captions in lines:
        given, result, clean = (read(path / name) for path in (folder, out, folder / "clean"))
        expected = told[str(folder / name)]
        if fit == "tile" or given.shape == (8, 8, 3):
            assert expected == pytest.approx([psnr(given, clean), psnr(result, clean)])
        assert captions[:2] == [f"{value:.1f} dB to the clean source" for value in expected]
        assert len({picture.shape for picture in pictures}) == 1
        height, width = pictures[0].shape[:2]
        assert width / height == pytest.approx(given.shape[1] / given.shape[0], rel=0.1)


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.referred = [], []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        self.referred += [value for name, value in attributes if name in ("src", "href")]


def test_the_report_is_one_file_with_a_slider_for_each_result_and_refers_to_nothing_outside(folder, tmp_path, restore):
    out = tmp_path / "out"
    assert restore(folder, "--out", out, "--fit", "tile", "--report", "--samples", "2") == 0
    assert (out / "contact_sheet.png").is_file()
    page = _Page()
    text = (out / "report.html").read_text()
    page.feed(text)
    sliders = [attributes for tag, attributes in page.found if tag == "input"]
    assert len(sliders) == 6 and all(slider["aria-label"] and slider["type"] == "range" for slider in sliders)
    assert all(each.startswith("data:image/png;base64,") for each in page.referred) and "http" not in text
    shown = [read(io.BytesIO(base64.b64decode(each.partition(",")[2]))) for each in page.referred]
    for k, name in enumerate("abc"):
        given, *results = map(read, (folder / f"{name}.png", out / f"{name}_1.png", out / f"{name}_2.png"))
        for sample in (0, 1):
            np.testing.assert_array_equal(shown[4 * k + 2 * sample], given)
            np.testing.assert_array_equal(shown[4 * k + 2 * sample + 1], results[sample])
    assert len(re.findall(r"sample 2 <small>", text)) == 3 and text.count("dB to the clean source") == 6


def test_a_folder_with_someone_elses_report_is_refused(folder, tmp_path, restore, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.html").write_text("mine")
    assert restore(folder, "--out", tmp_path / "out", "--report") == 2
    assert "report.html' is there already" in capsys.readouterr().err
    assert (tmp_path / "out" / "report.html").read_text() == "mine"


def test_names_are_escaped_on_the_page(tmp_path, restore):
    scene(8, 8, 0).save(tmp_path / "<script>&.png")
    assert restore(tmp_path / "<script>&.png", "--out", tmp_path / "out", "--report") == 0
    text = (tmp_path / "out" / "report.html").read_text()
    assert "<script" not in text and "&lt;script&gt;&amp;.png" in text


def test_what_failed_is_named_on_the_page_with_its_reason(folder, tmp_path, restore):
    (folder / "d<.png").write_bytes(b"no picture")
    for _ in range(2):  # also when it failed in an earlier run
        assert restore(folder, "--out", tmp_path / "out", "--report") == 1
        (named,) = re.findall("<li>(.*)</li>", (tmp_path / "out" / "report.html").read_text())
        assert named.startswith("d&lt;.png: ") and "picture" in named
        assert (tmp_path / "out" / "report.html").read_text().count("<figure") == 6
