"""The door: what is let in, what is refused by name, and that nothing else of Pillow's is ever reached."""

import io
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from code_jax.pictures.decode import decode_picture
from code_jax.pictures.files import open_picture, read_picture
from code_jax.pictures.loading import MOST_PIXELS, PictureError, load
from tests.runs.corpus import chunk, deep_colour_png, deep_plane, encoded, scene, tiff

PNG = encoded(scene(), "PNG")


def with_chunk(name, content, *, checksum=True):
    """The scene's PNG with a chunk after its header."""
    extra = chunk(name, content)
    return PNG[:33] + (extra if checksum else extra[:-4] + b"\0\0\0\0") + PNG[33:]


@pytest.mark.parametrize(("name", "content"), [(b"tEXt", b"Title\0x"), (b"iCCP", b"x\0\0broken"), (b"pHYs", bytes(9))])
def test_side_data_with_a_wrong_checksum_cost_no_pixel(name, content):
    picture = decode_picture(with_chunk(name, content, checksum=False), "a.png")
    assert picture.warnings == (f"its {name.decode()} data are damaged and left out",)
    np.testing.assert_array_equal(picture.pixels, np.asarray(scene()))


def test_pixels_with_a_wrong_checksum_are_refused_whatever_stands_beside_them():
    place = PNG.index(b"IDAT") + 30
    broken = PNG[:place] + bytes([PNG[place] ^ 1]) + PNG[place + 1 :]
    for data in (
        broken,
        broken[:33] + chunk(b"tEXt", b"a\0b")[:-4] + bytes(4) + broken[33:],
        PNG[:33] + b"\0\0\xff\xff" + PNG[33:],
    ):
        with pytest.raises(PictureError):
            decode_picture(data, "a.png")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (tiff(np.zeros((5, 6, 13), np.uint16)), "a TIFF of 13 channels of 16-bit integers"),
        (tiff(np.zeros((5, 6, 3), np.float32)), "a TIFF of 3 channels of 32-bit floats"),
        (tiff(np.zeros((5, 6, 1), np.float64)), "a TIFF of 1 channel of 64-bit floats"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1miafavif", "AVIF"),
        (b"\xff\x0a" + bytes(20), "JPEG XL"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "PostScript"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\xd7\xcd\xc6\x9a" + bytes(40), "WMF"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "begins as JPEG does"),
        (PNG[:200], "damaged or cut short"),
    ],
)
@pytest.mark.parametrize("name", ["a.png", "a.eps", "a.wmf", "a.tif"])
def test_what_is_not_read_is_refused_by_what_it_is(data, said, name, caplog):
    with pytest.raises(PictureError) as refusal:
        decode_picture(data, name)
    assert said in str(refusal.value) and "\n" not in str(refusal.value)
    if "convert" not in str(refusal.value):
        assert "damaged" in str(refusal.value)
    assert not caplog.records  # what Pillow logs is in the line


@pytest.mark.parametrize(
    "error", [AssertionError(), IndexError("list index out of range"), struct.error("unpack requires"), MemoryError()]
)
def test_a_decoders_own_words_are_turned_into_ours(error, monkeypatch):
    def fail(self):
        raise error

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load_prepare", fail)
    with pytest.raises(PictureError, match=r"^it is damaged or cut short$|^it needs more memory than there is$"):
        decode_picture(PNG, "a.png")


def test_too_many_pixels_are_refused_before_they_are_decoded(monkeypatch):
    side = int(MOST_PIXELS**0.5) + 1
    header = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
    start, end = PNG[:8] + chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # whatever a caller has set
    with pytest.raises(PictureError, match="it has 121 million pixels; at most 121 million are read"):
        decode_picture(start + end)
    with pytest.raises(PictureError, match="at most 0 million"):
        decode_picture(PNG, most_pixels=1000)


def test_scans_are_bounded_as_pixels_are(monkeypatch):
    """A progressive JPEG of a few kilobytes may have a thousand scans, each over all of its pixels."""
    data = encoded(scene(size=(400, 300)), "JPEG", progressive=True)
    place, most = data.rindex(b"\xff\xda"), 20 * MOST_PIXELS // (400 * 300)
    few, many = (data[:place] + count * data[place:-2] + data[-2:] for count in (100, most))
    assert decode_picture(few).pixels.shape == (300, 400, 3)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
    with pytest.raises(PictureError, match=f"it has {many.count(data[place : place + 2])} scans of 400x300 pixels"):
        decode_picture(many)


def test_a_tiffs_thumbnail_is_passed_over():
    """Of two pages, the first marked as a reduced copy by NewSubfileType; and where all are, the first is taken."""
    small, large = scene(size=(10, 8)), scene()
    for marks, size in (((1, 0), (29, 37)), ((1, 1), (8, 10)), ((0, 1), (8, 10))):
        pages = [encoded(page, "TIFF", tiffinfo={254: mark}) for page, mark in zip((small, large), marks, strict=True)]
        frames = [Image.open(io.BytesIO(page)) for page in pages]
        file = io.BytesIO()
        writer = __import__("PIL.TiffImagePlugin", fromlist=["AppendingTiffWriter"]).AppendingTiffWriter(file, new=True)
        for frame, mark in zip(frames, marks, strict=True):
            frame.save(writer, "TIFF", tiffinfo={254: mark})
            writer.newFrame()
        picture = decode_picture(file.getvalue(), "a.tif")
        assert picture.pixels.shape[:2] == size
        if marks == (1, 0):
            assert picture.warnings == ("its first page is a thumbnail; page 2 is taken",)
            assert decode_picture(file.getvalue(), "a.tif", animated="refuse").pixels.shape[:2] == size


