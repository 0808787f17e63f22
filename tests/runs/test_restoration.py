"""`code_jax.restore`: the pixels of the command line, whatever form the pictures come in, and words for what cannot be used."""

import io
import warnings
from contextlib import nullcontext as nothing

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import code_jax
from code_jax.cli.main import main
from tests.runs.conftest import exact_prior

CONFIG = code_jax.EditConfig().with_program(num_steps=2, langevin_steps=2)
FAST = ("--ode-steps", "2", "--langevin-steps", "2")


@pytest.fixture
def prior():
    return exact_prior()


def pixels(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def read(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.fixture
def folder(tmp_path):
    """Of the prior's size, larger, and smaller: what "auto" fits in two ways for a prior of patches."""
    (tmp_path / "in").mkdir()
    for name, shape in (("a", (8, 8)), ("b", (13, 9)), ("c", (8, 6))):
        Image.fromarray(pixels(*shape, seed=shape[1])).save(tmp_path / "in" / f"{name}.png")
    return tmp_path / "in"


@pytest.mark.parametrize("fit", ["auto", "resize", "crop", "tile"])
def test_it_gives_the_pixels_of_the_command_line(fit, folder, prior, tmp_path, own_cache, monkeypatch):
    prior = prior.replace(patches=(1, 2, 4))
    monkeypatch.setattr("code_jax.priors.load.load_prior", lambda name, **options: prior)
    argv = ["--fit", fit, "--keep-size", "--samples", "2", "--seed", "5", *FAST]
    assert main(["restore", str(folder), "--out", str(tmp_path / "out"), *argv]) == 0
    found = code_jax.restore(folder, prior, CONFIG, fit=fit, samples=2, seed=5)
    names = [f"{name}_{sample}.png" for name in "abc" for sample in (1, 2)]
    for name, picture in zip(names, found.pictures, strict=True):
        np.testing.assert_array_equal(np.asarray(picture), read(tmp_path / "out" / name))
    assert [(facts["name"], facts["sample"]) for facts in found.facts] == [(f"{n}.png", k) for n in "abc" for k in (0, 1)]


@pytest.mark.parametrize(("patches", "larger"), [((1, 2, 4), "pyramid"), ((1,), "tile"), ((), "resize")])
def test_auto_is_for_larger_pictures_what_the_prior_knows_and_keeps_the_order(patches, larger, folder, prior):
    Image.fromarray(pixels(17, 33)).save(folder / "b.png")
    prior = prior.replace(patches=patches)
    with (
        nothing()
        if patches
        else pytest.warns(UserWarning, match=r"b\.png: of its 33x17 pixels 11.4% are left .* fit tile restores")
    ):
        found = code_jax.restore(folder, prior, CONFIG)
    for k, (name, fit) in enumerate((("a", "resize"), ("b", larger), ("c", "resize"))):
        with warnings.catch_warnings(action="ignore"):
            alone = code_jax.restore(folder / f"{name}.png", prior, CONFIG, fit=fit)
        np.testing.assert_array_equal(np.asarray(found.pictures[k]), np.asarray(alone.pictures[0]))
        np.testing.assert_array_equal(np.asarray(found.inputs[k]), read(folder / f"{name}.png"))
    assert [facts["nfe"] for facts in found.facts] == [7, 7 * (2 if larger == "pyramid" else 1), 7]


def test_a_side_is_bounded_and_results_have_their_inputs_sizes_unless_they_need_not(folder, prior, capsys):
    prior, given = prior.replace(patches=(1, 2)), pixels(17, 34)
    small = np.asarray(Image.fromarray(given).resize((20, 10), Image.Resampling.LANCZOS))
    expected = np.asarray(code_jax.restore(small, prior, CONFIG, fit="pyramid").pictures[0])
    with pytest.warns(UserWarning, match="of its 34x17 pixels 34.6% are left within --max-side 20"):
        made = code_jax.restore(given, prior, CONFIG, max_side=20, keep_size=False).pictures[0]
    np.testing.assert_array_equal(np.asarray(made), expected)
    with pytest.warns(UserWarning, match="within --max-side 20"):
        kept = code_jax.restore(given, prior, CONFIG, max_side=20).pictures[0]
    np.testing.assert_array_equal(np.asarray(kept), Image.fromarray(expected).resize((34, 17), Image.Resampling.LANCZOS))
    windows = 1 * 3 + 2 * 4  # of 8x16 and 10x20
    assert f"1 result, {7 * windows} evaluations of the network, about" in capsys.readouterr().err


def test_every_form_of_a_picture_is_the_same_picture(folder, prior, capsys):
    given = read(folder / "a.png")
    with Image.open(folder / "a.png") as opened:
        forms = [str(folder / "a.png"), folder / "a.png", opened, given, jnp.asarray(given), given / np.float32(127.5) - 1]
        results = code_jax.restore(forms, prior, CONFIG).pictures
    batch = code_jax.restore(np.stack([given, given]), prior, CONFIG).pictures
    assert len({np.asarray(picture).tobytes() for picture in (*results, *batch)}) == 1
    gray = code_jax.restore(given[..., 0], prior, CONFIG).pictures[0]
    assert gray.mode == "L" and "Traceback" not in capsys.readouterr().err


def test_a_mask_keeps_what_it_does_not_mark_and_transparency_is_kept(prior):
    given, mask = pixels(8, 8, 4), np.zeros((8, 8), bool)
    mask[:, 5:] = True
    result = np.asarray(code_jax.restore(given, prior, CONFIG, mask=mask).pictures[0])
    np.testing.assert_array_equal(result[:, :5], given[:, :5])
    np.testing.assert_array_equal(result[..., 3], given[..., 3])
    assert np.any(result[:, 5:, :3] != given[:, 5:, :3])
    same = code_jax.restore(given, prior, CONFIG, mask=Image.fromarray(mask)).pictures[0]
    np.testing.assert_array_equal(np.asarray(same), result)


def test_a_notebook_shows_it_and_its_repr_fits_a_line(folder, prior):
    found = code_jax.restore([pixels(8, 8, seed=seed) for seed in range(5)], prior, CONFIG)
    assert repr(found).startswith("Restoration(picture 1: ") and repr(found).endswith("2 more)") and len(repr(found)) < 120
    assert found._repr_html_().count('type="range"') == 5 and "http" not in found._repr_html_()
    with Image.open(io.BytesIO(found._repr_png_())) as sheet:
        shown = np.asarray(sheet)
    enlarged = np.asarray(found.pictures[0]).repeat(20, 0).repeat(20, 1)
    np.testing.assert_array_equal(shown[44:204, 176:336], enlarged)  # the second column


@pytest.mark.parametrize(
    ("given", "options", "named"),
    [
        ([], {}, "no picture in the list"),
        ("missing.png", {}, "input 'missing.png' does not exist"),
        ([3], {}, "picture 1 is of type int"),
        (np.zeros((8, 8, 2), np.uint8), {}, r"picture 1 has shape \(8, 8, 2\)"),
        (np.zeros((8, 8, 3), int), {}, "picture 1 is int64; it must be uint8"),
        (pixels(8, 8), {"fit": "tiles"}, r"fit 'tiles' is unknown \(did you mean tile\?\)"),
        (pixels(8, 8), {"settings": "locl"}, r"preset 'locl' is unknown \(did you mean local\?\)"),
        (pixels(8, 8), {"samples": 0}, "samples is 0"),
        (pixels(8, 8), {"max_side": 0}, "max_side is 0; it must be"),
        (pixels(20, 20), {"fit": "pyramid", "settings": code_jax.OfficialSettings()}, "official takes no fit 'pyramid'"),
        (pixels(8, 8), {"seed": -1}, "seed is -1"),
        (pixels(8, 8), {"mask": np.zeros((8, 8), bool)}, "the mask cannot be used: it is black"),
    ],
)
def test_what_cannot_be_used_is_named(given, options, named, prior):
    with pytest.raises(code_jax.UserError, match=named):
        code_jax.restore(given, prior, options.pop("settings", CONFIG), **options)
