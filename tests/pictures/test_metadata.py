"""Metadata of pictures: profiles, EXIF and comments, in every format."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from code_jax.pictures.decode import decode_picture
from code_jax.pictures.encode import encode_picture
from tests.runs.corpus import chunk, corpus, encoded, exif, scene

FILES = corpus()


def test_colours_of_another_profile_become_srgb():
    """sRGB's colours stored linearly, whatever the profile calls itself, and back."""
    linear = ImageCms.ImageCmsProfile(io.BytesIO(gamma_profile()))
    stored = ImageCms.profileToProfile(scene(), ImageCms.createProfile("sRGB"), linear)
    assert np.abs(np.asarray(stored).astype(int) - np.asarray(scene())).max() > 20  # another encoding of the same colours
    picture = decode_picture(encoded(stored, "PNG", icc_profile=gamma_profile()), "a.png")
    error = np.abs(picture.pixels.astype(int) - np.asarray(scene()))
    assert error.mean() < 1 and error[np.asarray(scene()) > 60].max() <= 4  # where 8 linear bits are fine enough
    assert picture.metadata.icc_profile is None and not picture.warnings
    for name in ("exif.png", "exif.jpg", "deflated.tif"):  # sRGB itself changes no pixel
        with Image.open(io.BytesIO(FILES[name])) as opened:
            plain = encoded(ImageOps.exif_transpose(opened), "PNG", icc_profile=None)
        np.testing.assert_array_equal(decode_picture(FILES[name], name).pixels, decode_picture(plain).pixels)
    broken = decode_picture(encoded(scene(), "PNG", icc_profile=b"no profile" * 30), "a.png")
    assert "its colour profile cannot be used" in broken.warnings[0]
    np.testing.assert_array_equal(broken.pixels, np.asarray(scene()))


def gamma_profile() -> bytes:
    """sRGB's primaries with a transfer curve of gamma 1: its three curves replaced (ICC.1:2010, 10.5 curveType)."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for i in range(int.from_bytes(profile[128:132])):
        entry = profile[132 + 12 * i :][:12]
        if entry[:4] in (b"rTRC", b"gTRC", b"bTRC"):
            place = int.from_bytes(entry[4:8])
            profile[place : place + 14] = b"curv" + bytes(4) + (1).to_bytes(4) + (256).to_bytes(2)
            profile[132 + 12 * i + 8 : 132 + 12 * i + 12] = (14).to_bytes(4)
    return bytes(profile)


def test_metadata_that_stays_true_is_kept_in_every_format():
    picture = decode_picture(FILES["exif.png"], "exif.png")
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "AVIF"):
        data, warnings = encode_picture(picture.pixels, None, kind, picture.metadata)
        with Image.open(io.BytesIO(data)) as written:
            written.load()
            exif = written.getexif()
            assert not warnings and exif[0x010F] == "Maker" and exif[0x8298] == "somebody"
            assert exif.get_ifd(0x8769)[0x9003] == "2024:01:02 03:04:05" and float(exif.get_ifd(0x8769)[0x829A]) == 0.01
            assert {0x927C, 0xA002}.isdisjoint(exif.get_ifd(0x8769)) and exif.get(0x0112, 1) == 1
            assert exif.get_ifd(0x8825)[1] == "N" and tuple(map(float, exif.get_ifd(0x8825)[2])) == (46, 31, 12)
            if kind == "PNG":
                assert written.info["Title"] == "a title" and written.info["Author"] == "Жанна"
                assert "Software" not in written.info and written.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert decode_picture(FILES["exif.jpg"]).metadata.text == (("Comment", "a comment"),)


def test_metadata_that_a_format_cannot_hold_or_that_is_broken_costs_no_picture():
    long = Image.Exif()
    long[0x010E] = "x" * 100_000
    for data in (encoded(scene(), "PNG", exif=long.tobytes()), encoded(scene(), "PNG", pnginfo=comment("y" * 100_000))):
        picture = decode_picture(data, "a.png")
        written, warnings = encode_picture(picture.pixels, None, "JPEG", picture.metadata)
        assert "its metadata is left out: JPEG cannot hold it" in warnings[0]
        assert written == encode_picture(picture.pixels, None, "JPEG")[0]
    whole = encoded(scene(), "PNG", exif=exif(6))
    inside = whole.index(b"eXIf") + 4
    content = bytearray(whole[inside : whole.index(b"IDAT") - 8])
    content[14:16] = b"\xff\xff"  # a type that there is not, for the first tag's value
    broken = whole[: inside - 8] + chunk(b"eXIf", bytes(content[:40])) + whole[whole.index(b"IDAT") - 4 :]
    picture = decode_picture(broken, "a.png")
    np.testing.assert_array_equal(np.sort(picture.pixels.ravel()), np.sort(np.asarray(scene()).ravel()))


def comment(text):
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("Comment", text)
    return info