def test_sixteen_bits_of_a_tiffs_colours_are_reduced_and_five_six_five_are_not_sixteen():
    deep = np.stack([deep_plane(), deep_plane()[::-1], deep_plane()[:, ::-1]], axis=2)
    picture = decode_picture(tiff(deep), "a.tif")
    assert picture.warnings == ("its 16 bits a colour are reduced to 8",)
    np.testing.assert_array_equal(picture.pixels, decode_picture(deep_colour_png(deep), "a.png").pixels)
    header = struct.pack(
        "<2sIHHIIiiHHIIiiII3I", b"BM", 66 + 2 * 4, 0, 0, 66, 40, 2, 2, 1, 16, 3, 8, 0, 0, 0, 0, 0xF800, 0x7E0, 0x1F
    )
    packed = decode_picture(header + struct.pack("<4H", 0xF800, 0x07E0, 0x001F, 0xFFFF), "a.bmp")  # from the bottom up
    assert not packed.warnings
    np.testing.assert_array_equal(packed.pixels, [[[0, 0, 255], [255, 255, 255]], [[255, 0, 0], [0, 255, 0]]])


def test_values_that_are_stretched_and_a_gamma_that_is_passed_over_are_told():
    nodata = np.linspace(0, 1, 30, dtype=np.float32).reshape(5, 6, 1)
    nodata[0, 0] = -9999
    assert decode_picture(tiff(nodata), "a.tif").warnings == ("its values, from -9999 to 1, are stretched to the whole range",)
    flat = decode_picture(tiff(np.full((5, 6, 1), -5, np.float32)), "a.tif")
    assert np.all(flat.pixels == 0)
    for gamma, warned in ((100_000, True), (45_455, False)):
        assert bool(decode_picture(with_chunk(b"gAMA", struct.pack(">I", gamma))).warnings) == warned


def test_a_large_picture_is_converted_in_strips_as_a_small_one_is_whole(monkeypatch):
    pictures = {mode: scene(mode) for mode in ("RGBA", "LA", "P", "PA", "CMYK", "LAB", "1")}
    whole = {
        mode: decode_picture(encoded(picture, "TIFF"), "a.tif") for mode, picture in pictures.items() if mode not in ("PA", "P")
    }
    whole["P"] = decode_picture(encoded(pictures["P"], "PNG", transparency=3))
    monkeypatch.setattr("code_jax.pictures.decode._STRIP", 100)
    for mode, expected in whole.items():
        data = encoded(pictures[mode], "PNG", transparency=3) if mode == "P" else encoded(pictures[mode], "TIFF")
        found = decode_picture(data)
        np.testing.assert_array_equal(found.pixels, expected.pixels)
        assert (found.alpha is None) == (expected.alpha is None)
        if found.alpha is not None:
            np.testing.assert_array_equal(found.alpha, expected.alpha)


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "pipe.png", tmp_path / "folder.png", "/dev/zero", "/dev/null"):
        with pytest.raises(PictureError, match="no regular file"):
            open_picture(path)
    with pytest.raises(PictureError, match="No such file"):
        open_picture(tmp_path / "absent.png")
    with pytest.raises(PictureError, match="null"):
        open_picture("a\0.png")
    with open(tmp_path / "sparse.png", "wb") as file:
        file.truncate(2**31)
    with pytest.raises(PictureError, match="larger than 1 GiB"):
        open_picture(tmp_path / "sparse.png")
    if os.path.exists("/proc/self/pagemap"):  # regular and endless, with a size of 0
        with pytest.raises(PictureError, match="the file is empty"):
            open_picture("/proc/self/pagemap")


def test_every_command_that_reads_a_picture_takes_it_through_the_door(tmp_path):
    """A PostScript file runs no program: under any name no command reaches Pillow's reader of it."""
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n%%EOF\n"
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.eps"):
        (tmp_path / "in" / name).write_bytes(script)
    code = """
from code_jax.cli.main import main
from pathlib import Path
for command in (["info", "in/a.png"], ["info", "in/b.eps"], ["corrupt", "in", "in/b.eps", "--out", "c", "--corruption", "fog"],
                ["train", "--data", "in", "--out", "t"]):
    assert main(command) in (1, 2), command
"""
    path = f"{program.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists() and "Traceback" not in done.stderr


def test_of_four_channels_transparency_is_the_fourth_or_the_picture_is_refused(tmp_path):
    for mode in ("RGBA", "LA", "RGB"):
        scene(mode).save(tmp_path / f"{mode}.png")
    for mode in ("RGBA", "LA"):
        np.testing.assert_array_equal(
            read_picture(tmp_path / f"{mode}.png", (29, 37, 4), "resize"), np.asarray(scene(mode).convert("RGBA"))
        )
    with pytest.raises(PictureError, match="four channels and it has no transparency"):
        read_picture(tmp_path / "RGB.png", (29, 37, 4), "resize")
    with pytest.raises(PictureError, match="2 channels"):
        read_picture(tmp_path / "RGB.png", (29, 37, 2), "resize")


def test_pillow_is_asked_for_the_listed_formats_alone(monkeypatch):
    asked = []
    opened = Image.open
    monkeypatch.setattr(Image, "open", lambda file, **options: asked.append(options["formats"]) or opened(file, **options))
    load(PNG, "a.eps", [])
    assert asked and all({"EPS", "WMF", "PDF", "FPX", "MPEG"}.isdisjoint(formats) for formats in asked)
