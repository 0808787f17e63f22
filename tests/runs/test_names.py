"""Which files are found, what their results are called, and what becomes of files that are no pictures."""

import os
import shutil
import struct
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from code_jax.errors import UserError
from code_jax.runs.sources import find_sources, without_partner
from tests.runs.corpus import chunk, corpus, encoded, scene
from tests.runs.results import assert_whole, files, lines

NAMES = ["with space.png", "new\nline.png", "tab\t.png", "emoji 🛰️.png", "'quote\".png", "-dash.png", "日本語.png", "%s{}.png"]


def bad_files():
    """Files that are no whole pictures, by name, and words of the reason that each must get."""
    whole = encoded(scene("RGB", (200, 100)), "JPEG")
    png = encoded(scene(), "PNG")
    empty_header = struct.pack(">IIBBBBB", 0, 5, 8, 2, 0, 0, 0)
    bomb = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes(3750)) * 30_000)
    start, end = b"\x89PNG\r\n\x1a\n", chunk(b"IEND", b"")
    wrong_sum = bytearray(png)
    wrong_sum[png.index(b"IDAT") + 30] ^= 1
    return {
        "empty.png": (b"", "the file is empty"),
        "text.jpg": (b"To whom it may concern\n" * 9, "not a picture"),
        "truncated.jpg": (whole[: len(whole) // 2], "truncated"),
        "truncated.png": (png[: len(png) // 2], ""),
        "no-end.png": (png[:-12], ""),
        "wrong-sum.png": (bytes(wrong_sum), ""),
        "zero-sized.png": (start + chunk(b"IHDR", empty_header) + chunk(b"IDAT", zlib.compress(b"")) + end, ""),
        "bomb.png": (start + chunk(b"IHDR", bomb) + chunk(b"IDAT", rows) + end, "900 million pixels"),
    }


def test_strange_names_and_bad_files_beside_good_ones(tmp_path, restore, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    longest = "ü" * 125 + "x.png"  # 255 bytes
    assert len(os.fsencode(longest)) == 255
    bytes_alone = os.fsdecode(b"\xff\xfe.png")  # no UTF-8
    for i, name in enumerate([*NAMES, longest, bytes_alone, "sub/below.png"]):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)).save(folder / name)
    (folder / "mislabelled.jpg").write_bytes((folder / NAMES[0]).read_bytes())
    for name, (content, _) in bad_files().items():
        (folder / name).write_bytes(content)
    (folder / "sub" / "round").symlink_to(folder, target_is_directory=True)
    (folder / "itself.png").symlink_to(folder / "itself.png")
    (folder / "nowhere.png").symlink_to(folder / "absent.png")
    os.mkfifo(folder / "pipe.png")

    good = len(NAMES) + 4
    bad = {name: reason for name, (_, reason) in bad_files().items()}
    bad |= {"round": "leads back", "itself.png": "symbolic links", "nowhere.png": "No such file", "pipe.png": "no regular file"}
    assert restore(folder, "--out", out) == 1
    shown = capsys.readouterr()
    assert f"restored {good}, failed {len(bad)}" in shown.out and "Traceback" not in shown.err
    assert "mislabelled.jpg': it is PNG, whatever its name says" in shown.err
    for name, reason in bad.items():
        told = [line for line in shown.err.splitlines() if line.startswith("code-jax: failed ") and f"{name}': " in line]
        assert len(told) == 1 and reason in told[0], (name, told)
    assert assert_whole(out) == good and len(lines(out)) == good + len(bad)
    written = files(out)
    assert written["mislabelled.png"] == written[NAMES[0]] and "sub/below.png" in written
    for name in NAMES:
        assert name in written
    for line in lines(out):
        assert os.path.lexists(line["input"]) and Path(line["input"]).is_relative_to(folder)

    assert restore(folder, "--out", out) == 1  # every name is found again
    assert f"restored 0, done before {good}, failed {len(bad)}" in capsys.readouterr().out
    assert files(out) == written


def names_of(sources, out):
    return {str(source.path): source.name for source in sources}


def test_no_two_inputs_share_a_result(tmp_path, restore):
    """Endings, case, samples' numbers, the contact sheet's name, the same folder twice, long names that differ at their end."""
    folder, out = tmp_path / "in", tmp_path / "out"
    long = "l" * 245
    names = [
        "a.jpg",
        "a.png",
        "A.bmp",
        "a_1.png",
        "a_2.png",
        "contact_sheet.png",
        "contact_sheet_3.png",
        "x/a.jpg",
        "x/a.png",
        "a.jpg.png",
    ]
    names += [f"{long}1.png", f"{long}2.png"]
    kinds = {".jpg": "JPEG", ".png": "PNG", ".bmp": "BMP"}
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (20 * i, 0, 0)).save(folder / name, kinds[Path(name).suffix])
    sources = find_sources([folder, folder / "a.png", folder / "x"], out)
    assert len(sources) == len(names) + 3
    folded = Counter(name.casefold() for name in (source.name for source in sources))
    assert set(folded.values()) == {1}
    assert restore(folder, folder / "a.png", folder / "x", "--out", out, "--samples", "2", "--compare") == 0
    assert len(files(out)) == 2 * len(sources) + 1
    with Image.open(out / "contact_sheet.png") as sheet:
        assert sheet.width > 8


def test_many_inputs_of_one_name_take_linear_time(tmp_path):
    """Counted in lookups, not in seconds: each name is asked for a few times, however many are equal."""
    Image.new("RGB", (8, 8)).save(tmp_path / "image.png")
    counts = []
    for number in (300, 3000):
        calls = 0
        fold = Path.as_posix

        def counted(self, fold=fold):
            nonlocal calls
            calls += 1
            return fold(self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "as_posix", counted)
            sources = find_sources([tmp_path / "image.png"] * number, tmp_path / "out")
        assert len({source.name for source in sources}) == number
        counts.append(calls / number)
    assert counts[1] < 1.1 * counts[0]


def test_a_name_that_was_given_is_kept_when_others_come_and_go(tmp_path, restore, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(corpus()["RGB.jpg"])
    assert restore(folder, "--out", out) == 0
    assert list(files(out)) == ["a.png"]
    (folder / "a.bmp").write_bytes(corpus()["RGB.bmp"])
    assert restore(folder, "--out", out) == 0
    assert "restored 1, done before 1" in capsys.readouterr().out
    assert sorted(files(out)) == ["a.bmp.png", "a.png"]
    assert names_of(find_sources([folder], out, names={str(folder / "a.jpg"): "a"}), out)[str(folder / "a.jpg")] == "a"


def test_inputs_and_clean_sources_are_never_overwritten(tmp_path, restore, capsys):
    folder = tmp_path / "in"
    (folder / "clean").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    Image.new("RGB", (8, 8)).save(folder / "b.JPEG")
    for name in ("a.png", "b.JPEG"):
        shutil.copy(folder / name, folder / "clean" / name)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    os.symlink(folder, tmp_path / "link")
    for argv in (
        (folder / "a.png", "--out", folder),
        (folder / "b.JPEG", "--out", folder, "--format", "same"),
        (folder / "a.png", "--out", tmp_path / "link"),
        (folder, "--out", folder),
        (folder, "--out", folder / "clean"),
        (folder, "--out", folder / "clean", "--format", "same"),
    ):
        assert restore(*argv) == 2, argv
        shown = capsys.readouterr().err
        assert shown.count("\n") == 1 and ("would overwrite the input" in shown or "is an input folder" in shown)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert restore(folder, "--out", folder / "results") == 0  # inside it, and passed over the next time
    assert restore(folder, "--out", folder / "results") == 0
    assert sorted(files(folder / "results")) == ["a.png", "b.png"]


def test_a_folder_that_cannot_be_searched_is_named(tmp_path, monkeypatch):
    """By the system's call: root may search any folder."""
    (tmp_path / "in" / "locked").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "in" / "a.png")
    iterdir = Path.iterdir

    def refuse(self):
        if self.name == "locked":
            raise PermissionError(13, "Permission denied")
        return iterdir(self)

    monkeypatch.setattr(Path, "iterdir", refuse)
    problems = {source.path.name: source.problem for source in find_sources([tmp_path / "in"], tmp_path / "out")}
    assert problems == {"a.png": None, "locked": "Permission denied"}
    (only,) = find_sources([tmp_path / "in" / "locked"], tmp_path / "out")
    assert only.problem == "Permission denied"
    with pytest.raises(UserError, match="does not exist"):
        find_sources([tmp_path / "in" / "none"], tmp_path / "out")


def test_a_mistake_in_the_inputs_names_what_is_there_instead(tmp_path, restore, capsys):
    for name in ("scan.pdf", "more/a.CR2", "more/b.CR2"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    (tmp_path / "photo.png").touch()
    for argv, said in (
        ([tmp_path / "in", "--out", tmp_path / "out"], "there is 2 .cr2, 1 .pdf; pictures end in .apng, "),
        ([tmp_path / "phtoo.png", "--out", tmp_path / "out"], "does not exist (did you mean photo.png?)"),
        ([tmp_path / "none" / "a.png", "--out", tmp_path / "out"], f"its folder {str(tmp_path / 'none')!r} cannot be read"),
        ([tmp_path / "photo.png", "--out", tmp_path / "photo.png"], "photo.png' is a file; choose a folder"),
        ([tmp_path / "photo.png", "--out", tmp_path / "out", "--preset", "locl"], "did you mean local?"),
    ):
        assert restore(*argv) == 2
        shown = capsys.readouterr().err
        assert said in shown and shown.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--quality", "0"), "--quality is 0"),
        (("--quality", "101"), "--quality is 101"),
        (("--suffix", "a/b"), "without a slash"),
        (("--format", "gif"), "gif"),
        (("--fit", "stretch"), "stretch"),
        (("--animated", "all"), "all"),
    ],
)
def test_options_that_cannot_be_are_one_line(options, named, pictures, tmp_path, restore, capsys):
    assert restore(pictures, "--out", tmp_path / "out", *options) == 2
    shown = capsys.readouterr().err
    assert named in shown and shown.count("\n") == 1 and not (tmp_path / "out").exists()


def test_a_sheet_beside_a_manifest_is_no_picture_to_restore(tmp_path):
    for name in ("a.png", "contact_sheet.png", "contact_sheet_2.png", "sub/contact_sheet.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "in" / name)
    found = lambda: [source.path.relative_to(tmp_path / "in").as_posix() for source in find_sources([tmp_path / "in"], tmp_path)]  # noqa: E731
    assert found() == ["a.png", "contact_sheet.png", "contact_sheet_2.png", "sub/contact_sheet.png"]
    (tmp_path / "in" / "manifest.jsonl").touch()
    assert found() == ["a.png", "sub/contact_sheet.png"]


def test_clean_sources_are_matched_by_name_whatever_their_ending_and_case(tmp_path):
    for name in ("in/IMG.JPG", "in/sub/b.png", "in/c.png", "in/d.png", "in/e.png",
                 "clean/img.png", "clean/sub/B.tif", "clean/c.png", "clean/C.webp", "clean/e.jpg", "clean/E.png"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    sources = find_sources([tmp_path / "in"], tmp_path / "out", tmp_path / "clean")
    found = {
        source.path.name: source.reference and source.reference.relative_to(tmp_path / "clean").as_posix() for source in sources
    }
    assert found == {
        "IMG.JPG": "img.png",
        "b.png": "sub/B.tif",
        "c.png": "c.png",
        "d.png": None,
        "e.png": None,
    }  # of two, neither
    assert all(repr(str(tmp_path / "in" / name)) in without_partner(sources) for name in ("d.png", "e.png"))
    assert without_partner([source for source in sources if source.reference]) == ""
    (alone,) = find_sources([tmp_path / "in" / "IMG.JPG"], tmp_path / "out", tmp_path / "clean")
    assert alone.reference == tmp_path / "clean" / "img.png"
    with pytest.raises(UserError, match="is no folder"):
        find_sources([tmp_path / "in"], tmp_path / "out", tmp_path / "absent")


def test_clean_sources_that_match_no_input_are_named(pictures, tmp_path, restore, capsys):
    (tmp_path / "clean").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "clean" / "of another name.png")
    assert restore(pictures, "--out", tmp_path / "out", "--reference", tmp_path / "clean") == 0
    shown = capsys.readouterr()
    assert "PSNR to the clean source" not in shown.out
    assert f"p02.png' and 7 more in {str(tmp_path / 'clean')!r}" in shown.err
