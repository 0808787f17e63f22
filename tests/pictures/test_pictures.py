"""Every mode and format: what is read, what the prior sees, and what is written, each against Pillow's own idea of it."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from code_jax.pictures.arrays import from_uint8
from code_jax.pictures.decode import decode_picture, from_pillow
from code_jax.pictures.encode import encode_picture
from code_jax.pictures.files import read_picture
from code_jax.pictures.fitting import as_floats, fitted, region, resized
from code_jax.pictures.loading import PictureError
from code_jax.pictures.metadata import Metadata
from tests.runs import corpus
from tests.runs.corpus import alpha_plane, deep_colour_png, deep_plane, encoded, scene

FILES = corpus.corpus()
GRAY = {"1": "L", "L": "L", "LA": "L", "La": "L", "I;16": "I;16", "I": "I;16", "F": "I;16"}


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "LAB", "HSV", "I;16", "I", "F"]
)
def test_every_mode_keeps_its_gray_its_depth_and_its_transparency(mode):
    picture = scene(mode)
    pixels, alpha, warnings = from_pillow(picture)
    assert not warnings
    if mode in ("I;16", "I", "F"):
        assert pixels.dtype == np.uint16
        np.testing.assert_array_equal(pixels[..., 0], deep_plane())
    elif mode in GRAY:
        np.testing.assert_array_equal(pixels[..., 0], np.asarray(picture.convert("LA").convert("L")))
    elif mode == "LAB":
        assert np.abs(pixels.astype(int) - np.asarray(scene())).mean() < 2
    else:
        expected = picture.convert("RGBA") if mode in ("P", "PA", "RGBa") else picture
        np.testing.assert_array_equal(pixels, np.asarray(expected.convert("RGB")))
    if mode in ("LA", "RGBA", "La", "RGBa"):
        np.testing.assert_array_equal(alpha, alpha_plane())
    elif mode == "PA":
        np.testing.assert_array_equal(alpha, np.asarray(picture.convert("RGBA"))[..., 3])
        assert alpha.min() < alpha.max()
    else:
        assert alpha is None


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_read_as_pillow_reads_it_and_written_as_it_came(name, tmp_path):
    """Written in the file's own format where that is written (lossy ones within their error), else as PNG, and read again."""
    from code_jax.pictures.encode import output_format

    picture = decode_picture(FILES[name], name)
    with Image.open(io.BytesIO(FILES[name])) as opened:
        mode, expected = opened.mode, ImageOps.exif_transpose(opened)
    if mode == "LAB" or "deep" in name:
        pass  # tested by the mode, and below
    elif mode in ("I;16", "I", "F"):
        np.testing.assert_array_equal(picture.pixels[..., 0], deep_plane())
    else:
        expected = expected.convert("RGBA").convert("RGB") if expected.has_transparency_data else expected.convert("RGB")
        np.testing.assert_array_equal(picture.pixels.repeat(3 // picture.pixels.shape[2], axis=2), np.asarray(expected))
    assert (picture.pixels.shape[2] == 1) == (mode in GRAY or name == "L.gif")

    kind, ending = output_format("same", picture.format, name)
    data, warnings = encode_picture(picture.pixels, picture.alpha, kind, picture.metadata)
    again = decode_picture(data, f"again{ending}")
    assert not warnings and not again.warnings
    error = {"JPEG": 14, "AVIF": 2}.get(kind, 0)
    pixels = picture.pixels if kind != "WEBP" else picture.pixels.repeat(3 // picture.pixels.shape[2], axis=2)
    assert again.pixels.dtype == pixels.dtype and again.pixels.shape == pixels.shape
    assert np.abs(again.pixels.astype(int) - pixels).max() <= error
    assert (again.alpha is None) == (picture.alpha is None)
    if picture.alpha is not None:
        assert np.abs(again.alpha.astype(int) - picture.alpha).max() <= (1 if kind == "AVIF" else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "LA", "I;16"])
def test_the_exif_orientation_comes_before_anything_else(orientation, mode):
    upright = scene(mode)
    back = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # Pillow's Transpose: how it was turned away
    stored = upright if back is None else upright.transpose(Image.Transpose(back))
    picture = decode_picture(encoded(stored, "PNG", exif=corpus.exif(orientation)), "a.png")
    expected, alpha, _ = from_pillow(upright)
    np.testing.assert_array_equal(picture.pixels, expected)
    if alpha is not None:
        np.testing.assert_array_equal(picture.alpha, alpha)
    assert Image.open(io.BytesIO(encoded(scene(), "PNG", exif=picture.metadata.exif))).getexif().get(0x0112, 1) == 1


def test_sixteen_bits_stay_and_sixteen_bits_of_colour_are_reduced_with_a_warning():
    deep = deep_plane()
    dark = deep // 400  # below 256: still 16 bits
    for data, name in (
        (encoded(Image.fromarray(dark), "PNG"), "a.png"),
        (encoded(Image.fromarray(dark), "TIFF"), "a.tif"),
        (b"P5 37 29 65535\n" + dark.astype(">u2").tobytes(), "a.pgm"),
    ):
        picture = decode_picture(data, name)
        assert not picture.warnings
        np.testing.assert_array_equal(picture.pixels[..., 0], dark)
    colours = np.stack([deep, deep[::-1], deep[:, ::-1]], axis=2)
    for data, name in (
        (deep_colour_png(colours), "a.png"),
        (b"P6 37 29 65535\n" + colours.astype(">u2").tobytes(), "a.ppm"),
    ):
        picture = decode_picture(data, name)
        assert picture.warnings == ("its 16 bits a colour are reduced to 8",)
        assert np.abs(picture.pixels - colours / 257).max() <= 1
    both = decode_picture(deep_colour_png(np.stack([deep, deep[::-1]], axis=2)), "a.png")
    assert both.pixels.shape[2] == 1 and both.warnings == ("its 16 bits a colour are reduced to 8",)
    assert np.abs(both.pixels[..., 0] - deep / 257).max() <= 1 and np.abs(both.alpha - deep[::-1] / 257).max() <= 1


def test_integers_and_floats_take_the_range_that_holds_them():
    for values, expected in (
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 32768, 65535]),
        (np.array([[0.0, 51.0, 255.0]], np.float32), [0, 51 * 257, 65535]),
        (np.array([[0, 51, 255]], np.int32), [0, 51 * 257, 65535]),
        (np.array([[0, 256, 65535]], np.int32), [0, 256, 65535]),
        (np.array([[-10, 0, 10]], np.int32), [0, 32768, 65535]),
        (np.array([[-1e30, 0.0, 1e30]], np.float32), [0, 32768, 65535]),
    ):
        np.testing.assert_array_equal(from_pillow(Image.fromarray(values))[0][0, :, 0], expected)
    for value in (np.nan, np.inf):
        with pytest.raises(PictureError, match="not finite"):
            decode_picture(encoded(Image.fromarray(np.array([[1, value]], np.float32)), "TIFF"), "a.tif")


