import io

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import code_jax
from code_jax.pictures.files import read_picture
from tests.runs.corpus import deep_plane, encoded, exif, scene


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_what_restore_sees_of_its_file(mode, channels):
    data = encoded(scene(mode), "TIFF" if mode in ("CMYK", "YCbCr") else "PNG")
    with Image.open(io.BytesIO(data)) as opened:
        images = code_jax.from_pil(opened, channels)
    expected = read_picture(io.BytesIO(data), (29, 37, channels), "resize")
    assert images.shape == (1, 29, 37, channels) and images.dtype == jnp.float32
    np.testing.assert_allclose(images[0], np.asarray(code_jax.from_uint8(expected)), atol=0 if mode != "I;16" else 1 / 255)


def test_floats_and_deep_integers_keep_their_values():
    half = code_jax.from_pil(Image.new("F", (4, 2), 0.5))
    np.testing.assert_allclose(half, 0, atol=1 / 65535)
    np.testing.assert_allclose(code_jax.from_pil(scene("I;16"), 1)[0, ..., 0], deep_plane() / 32767.5 - 1, atol=1e-6)


def test_a_camera_that_was_turned_is_turned_back():
    with Image.open(io.BytesIO(encoded(scene(), "JPEG", exif=exif(6), quality=100))) as opened:
        assert code_jax.from_pil(opened).shape == (1, 37, 29, 3)


def test_four_channels_go_there_and_back():
    images = code_jax.from_pil([scene("RGBA"), scene("RGBA", seed=1)], channels=4)
    for picture, seed in zip(code_jax.to_pil(images), (0, 1), strict=True):
        np.testing.assert_array_equal(np.asarray(picture), np.asarray(scene("RGBA", seed=seed)))
    (gray,) = code_jax.to_pil(code_jax.from_pil(scene("L"), channels=1))
    assert gray.mode == "L" and gray.tobytes() == scene("L").tobytes()


@pytest.mark.parametrize(
    ("pictures", "channels", "named"),
    [
        ([], 3, "0 pictures"),
        ([Image.new("L", (4, 2)), Image.new("L", (2, 4))], 3, r"2 pictures of sizes \[\(2, 4\), \(4, 2\)\]"),
        ([np.zeros((4, 4, 3))], 3, "picture 0 is of type ndarray"),
        (np.zeros((1, 4, 4, 3), np.uint8), 3, "picture 0 is of type ndarray"),
        ([Image.new("RGB", (4, 2)), Image.new("F", (4, 2), float("nan"))], 3, "picture 1, of mode F, .* not finite"),
        (Image.new("RGB", (4, 2)), 4, "picture 0, of mode RGB, .* no transparency"),
        (Image.new("RGB", (4, 2)), 2, "2 channels"),
    ],
)
def test_what_cannot_be_is_one_line_that_names_it(pictures, channels, named):
    with pytest.raises(code_jax.UserError, match=named) as refusal:
        code_jax.from_pil(pictures, channels)
    assert "\n" not in str(refusal.value)


def test_a_cut_file_is_named_by_its_mode():
    with (
        Image.open(io.BytesIO(encoded(scene(), "BMP")[:-100])) as opened,
        pytest.raises(code_jax.UserError, match="picture 0, of mode RGB"),
    ):
        code_jax.from_pil(opened)


def test_what_restore_does_not_read_is_not_decoded_for_having_been_opened(monkeypatch):
    """Ghostscript, another program, decodes an EPS; what a caller has loaded is pixels like any other."""
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_: pytest.fail("another program is started"))
    page = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
    with Image.open(io.BytesIO(page)) as opened:
        with pytest.raises(code_jax.UserError, match="picture 0, of mode RGB, cannot be read: it is EPS, which is not read"):
            code_jax.from_pil(opened)
        monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_: Image.new("RGB", (9, 9), "white").im)
        opened.load()
        assert code_jax.from_pil(opened).tolist() == np.ones((1, 9, 9, 3)).tolist()


def test_levels_are_no_floats():
    for convert in (code_jax.to_uint8, code_jax.to_pil):
        with pytest.raises(code_jax.UserError, match="images are uint8"):
            convert(np.zeros((1, 4, 4, 3), np.uint8))
    with pytest.raises(code_jax.UserError, match=r"shape \(4, 4, 3\)"):
        code_jax.to_pil(jnp.zeros((4, 4, 3)))
    assert code_jax.to_pil(jnp.zeros((0, 4, 4, 3))) == []
