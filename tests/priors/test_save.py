import os

import jax
import numpy as np
import pytest

import code_jax
from code_jax.diffusion.scaling import VariancePreserving
from code_jax.priors.hash import prior_hash
from tests.oracles import gaussian


def test_a_saved_prior_is_the_prior(tiny, tmp_path):
    code_jax.save_prior(tiny, tmp_path / "exact")
    again = code_jax.load_prior(tmp_path / "exact")
    assert prior_hash(again) == prior_hash(tiny)
    jax.tree.map(np.testing.assert_array_equal, again.params, tiny.params)
    assert np.array_equal(again.schedule.log_sigma, tiny.schedule.log_sigma) and again.prediction_type == tiny.prediction_type


@pytest.mark.parametrize(("steps", "first", "last"), [(1000, 1e-4, 0.02), (1000, 1.2345e-4, 0.01987), (100, 1.004e-3, 0.2004)])
def test_a_saved_schedule_is_the_schedule(tiny, tmp_path, steps, first, last):
    schedule = code_jax.linear_schedule(steps, first, last)
    code_jax.save_prior(tiny.replace(scaling=VariancePreserving(schedule)), tmp_path / "prior")
    again = code_jax.load_prior(tmp_path / "prior").schedule
    np.testing.assert_allclose(again.log_sigma, schedule.log_sigma, rtol=2e-5, atol=2e-5)
    assert again.last == schedule.last


@pytest.mark.parametrize("format", ["diffusers", "orbax"])
def test_a_saved_prior_says_which_patches_it_knows(tiny, tmp_path, format):
    code_jax.save_prior(tiny.replace(patches=(1, 2.5)), tmp_path / "prior", format=format)
    again = code_jax.load_prior(tmp_path / "prior")
    assert again.patches == (1, 2.5) and prior_hash(again) == prior_hash(tiny)
    assert code_jax.load_prior("pictures-64").patches == (1, 2, 4) and code_jax.load_prior("eurosat-64").patches == ()


def test_half_precision_is_half_the_bytes_and_near(tiny, tmp_path):
    sizes = []
    for dtype in ("float32", "float16"):
        code_jax.save_prior(tiny, tmp_path / dtype, dtype=dtype)
        sizes.append(sum(path.stat().st_size for path in (tmp_path / dtype).rglob("*.safetensors")))
    assert 0.4 < sizes[1] / sizes[0] < 0.75  # of so small a network the header is a part
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2**-10, atol=1e-7),
                 code_jax.load_prior(tmp_path / "float16").params, tiny.params)  # fmt: skip


def test_others_may_read_what_the_users_mask_leaves_them(tiny, tmp_path):
    mask = os.umask(0o027)
    try:
        code_jax.save_prior(tiny, tmp_path / "prior")
        code_jax.metrics.save_landcover(code_jax.metrics.load_landcover(), tmp_path / "classes")
    finally:
        os.umask(mask)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o640"} and len(files) == 6


def test_what_cannot_be_saved_is_named_and_nothing_is_written(tiny, tmp_path):
    own = gaussian(np.zeros((4, 4, 1)), np.ones((4, 4, 1)))
    large = tiny.replace(params=jax.tree.map(lambda leaf: 1e6 + leaf, tiny.params))
    for prior, options, named in (
        (own, {}, "a function of its own"),
        (code_jax.tiled(tiny, (8, 16)), {}, "a function of its own"),
        (code_jax.DynamicThreshold(tiny), {}, "a function of its own"),
        (tiny, {"dtype": "int8"}, "dtype 'int8'"),
        (large, {"dtype": "float16"}, "beyond the range of float16"),
    ):
        with pytest.raises(code_jax.UserError, match=named):
            code_jax.save_prior(prior, tmp_path / "new", **options)
        assert not (tmp_path / "new").exists()
    code_jax.save_prior(tiny, tmp_path / "new")
    with pytest.raises(code_jax.UserError, match="holds 'model_index"):
        code_jax.save_prior(tiny, tmp_path / "new")


def test_a_name_that_is_no_utf8_holds_a_prior_where_the_format_lets_it(tiny, tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    with pytest.raises(code_jax.UserError, match="no UTF-8"):
        code_jax.save_prior(tiny, folder, format="orbax")
    assert not any(folder.iterdir())
    code_jax.save_prior(tiny, folder)
    assert prior_hash(code_jax.load_prior(folder)) == prior_hash(tiny)
    code_jax.save_prior(tiny, tmp_path / "ours", format="orbax")
    (tmp_path / "ours").rename(tmp_path / os.fsdecode(b"ours\xe9"))
    with pytest.raises(code_jax.UserError, match="no UTF-8"):
        code_jax.load_prior(tmp_path / os.fsdecode(b"ours\xe9"))


@pytest.mark.parametrize("name", ["", "x" * 5000, "a--b/c", "a..b/c", "a/b.git"])
def test_a_name_that_no_prior_can_have_is_one_line(name):
    with pytest.raises(code_jax.UserError, match=r"^no prior '(xxx.*xxx)?'|^a.*b.* cannot be had from the hub") as refusal:
        code_jax.load_prior(name)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 300