@pytest.mark.parametrize("name", ["animated.png", "animated.gif", "animated.webp", "pages.tif"])
def test_of_an_animation_the_first_frame_is_taken_or_the_file_refused(name):
    with Image.open(io.BytesIO(FILES[name])) as opened:
        first = np.asarray(opened.convert("RGB"))
    picture = decode_picture(FILES[name], name)
    np.testing.assert_array_equal(picture.pixels, first)
    assert picture.warnings == ("it has several frames; the first is taken",)
    with pytest.raises(PictureError, match="it has 3 frames"):
        decode_picture(FILES[name], name, animated="refuse")
    assert not decode_picture(FILES["two.mpo"], "a.mpo", animated="refuse").warnings  # a photograph and its preview


def test_what_a_format_cannot_hold_is_said():
    deep, flat, alpha = deep_plane()[..., None], np.asarray(scene()), alpha_plane()
    for pixels, transparency, kind, named in (
        (deep, None, "JPEG", "8 bits"),
        (deep, None, "WEBP", "8 bits"),
        (flat, alpha, "JPEG", "no transparency"),
        (flat, alpha, "BMP", "no transparency"),
    ):
        data, warnings = encode_picture(pixels, transparency, kind)
        assert named in warnings[0] and decode_picture(data).alpha is None
    with pytest.raises(PictureError, match="WEBP cannot hold it"):
        encode_picture(np.zeros((1, 16384, 3), np.uint8), None, "WEBP", Metadata())


def test_floats_are_those_of_the_library_and_of_sixteen_bits():
    every = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    np.testing.assert_array_equal(as_floats(every, 3), np.asarray(from_uint8(every.repeat(3, axis=2))))
    deep = np.array([[[0], [32768], [65535]]], np.uint16)
    np.testing.assert_allclose(as_floats(deep, 3)[0, :, 1], [-1, 1 / 65535, 1], atol=1e-7)


def test_fits():
    pixels = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    assert region(pixels.shape, (8, 8, 3), "crop") == (5, 0, 25, 20)
    small = np.asarray(Image.fromarray(pixels).resize((8, 8), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(fitted(pixels, (8, 8, 3), "resize"), small)
    centre = np.asarray(Image.fromarray(pixels[:, 5:25]).resize((8, 8), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(fitted(pixels, (8, 8, 3), "crop"), centre)
    np.testing.assert_array_equal(fitted(pixels, (8, 8, 3), "tile"), pixels)
    mirrored = pixels[[0, 1, 2, 2, 1, 0, 0, 1]][:, [0, 1, 1, 0, 0, 1, 1, 0]]
    np.testing.assert_array_equal(fitted(pixels[:3, :2], (8, 8, 3), "tile"), mirrored)
    deep = deep_plane((64, 48))[..., None]
    eight = resized(np.rint(deep / 257).astype(np.uint8), (24, 32))
    assert np.abs(resized(deep, (24, 32)) / 257 - eight).max() <= 1


def test_read_picture_answers_in_a_prior_s_shape(tmp_path):
    (tmp_path / "a.png").write_bytes(FILES["I16.png"])
    assert read_picture(tmp_path / "a.png", (8, 8, 3), "resize").shape == (8, 8, 3)
    whole = read_picture(tmp_path / "a.png", None, "resize")
    np.testing.assert_array_equal(whole, np.rint(deep_plane() / 257).astype(np.uint8)[..., None].repeat(3, axis=2))
