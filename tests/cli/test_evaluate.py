import contextlib
import csv
import hashlib
import html.parser
import io
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree

import numpy as np
import pytest
from PIL import Image

import code_jax
from code_jax.cli.main import main
from code_jax.corruptions.registry import picture_seed
from code_jax.editing.keys import fold_keys, image_key
from tests.conftest import ONE_LEVEL, tiny_prior

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_cache")]

FAST = [
    "--set",
    "num_steps=1",
    "--set",
    "langevin_steps=2",
    "--set",
    "sdedit.num_steps=2",
    "--batch-size",
    "2",
    "--bootstrap",
    "2",
]
TABLE = ["--methods", "inputs,sdedit,code", "--corruptions", "fog,snow", "--images", "2", *FAST]
GRID = ["--set", "sigma=0.7,3.4", "--severity", "5,1"]


@pytest.fixture(scope="module")
def prior(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prior") / "tiny"
    code_jax.save_prior(tiny_prior(sample_size=(32, 32), **ONE_LEVEL), folder)
    return str(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Clean pictures and tuning pictures."""
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for name, count in (("clean", 4), ("tuning", 2)):
        for i in range(count):
            (root / name / ("Forest", "River")[i % 2]).mkdir(parents=True, exist_ok=True)
            pixels = np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((4, 4, 1))).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / ("Forest", "River")[i % 2] / f"{i}.png")
    return root


def words(prior, folders, out, *argv):
    given = ["evaluate", "--data", str(folders / "clean"), "--tuning", str(folders / "tuning"), "--prior", prior]
    return [*given, "--out", str(out), *TABLE, *map(str, argv)]


@pytest.fixture(scope="module")
def whole(prior, folders, tmp_path_factory):
    """An evaluation that nothing disturbed, and what it printed."""
    out, said = tmp_path_factory.mktemp("whole"), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        assert main(words(prior, folders, out, *GRID)) == 0
    return out, said.getvalue()


def table(out):
    with open(out / "results.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def pictures(folders, corruption):
    """The corrupted and the clean pictures of a corruption."""
    clean = np.stack([np.asarray(Image.open(path)) for path in sorted((folders / "clean").rglob("*.png"))])
    own = int.from_bytes(hashlib.sha256(corruption.encode()).digest()[:8])
    clean = clean[np.random.default_rng([0, own]).permutation(4)[:2]]
    return np.stack([code_jax.corrupt(picture, corruption, 5, picture_seed(0, picture)) for picture in clean]), clean


def restored_by_library(prior, given, sigma, eta):
    loaded = code_jax.load_prior(prior)
    config = code_jax.preset().replace(sigma=sigma)
    config = config.replace(eta=eta, program=code_jax.EditProgram(num_steps=1, langevin_steps=2))
    keys = fold_keys(np.stack([image_key(0, hashlib.sha256(picture.tobytes()).hexdigest(), 0) for picture in given]))
    return code_jax.edit(keys, loaded, code_jax.from_uint8(given), config)


def test_a_cell_is_what_the_library_gives(prior, folders, whole):
    out, _ = whole
    rows = {(row["protocol"], row["method"], row["severity"], row["corruption"]): row for row in table(out)}
    assert len(rows) == 2 * 4 * 2 * 2  # protocols, methods with the clean sources, severities, corruptions
    given, clean = pictures(folders, "snow")
    row = rows["blind", "code", "5", "snow"]
    sigma = float(re.match(r"sigma ([\d.]+)$", row["setting"]).group(1))
    result = restored_by_library(prior, given, sigma, 1.0)
    for name, other in (("source", clean), ("input", given)):
        seen = code_jax.from_uint8(code_jax.to_uint8(result.images))
        expected = np.mean(np.asarray(code_jax.metrics.psnr(seen, code_jax.from_uint8(other))))
        assert float(row[f"psnr_{name}"]) == pytest.approx(expected, rel=1e-4)
    metrics = code_jax.metrics
    apart = metrics.deep_feature_distance(metrics.load_photo_network(), seen, code_jax.from_uint8(clean))
    assert float(row["deep_feature_distance"]) == pytest.approx(np.mean(np.asarray(apart)), rel=1e-3)
    assert int(row["nfe"]) == result.info.nfe[0] and int(row["memory_bytes"]) > 0 and row["lpips_source"] == ""
    inputs = rows["oracle", "inputs", "5", "snow"]
    mse = np.mean((given.astype(float) - clean) ** 2, axis=(1, 2, 3))
    assert float(inputs["psnr_source"]) == pytest.approx(np.mean(10 * np.log10(255**2 / mse)), rel=1e-4)
    assert inputs["psnr_input"] == "inf" and float(rows["oracle", "clean", "5", "fog"]["accuracy"]) in (0, 0.5, 1)
    for severity in "51":
        for corruption in ("fog", "snow"):
            best, chosen = (float(rows[p, "code", severity, corruption]["psnr_source"]) for p in ("oracle", "blind"))
            assert best >= chosen


def test_a_killed_run_goes_on_and_gives_the_same_table(prior, folders, whole, tmp_path):
    out, environment = tmp_path / "out", os.environ | {"JAX_PLATFORMS": "cpu"}
    argv = words(prior, folders, out, *GRID, "--severity", 5)
    process = subprocess.Popen([sys.executable, "-m", "code_jax", *argv], env=environment, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 300
    while len(list(out.glob("records/*.npz"))) < 5 and time.monotonic() < limit and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in out.glob("records/*.npz")}
    assert len(kept) >= 5 and not (out / "results.csv").exists()
    assert main(argv) == 2  # not without --resume
    assert main([*argv, "--resume"]) == 0
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())
    undisturbed = [row for row in table(whole[0]) if row["severity"] == "5"]
    for one, other in zip(table(out), undisturbed, strict=True):
        del one["seconds"], other["seconds"]
        assert one == other
    again = (out / "results.csv").read_bytes()
    assert main([*argv, "--resume"]) == 0
    assert (out / "results.csv").read_bytes() == again  # nothing was measured anew, the seconds included


def markdown_tables(out):
    """The tables' cells, row by row, the head first."""
    found = re.findall(r"(?:^\|.*\|\n)+", (out / "report.md").read_text(encoding="utf-8"), re.M)
    lines = [[line[2:-2].split(" | ") for line in of.splitlines()] for of in found]
    return [[head, *rows] for head, _, *rows in lines]


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.counts, self.text, self.links = [], {}, [], []
        self.tables = []  # cells of those with a caption and no pictures

    def handle_starttag(self, tag, attributes):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.links += [value for name, value in attributes if name in ("src", "href", "xlink:href", "data", "srcset")]
        if tag not in ("meta", "img", "path", "circle"):
            self.open.append(tag)
        if tag == "table":
            self.table = dict(attributes)
        if tag == "tr" and self.tables and "class" not in self.table:
            self.tables[-1].append([])

    def handle_endtag(self, tag):
        if tag not in ("path", "circle"):
            assert self.open.pop() == tag
        if tag == "caption" and "class" not in self.table:
            self.tables.append([])

    def handle_data(self, data):
        self.text.append(data)
        if self.open[-1:] in (["td"], ["th"]) and self.tables and "class" not in self.table:
            self.tables[-1][-1].append(data)


def test_the_report_is_whole_and_needs_nothing_else(prior, whole):
    out, printed = whole
    text = (out / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == [] and "script" not in page.counts and "link" not in page.counts
    assert all(link.startswith("data:image/png;base64,") for link in page.links) and len(page.links) == 2 * 2 * 4
    assert not re.findall(r"url\(|@import|(?:src|href)=[\"']?http", text)
    said = " ".join(page.text)
    for words in (
        "Table 1 (oracle, severity 5)",
        "Table 1 (blind, severity 5)",
        "Protocol: blind",
        "LPIPS-source ↓ is not measured",
    ):
        assert words in said
    assert "code-jax evaluate --data" in said and "code_jax " + code_jax.__version__ in said and "SHA-256" in said
    assert page.tables and page.tables == markdown_tables(out)
    # realism against fidelity; of each protocol that of its rows, and three curves over severity
    assert page.counts["svg"] == len(list(out.glob("*.svg"))) == len(list(out.glob("*.png"))) == 1 + 2 * 4
    for path in out.glob("*.png"):
        with Image.open(path) as picture:
            assert picture.size[0] >= 1440, path
    assert "SDEdit" in printed and "blind" in printed


def test_the_markdown_names_figures_that_stand_alone_and_show_no_picture(whole):
    out, _ = whole
    text = (out / "report.md").read_text(encoding="utf-8")
    figures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert sorted(figures) == sorted(path.name for path in out.glob("*.svg")) and "<" not in text and "base64" not in text
    for name in figures:
        drawing = xml.etree.ElementTree.parse(out / name).getroot()
        assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
        assert {part.tag.rpartition("}")[2] for part in drawing.iter()} == {"svg", "title", "rect", "text", "path", "circle"}
    page = (out / "report.html").read_text(encoding="utf-8")
    for fact in ("command", "seed", "versions", "prior", "Fréchet floor"):
        (value,) = re.findall(rf"^- {fact}: `(.+)`$", text, re.M)
        assert f"<code>{html.escape(value)}</code>" in page


def test_kept_pictures_are_measured_anew_without_a_rerun(prior, folders, tmp_path, monkeypatch):
    argv = words(prior, folders, tmp_path, "--protocol", "oracle", "--keep", "--features", "landcover")
    assert main(argv) == 0
    kept = {(row["method"], row["corruption"]): row["psnr_source"] for row in table(tmp_path)}
    monkeypatch.setattr("code_jax.evaluation.piece.restored", lambda *_: pytest.fail("the pictures were kept"))
    monkeypatch.setattr("code_jax.evaluation.workshop.COLUMNS", ("a_new_column",))  # as another program's records would have
    assert main([*argv, "--resume"]) == 0
    assert {(row["method"], row["corruption"]): row["psnr_source"] for row in table(tmp_path)} == kept


def test_official_and_the_curve_over_eta_have_their_place(prior, folders, tmp_path):
    names = "official,official-last_step_up,official-silent_last_step,official+cbc,official-clip_by_index"
    argv = words(prior, folders, tmp_path, "--methods", f"{names},code", "--eta-curve", "0.5,none")
    few = ["official.num_steps=10", "official.depth=1", "official.langevin_steps=4", "code.eta=0.2", "code.sigma=0.72"]
    argv += ["--corruptions", "snow,masking_random_color", "--protocol", "blind", *(f"--set={value}" for value in few)]
    assert main(argv) == 0
    rows = {(row["method"], row["corruption"]): row for row in table(tmp_path)}
    plain, other = rows["official", "snow"], rows["official-last_step_up", "snow"]
    assert plain["nfe"] == str(9 + 8 + 9) and plain["psnr_source"] != other["psnr_source"]
    lines = next(of for of in markdown_tables(tmp_path) if of[0][1] == "against")[1:]
    changes = {row[0]: row for row in lines if row[0] != "CODE"}
    assert next(row[1] for row in lines if row[0] == "CODE") == "published program"
    cbc = "published program with CBC"
    pairs = (("published program", "last_step_up"), ("published program", "silent_last_step"), (cbc, "clip_by_index"))
    without = [f"{base} without {quirk}" for base, quirk in pairs]
    assert list(changes) == [*without[:2], cbc, without[2]]
    between = [float(rows["official-last_step_up", name]["psnr_source"]) - float(rows["official", name]["psnr_source"])
               for name in ("snow", "masking_random_color")]  # fmt: skip
    assert changes[without[0]][2].startswith(f"{np.mean(between):+.3g} [")
    assert changes[without[1]][-1] == "-4" and changes[without[2]][1] == cbc
    assert (
        plain["precision"] == "" and rows["code", "snow"]["precision"] == ""
    )  # one does not clip, the other is corrupted throughout
    masked = rows["code", "masking_random_color"]
    given, clean = pictures(folders, "masking_random_color")
    found = restored_by_library(prior, given, 0.72, 0.2).info.clipped_pixels
    truth = (np.abs(given.astype(int) - clean) > 1).any(axis=-1)
    hits = (np.asarray(found) & truth).sum(axis=(1, 2))
    assert 0 < float(masked["recall"]) == pytest.approx(np.mean(hits / truth.sum(axis=(1, 2))), rel=1e-4)
    assert float(masked["precision"]) == pytest.approx(np.mean(hits / np.asarray(found).sum(axis=(1, 2))), rel=1e-4)
    assert "of CODE over η" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--data", "no/such/place"], "'no/such/place' does not exist"),
        (["--methods", "cod"], "row 'cod' is unknown"),
        (["--corruptions", "fgo"], "the nearest is 'fog'"),
        (["--severity", "6"], "--severity is 6"),
        (["--severity", "x"], "'x' is not a whole number"),
        (["--protocol", "psychic"], "protocol 'psychic' is unknown"),
        (["--images", "0"], "--images is 0"),
        (["--bootstrap", "-1"], "--bootstrap is -1"),
        (["--set", "depth=0.2,1.5"], "depth is [1.5]"),
        (["--set", "eta=0"], "eta is 0.0"),
        (["--set", "code.sigmo=1"], "did you mean sigma"),
        (["--set", "ddim.langevin_steps=1", "--methods", "ddim"], "langevin_steps is no setting of the method ddim"),
        (["--tuning-held-out", "9", "--set", "sigma=0.7,3.4"], "9 pictures cannot be held out of 2"),
        (["--corruptions", "fog", "--set", "sigma=0.7,3.4"], "all of one; add one, such as gaussian_noise"),
        (["--features", "dreams"], "features 'dreams' are unknown"),
        (["--features", "inception", "--weights", "/no/weights"], "is absent: download it"),
        (["--eta-curve", "1,2", "--methods", "sdedit"], "the curve over eta is of a method that clips"),
        (["--set", "preset=fog"], "preset 'fog' is unknown"),
    ],
)
def test_a_wrong_value_is_one_line_and_status_2(prior, folders, tmp_path, capsys, argv, named):
    assert main(words(prior, folders, tmp_path / "out", *argv)) == 2
    shown = capsys.readouterr().err
    assert named in shown and shown.startswith("code-jax: error: ") and shown.count("\n") == 1


def test_blind_grids_need_tuning_pictures_and_priors_a_size(prior, tiny_folder, folders, tmp_path, capsys):
    argv = [word for word in words(prior, folders, tmp_path, "--set", "sigma=0.7,3.4")]
    at = argv.index("--tuning")
    assert main(argv[:at] + argv[at + 2 :]) == 2
    assert "give --tuning" in capsys.readouterr().err
    assert main(words(tiny_folder, folders, tmp_path)) == 2
    assert "pictures are 8x8x3" in capsys.readouterr().err
