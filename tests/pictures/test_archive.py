"""Zip archives: good entries are read, bad ones named, and none asks for more memory than a picture may."""

import os
import stat
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import pytest

from code_jax.errors import UserError
from code_jax.evaluation.pool import read_pool
from code_jax.pictures.archive import MOST_BYTES
from code_jax.pictures.collection import read_collection
from code_jax.pictures.decode import Picture, PictureError
from code_jax.training.data import read_pictures
from tests.runs.corpus import encoded, exif, scene

PNG = encoded(scene(), "PNG")


def entry(name, mode=0, **attributes):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    return info


@pytest.fixture
def archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("good/a.png", PNG)
        file.writestr("good/turned.jpg", encoded(scene(), "JPEG", exif=exif(6)))
        file.writestr(entry("good/file.png", stat.S_IFREG | 0o644), PNG)
        file.writestr("read me.txt", "no picture")
        file.writestr("__MACOSX/good/._a.png", "no picture")
        file.writestr("../up.png", PNG)
        file.writestr("/absolute.png", PNG)
        file.writestr("C:\\drive.png", PNG)
        file.writestr("back\\..\\..\\slash.png", PNG)
        file.writestr("folder.png/", "")
        file.writestr(entry("link.png", stat.S_IFLNK | 0o777), "good/a.png")
        file.writestr(entry("squeezed.png", compress_type=zipfile.ZIP_LZMA), PNG)
        file.writestr(entry("bomb.png", compress_type=zipfile.ZIP_DEFLATED), bytes(2**24))
        file.writestr("text.png", "no picture")
        file.writestr("flipped.png", b"here" + PNG)
        file.writestr("locked.png", PNG)
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[data.index(b"here")] ^= 1
    central = data.rindex(b"locked.png") - 46
    data[central + 8] |= 1  # the flag of encryption
    (tmp_path / "a.zip").write_bytes(data)
    return tmp_path / "a.zip"


REASONS = {
    "../up.png": "leads out", "/absolute.png": "leads out", "C:\\drive.png": "leads out", "back\\..\\..\\slash.png": "leads out",
    "link.png": "a link", "folder.png/": "a folder", "squeezed.png": "compressed in a way", "bomb.png": "200 times its size",
    "text.png": "not a picture", "flipped.png": "its entry is damaged: Bad CRC", "locked.png": "encrypted",
}  # fmt: skip


def test_good_entries_are_read_and_bad_ones_named(archive, capsys):
    found = dict(read_collection(archive))
    good = {name for name, picture in found.items() if isinstance(picture, Picture)}
    assert good == {"good/a.png", "good/turned.jpg", "good/file.png"}
    assert found.keys() - good == REASONS.keys()
    for name, reason in REASONS.items():
        assert isinstance(found[name], PictureError) and reason in str(found[name]), name
    np.testing.assert_array_equal(found["good/a.png"].pixels, np.asarray(scene()))
    assert found["good/turned.jpg"].pixels.shape == (37, 29, 3)
    names, pictures = read_pictures(archive, 16)
    np.testing.assert_array_equal(read_pool(archive, 16, ["good"]).pixels, pictures)
    shown = capsys.readouterr().err
    assert sorted(names) == sorted(good) and shown.count("skipped") == 2 * len(REASONS) and shown.replace("\n", "").isprintable()


def test_an_archive_that_unpacks_to_far_more_than_it_is_is_refused_in_little_memory(tmp_path):
    """Entries that share their data (Fifield 2019): each is bounded, all together are not."""
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = squeezer.compress(bytes(2**24)) + squeezer.flush()
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w") as file:
        for i in range(100):
            file.writestr(entry(f"{i}.png", compress_type=zipfile.ZIP_DEFLATED), bytes(2**24))
    assert len(block) * 200 < 2**24
    code = f"""
import resource
from code_jax.errors import UserError
from code_jax.training.data import read_pictures
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_pictures({str(tmp_path / "bomb.zip")!r}, 8)
except UserError as error:
    assert "more than 200 times its size" in str(error), error
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_no_archive_is_one_line(tmp_path, archive):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text.zip").write_text("no archive")
    (tmp_path / "link.zip").symlink_to("nowhere")
    (tmp_path / "cut.zip").write_bytes(b"PK\3\4" + archive.read_bytes()[-22:])
    for name in ("pipe", "text.zip", "link.zip", "cut.zip", "absent.zip"):
        with pytest.raises(UserError, match=name) as refusal:
            read_pictures(tmp_path / name, 8)
        assert "\n" not in str(refusal.value)
    assert MOST_BYTES < 2**30


def test_broken_archives_end_in_a_line_or_in_names(tmp_path, archive, capsys):
    data, rng = archive.read_bytes(), np.random.default_rng(0)
    start = data.index(b"PK\1\2")
    for _ in range(300):
        broken = bytearray(data)
        for place in rng.integers(start * (rng.random() < 0.7), len(data), rng.integers(1, 6)):
            broken[place] = rng.integers(256)
        (tmp_path / "b.zip").write_bytes(broken)
        try:
            read_pictures(tmp_path / "b.zip", 8)
        except UserError as error:
            assert str(error).isprintable()
        shown = capsys.readouterr().err
        assert all(line.isprintable() for line in shown.splitlines())
