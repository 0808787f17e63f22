import dataclasses
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import code_jax
from tests.editing.conftest import SMALL, images_of
from tests.oracles import gaussian, gaussian_eps, mixture

# Confidence-based clipping


# The methods against what they should equal


@pytest.mark.slow
def test_edit_without_correction_is_encode_then_decode(prior):
    x0 = images_of(prior)
    program = code_jax.EditProgram(num_steps=20, solver="ddim", grid="time", langevin_steps=0)
    config = code_jax.EditConfig(depth=0.4, eta=1.7, input_noise=0.0, program=program)
    x_t = code_jax.encode(prior, x0, depth=0.4, num_steps=20, eta=1.7)
    expected = jnp.clip(code_jax.decode(prior, x_t, depth=0.4, num_steps=20), -1, 1)
    np.testing.assert_allclose(code_jax.edit(jax.random.key(0), prior, x0, config).images, expected, atol=1e-5)


def test_ddim_is_encode_then_decode():
    # In float64: a picture between the mixture's modes is encoded into a sliver, from where decoding magnifies any rounding.
    with jax.enable_x64(True):
        prior = mixture(jnp.full((4, 4, 1), 0.4), 0.3)
        x0, options = images_of(prior), {"depth": 0.4, "num_steps": 300}
        program = code_jax.EditProgram(method="ddim", num_steps=300, solver="ddim", grid="time")
        config = code_jax.EditConfig(depth=0.4, eta=None, input_noise=0.0, program=program)
        result = code_jax.edit(jax.random.key(0), prior, x0, config)
        expected = code_jax.decode(prior, code_jax.encode(prior, x0, **options), **options)
        np.testing.assert_allclose(result.images, jnp.clip(expected, -1, 1), atol=1e-9)
        assert result.info.nfe.tolist() == [601] * 3


def test_several_depths_run_each_leg(prior):
    two = code_jax.EditConfig(depth=jnp.array([0.5, 0.2]), step_size=jnp.array([0.01, 0.001]), program=SMALL)
    assert code_jax.edit(jax.random.key(0), prior, images_of(prior), two).info.nfe.tolist() == [6 + 2 * 5 + 2 * 3 + 1] * 3


def test_sdedit_from_the_deepest_level_draws_from_the_prior():
    mean, deviation, count = jnp.full((4, 4, 1), 0.2), jnp.full((4, 4, 1), 0.15), 256
    prior = gaussian(mean, deviation)
    program = code_jax.EditProgram(num_steps=250, grid="geometric")
    config = code_jax.EditConfig(depth=1.0, program=program)
    x = np.asarray(code_jax.sdedit(jax.random.key(0), prior, jnp.zeros((count, 4, 4, 1)), config).images)
    n = x.size
    assert abs(x.mean() - 0.2) < 4 * 0.15 / math.sqrt(n)
    # The last step's mean in place of a draw takes σ_0²/(s² + σ_0²) of the variance, 0.4 % here; 5 % bounds the grid's error.
    assert x.var() == pytest.approx(0.15**2, rel=0.05 + 4 * math.sqrt(2 / n))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["code", "ddim", "sdedit"])
def test_one_gaussian_gives_one_edit_whatever_its_network_predicts_and_with_no_timesteps(method):
    with jax.enable_x64(True):
        facts = jnp.full((4, 4, 1), 0.2), jnp.linspace(0.1, 0.6, 16).reshape(4, 4, 1)
        first, *others = (gaussian(*facts, predicted) for predicted in ("epsilon", "v_prediction", "sample"))
        of_sigma = lambda params, z, sigma: gaussian_eps(params, z, sigma[:, None, None, None])  # noqa: E731
        others.append(code_jax.Prior.from_denoiser(of_sigma, facts, (4, 4, 1), first.sigma_range))
        x0, config = images_of(first), code_jax.preset("global", method)
        expected = code_jax.edit(jax.random.key(0), first, x0, config).images
        assert float(jnp.abs(expected - x0).mean()) > 0.1
        for prior in others:
            np.testing.assert_allclose(code_jax.edit(jax.random.key(0), prior, x0, config).images, expected, atol=1e-11)


