"""Restored pictures have their originals' form."""

import io

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from tests import oracles
from tests.runs.corpus import alpha_plane, corpus, scene
from tests.runs.results import files

FILES = corpus()


@pytest.mark.parametrize("fit", ["resize", "crop", "tile"])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "I;16", "CMYK"])
def test_results_have_their_originals_gray_depth_size_and_transparency(mode, fit, tmp_path, restore):
    """Through the whole command: a strong prior changes the colours, and everything else stays."""
    picture = scene(mode)
    picture.save(tmp_path / ("a.jpg" if mode == "CMYK" else "a.png"))
    source = next(tmp_path.glob("a.*"))
    assert restore(source, "--out", tmp_path / "out", "--fit", fit, "--keep-size") == 0
    with Image.open(tmp_path / "out" / "a.png") as result:
        result.load()
    expected = {"P": "RGB", "CMYK": "RGB"}.get(mode, mode)
    assert result.mode == expected
    box = (4, 0, 33, 29) if fit == "crop" else (0, 0, 37, 29)
    assert result.size == (box[2] - box[0], box[3] - box[1])
    if mode.endswith("A"):
        np.testing.assert_array_equal(np.asarray(result)[..., -1], alpha_plane()[:, box[0] : box[2]])
    if mode == "I;16":
        assert len(np.unique(np.asarray(result))) > 256  # more than 8 bits could tell
    assert np.any(np.asarray(result) != np.asarray(picture.crop(box).convert(expected)))


@pytest.mark.slow
@pytest.mark.parametrize("fit", ["resize", "tile"])
def test_a_prior_of_one_channel_keeps_gray_and_one_of_four_makes_transparency(fit, tmp_path, restore, capsys):
    for mode in ("L", "LA", "I;16", "RGBA", "RGB"):
        scene(mode).save(tmp_path / f"{mode}.png")
    inputs = [tmp_path / f"{mode}.png" for mode in ("L", "LA", "I;16", "RGBA", "RGB")]

    def made(channels):
        prior = oracles.gaussian(jnp.full((8, 8, channels), 0.1), jnp.float32(0.4))
        status = restore(*inputs, "--out", tmp_path / str(channels), "--fit", fit, "--keep-size", "--compare", prior=prior)
        written = [path for path in (tmp_path / str(channels)).glob("*.png") if path.stem != "contact_sheet"]
        results = {path.stem: Image.open(io.BytesIO(path.read_bytes())) for path in written}
        return status, {name: picture.mode for name, picture in results.items()}, results

    status, modes, results = made(1)
    assert status == 0 and modes == {mode: mode for mode in ("L", "LA", "I;16", "RGBA", "RGB")}
    assert not np.ptp(np.asarray(results["RGB"]), axis=2).any()  # the prior knows no colour
    status, modes, results = made(4)
    assert status == 1 and modes == {"LA": "RGBA", "RGBA": "RGBA"}
    assert np.any(np.asarray(results["RGBA"])[..., 3] != alpha_plane())  # which is the prior's too
    assert capsys.readouterr().err.count("it has no transparency to be the fourth") == 3


@pytest.mark.parametrize(("choice", "kind"), [("same", None), ("png", "PNG"), ("webp", "WEBP"), ("jpeg", "JPEG")])
def test_formats_and_suffix(choice, kind, tmp_path, restore):
    (tmp_path / "in").mkdir()
    names = ["RGB.jpg", "RGB.png", "L.tif", "RGB.bmp", "RGB.webp", "P.gif"]
    for name in names:
        (tmp_path / "in" / name).write_bytes(FILES[name])
    options = ["--format", choice, "--suffix=-new", *(["--quality", "80"] if choice in ("webp", "jpeg") else [])]
    assert restore(tmp_path / "in", "--out", tmp_path / "out", *options) == 0
    found = {}
    for name in files(tmp_path / "out"):
        with Image.open(tmp_path / "out" / name) as picture:
            found[name] = picture.format
            assert picture.size == (8, 8)
    if kind:
        ending = {"PNG": "png", "WEBP": "webp", "JPEG": "jpg"}[kind]
        assert set(found.values()) == {kind} and len(found) == 6 and all(name.endswith(ending) for name in found)
        assert f"L-new.{ending}" in found and f"RGB.bmp-new.{ending}" in found
    else:
        same = {"RGB.jpg-new.jpg": "JPEG", "RGB.png-new.png": "PNG", "L-new.tif": "TIFF", "RGB.bmp-new.bmp": "BMP"}
        assert found == same | {"RGB.webp-new.webp": "WEBP", "P-new.png": "PNG"}