def test_edit_raises_the_likelihood_of_what_the_prior_finds_unlikely():
    prior = gaussian(jnp.full((4, 4, 1), 0.3), jnp.full((4, 4, 1), 0.1))
    damaged = jnp.full((16, 4, 4, 1), -0.5)
    config = code_jax.preset("global")
    restored = code_jax.edit(jax.random.key(0), prior, damaged, config)
    assert float(jnp.mean(jnp.abs(restored.images - 0.3))) < 0.5 * float(jnp.mean(jnp.abs(damaged - 0.3)))
    assert bool(restored.info.finite.all())


# One program


# Sweeps, keys, segments


@pytest.mark.slow
def test_vmap_over_settings_and_keys_equals_a_loop(prior):
    x0 = images_of(prior)
    keys = jax.random.split(jax.random.key(3), 4)
    grid = (jnp.array([0.2, 0.4, 0.6, 0.8]), jnp.array([0.001, 0.01, 0.02, 0.05]), jnp.array([1.0, 1.7, 2.0, jnp.inf]))
    grid += (jnp.array([0.5, 0.9, 0.98, 1.0]),)

    def run(key, depth, step_size, eta, quantile):
        config = code_jax.EditConfig(depth, step_size, eta, dynamic_threshold=(quantile, 1.1), program=SMALL)
        return code_jax.edit(key, prior, x0, config).images

    together = jax.vmap(run)(keys, *grid)
    for i in range(4):
        np.testing.assert_allclose(together[i], run(keys[i], *(axis[i] for axis in grid)), atol=2e-5)


def test_images_may_be_constants_of_ones_own_program(prior):
    x0, key = images_of(prior), jax.random.key(3)

    def run(sigma):
        return code_jax.edit(key, prior, x0, code_jax.EditConfig(sigma=sigma, relative_step=0.1, program=SMALL)).images

    together = jax.jit(jax.vmap(run))(jnp.array([0.5, 2.0]))
    np.testing.assert_allclose(together, jnp.stack([run(0.5), run(2.0)]), atol=2e-5)
    x0 = jnp.full_like(x0, 50)
    with pytest.raises(code_jax.UserError, match="images reach 50 in size"):
        jax.jit(run)(0.5)


def test_an_empty_batch_is_one_line(prior):
    none, key = images_of(prior)[:0], jax.random.key(0)
    for call, given in ((code_jax.edit, [key]), (code_jax.sdedit, [key]), (code_jax.encode, []), (code_jax.decode, [])):
        with pytest.raises(code_jax.UserError, match=r"^images of shape \(0, 4, 4, 1\) are 0 images; give at least one$"):
            call(*given, prior, none)


@pytest.mark.parametrize("name", ["eta", "anneal_rate", "input_noise"])
def test_several_numbers_where_there_is_one_are_named(prior, name):
    x0 = images_of(prior)
    config = code_jax.EditConfig(program=SMALL).replace(**{name: np.full(len(x0), 0.9)})
    with pytest.raises(code_jax.UserError, match=f"{name} has shape"):
        code_jax.edit(jax.random.key(0), prior, x0, config)


@pytest.mark.slow
def test_more_steps_of_the_ode_or_another_solver_leave_the_noise_as_it_is():
    # Steps as small as these follow the flow to 1e-3; other draws would change results by the noise's size, 0.1.
    oracle = gaussian(jnp.zeros((4, 4, 1)), jnp.ones((4, 4, 1)))
    program = code_jax.EditProgram(langevin_steps=4, anneal_levels=2, langevin="averaged")
    config = code_jax.EditConfig(jnp.array([0.5, 0.3]), 0.01, None)

    def result(solver, num_steps):
        own = dataclasses.replace(program, solver=solver, num_steps=num_steps)
        return code_jax.edit(jax.random.key(3), oracle, 0.5 * images_of(oracle), config.replace(program=own)).images

    fine = result("heun", 80)
    np.testing.assert_allclose(result("heun", 160), fine, atol=2e-3)
    np.testing.assert_allclose(result("midpoint", 120), fine, atol=2e-3)
    assert float(jnp.abs(fine - 0.5 * images_of(oracle)).max()) > 0.1


def test_a_scalar_key_is_folded_with_the_position(prior):
    x0, key = images_of(prior), jax.random.key(5)
    keys = jnp.stack([jax.random.fold_in(key, i) for i in range(3)])
    config = code_jax.EditConfig(program=SMALL)
    np.testing.assert_array_equal(code_jax.edit(key, prior, x0, config).images, code_jax.edit(keys, prior, x0, config).images)


# Bad input


@pytest.mark.parametrize(
    ("numbers", "named"),
    [
        ({"depth": 0.0}, "depth is 0.0"),
        ({"depth": 2.0}, "depth is 2.0"),
        ({"depth": jnp.array([0.2, 0.5])}, "must decrease"),
        ({"step_size": -1e-3}, "step_size is -0.001"),
        ({"step_size": math.nan}, "step_size is nan"),
        ({"eta": 0.0}, "eta is 0.0"),
        ({"anneal_rate": 1.5}, "anneal_rate is 1.5"),
        ({"input_noise": -1.0}, "input_noise is -1.0"),
        ({"input_noise": 1e300}, "input_noise is 1e+300"),
        ({"relative_step": 1e300}, "relative_step is 1e+300"),
        ({"sigma": []}, "sigma is []; give one level"),
        ({"depth": [], "step_size": []}, "depth is []; give one level"),
        ({"dynamic_threshold": (0.98, 0.5)}, "dynamic_threshold is [0.98, 0.5]"),
    ],
)
def test_a_number_out_of_range_is_named(prior, numbers, named):
    with pytest.raises(code_jax.UserError, match=re.escape(named)):
        code_jax.edit(jax.random.key(0), prior, images_of(prior), code_jax.EditConfig(**numbers))


@pytest.mark.parametrize(
    "program",
    [{"solver": "rk4"}, {"grid": "log"}, {"method": "magic"}, {"langevin": "fast"}, {"num_steps": 0}, {"langevin_steps": -1}],
)
def test_an_unknown_program_is_named(program):
    (value,) = program.values()
    with pytest.raises(code_jax.UserError, match=str(value)):
        code_jax.EditProgram(**program)


def test_images_keys_and_presets_that_do_not_fit_are_named(prior):
    x0, key = images_of(prior), jax.random.key(0)
    with pytest.raises(code_jax.UserError, match=r"\(3, 5, 4, 1\)"):
        code_jax.edit(key, prior, jnp.zeros((3, 5, 4, 1)))
    with pytest.raises(code_jax.UserError, match="uint8"):
        code_jax.edit(key, prior, np.zeros((3, 4, 4, 1), np.uint8))
    for levels in (x0 * 0 + 200, jnp.where(jnp.arange(3)[:, None, None, None] == 1, jnp.nan, -255.0) + x0 * 0):
        with pytest.raises(code_jax.UserError, match=r"images reach 2[05][05] in size; scale them"):
            code_jax.edit(key, prior, levels)
    with pytest.raises(code_jax.UserError, match="'eurosat-64' is no prior"):
        code_jax.edit(key, "eurosat-64", x0)
    with pytest.raises(code_jax.UserError, match=r"^\{\} are no settings"):
        code_jax.edit(key, prior, x0, {})
    with pytest.raises(code_jax.UserError, match=r"depth has shape \(2,\)"):
        code_jax.encode(prior, x0, depth=[0.5, 0.2], num_steps=2)
    with pytest.raises(code_jax.UserError, match="2 keys for 3 images"):
        code_jax.edit(jax.random.split(key, 2), prior, x0)
    with pytest.raises(code_jax.UserError, match="typed PRNG key"):
        code_jax.edit(jnp.zeros(2, jnp.uint32), prior, x0)
    with pytest.raises(code_jax.UserError, match="heavy"):
        code_jax.preset("heavy")
