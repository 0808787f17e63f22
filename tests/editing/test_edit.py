import dataclasses
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import code_jax
from code_jax.editing.edit import _edit, image_keys, number_of_moves, per_image, run_in_segments
from code_jax.editing.moves import ode_moves
from code_jax.models.config import UNet2DConfig
from code_jax.models.unet import UNet2DModel
from tests.oracles import gaussian, gaussian_eps, mixture
from tests.routes import followed

SMALL = code_jax.EditProgram(num_steps=6, langevin_steps=5, anneal_levels=2)


@pytest.fixture(scope="module")
def prior():
    return mixture(jnp.full((4, 4, 1), 0.4), 0.3)


@pytest.fixture(scope="module")
def unet_prior():
    config = UNet2DConfig(
        sample_size=(8, 8), block_out_channels=(8, 16), down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"), layers_per_block=1, norm_num_groups=4,
    )  # fmt: skip
    network = UNet2DModel(config)
    params = jax.jit(network.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), jnp.zeros(1))["params"]
    return code_jax.Prior.from_network(network, params, code_jax.linear_schedule(), "epsilon")


def images_of(prior, count=3):
    return jax.random.uniform(jax.random.key(7), (count, *prior.image_shape), minval=-1)


# Confidence-based clipping


def test_bounds_equal_the_formula_at_every_timestep():
    schedule = code_jax.linear_schedule()
    alphas_cumprod = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    for eta in (0.5, 1.7, 2.0):
        clipped = code_jax.clip_to_confidence(jnp.full(1000, 1e6), schedule.alpha_bar(jnp.arange(1000.0)), eta)
        np.testing.assert_allclose(clipped, np.sqrt(alphas_cumprod) + eta * np.sqrt(1 - alphas_cumprod), rtol=1e-5)


@pytest.mark.parametrize("eta", [1.0, 1.7, 2.0])
@pytest.mark.parametrize("x0", [-1.0, 0.3, 1.0])
def test_proposition_1_holds_by_simulation(eta, x0):
    n = 20_000
    for alpha_bar in (0.9, 0.3, 0.01):
        x = math.sqrt(alpha_bar) * x0 + math.sqrt(1 - alpha_bar) * np.random.default_rng(0).standard_normal(n)
        kept = np.mean(np.asarray(code_jax.clip_to_confidence(jnp.asarray(x), alpha_bar, eta)) == np.float32(x))
        promised = math.erf(eta / math.sqrt(2))
        assert kept >= promised - 4 * math.sqrt(promised * (1 - promised) / n)


def test_every_latent_of_the_encoding_lies_within_its_bound(prior):
    x0, eta = 3 * images_of(prior), 0.3
    schedule = prior.schedule
    sigmas = schedule.sigma(jnp.linspace(0, 500.0, 21))
    keys = jax.random.split(jax.random.key(0), len(x0))
    unclipped = 0
    route = ode_moves(sigmas, "ddim", eta)
    for k in range(1, 21):
        state = followed(keys, prior, route, x0, k)
        x, t = state.z / jnp.sqrt(1 + sigmas[k] ** 2), schedule.t_of_sigma(sigmas[k])
        bound = jnp.sqrt(schedule.alpha_bar(t)) + eta * jnp.sqrt(schedule.variance(t))
        assert float(jnp.abs(x).max()) <= float(bound) * (1 + 1e-5)
        np.testing.assert_allclose(code_jax.clip_to_confidence(x, schedule.alpha_bar(t), eta), x, atol=1e-5)
        unclipped += int(not state.projected["clip"].all())
    assert unclipped and state.projected["clip"].any()


def test_the_clipped_pixels_are_those_that_one_step_takes_beyond_the_bound(prior):
    x0, eta, depth = 3 * images_of(prior), 0.3, 0.5
    program = code_jax.EditProgram(num_steps=1, solver="ddim", langevin_steps=0)
    config = code_jax.EditConfig(depth, 1e-3, eta, input_noise=0.0, dynamic_threshold=None, program=program)
    info = code_jax.edit(jax.random.key(0), prior, x0, config).info
    alpha_bar = 1 - prior.schedule.variance(prior.schedule.timestep(depth))
    beyond = jnp.abs(code_jax.encode(prior, x0, depth=depth, num_steps=1)) > jnp.sqrt(alpha_bar) + eta * jnp.sqrt(1 - alpha_bar)
    assert (np.asarray(info.clipped_pixels) == np.asarray(beyond.any(axis=-1))).all() and 0 < info.clipped_pixels.mean() < 1


def test_no_eta_is_infinite_eta_and_clips_nothing(prior):
    x0 = 3 * images_of(prior)
    free = code_jax.encode(prior, x0, num_steps=20)
    np.testing.assert_array_equal(free, code_jax.encode(prior, x0, num_steps=20, eta=math.inf))
    assert float(jnp.abs(free - code_jax.encode(prior, x0, num_steps=20, eta=0.3)).max()) > 0.1


# The methods against what they should equal


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


def hlo(prior, config, count=2):
    images = jnp.zeros((count, *prior.image_shape))
    return _edit.lower(
        image_keys(jax.random.key(0), images), prior, images, per_image(config, prior, count), None, None
    ).compile()


def test_the_program_has_no_callback_no_collective_and_no_weights_in_it(unet_prior):
    text = hlo(unet_prior, code_jax.EditConfig(program=SMALL)).as_text()
    assert not re.search(r"custom_call_target=\"[^\"]*callback|infeed\(|outfeed\(", text)
    assert not re.search(r"all-reduce|all-gather|collective-permute|all-to-all", text)
    constants = ["1", *re.findall(r"f32\[([\d,]+)\]\S* constant\(", text)]
    largest = max(int(np.prod([int(d) for d in dims.split(",")])) for dims in constants)
    assert largest < max(leaf.size for leaf in jax.tree.leaves(unet_prior.params))


def test_networks_and_memory_do_not_grow_with_steps_levels_or_annealing(unet_prior):
    def measure(**changes):
        depth = changes.pop("depth", 0.5)
        compiled = hlo(unet_prior, code_jax.EditConfig(depth=depth, program=dataclasses.replace(SMALL, **changes)))
        return convolutions(compiled), compiled.memory_analysis().temp_size_in_bytes

    def convolutions(compiled):
        return len(re.findall(r"= f32\S* convolution\(", compiled.as_text()))

    networks, memory = measure()
    images = jnp.zeros((2, *unet_prior.image_shape))
    alone = jax.jit(lambda prior, x: prior.eps(x, jnp.zeros(2))).lower(unet_prior, images).compile()
    assert networks == convolutions(alone) > 0  # DDIM needs it once, whatever the moves
    for changes in ({"num_steps": 300}, {"langevin_steps": 300}, {"anneal_levels": 5}, {"depth": jnp.array([0.6, 0.4, 0.2])}):
        more, peak = measure(**changes)
        assert more == networks
        assert peak <= memory + 65536  # the tables of moves alone


def test_a_second_batch_and_other_numbers_compile_nothing(unet_prior, caplog):
    def run(seed, **numbers):
        config = code_jax.EditConfig(**numbers, program=SMALL)
        code_jax.edit(jax.random.key(seed), unet_prior, images_of(unet_prior) * (1 - seed / 10), config)

    run(0, depth=0.5, step_size=0.01, eta=2.0)
    run(0, depth=0.5, step_size=0.01, eta=2)
    with jax.log_compiles(True), caplog.at_level("DEBUG", logger="jax"):
        run(1, depth=0.5, step_size=0.01, eta=2.0)
        run(2, depth=0.3, step_size=0.002, eta=None, anneal_rate=0.5, input_noise=0)
    assert "Compiling" not in caplog.text
    with jax.log_compiles(True), caplog.at_level("DEBUG", logger="jax"):
        jax.jit(lambda x: x * 3.25)(1.0)
    assert "Compiling" in caplog.text  # the log would have told


# Sweeps, keys, segments


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


@pytest.mark.parametrize(("method", "eta"), [("code", 1.5), ("ddim", None)])
def test_the_gradient_by_depth_is_the_slope(method, eta):
    prior = gaussian(jnp.full((4, 4, 1), 0.2), jnp.full((4, 4, 1), 0.5))
    x0 = images_of(prior)
    config = code_jax.EditConfig(0.4, 0.01, eta, program=SMALL).with_program(method=method)
    total = lambda depth: code_jax.edit(jax.random.key(0), prior, 0.3 * x0, config.replace(depth=depth)).images.sum()  # noqa: E731
    (low, _), (_, gradient), (high, _) = map(jax.jit(jax.value_and_grad(total)), (0.39, 0.4, 0.41))
    assert float(gradient) == pytest.approx(float(high - low) / 0.02, rel=0.05, abs=0.02)


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


def test_segments_give_the_bytes_of_one_call(unet_prior):
    x0, config = images_of(unet_prior), code_jax.EditConfig(program=SMALL)
    moves, _ = number_of_moves(unet_prior, config)
    keys, seen = image_keys(jax.random.key(0), x0), []
    whole = run_in_segments(keys, unet_prior, x0, config, np.array([0, moves]), seen.append)
    parts = run_in_segments(keys, unet_prior, x0, config, np.array([0, 1, 7, moves]), seen.append)
    np.testing.assert_array_equal(whole.images, parts.images)
    np.testing.assert_array_equal(whole.images, code_jax.edit(keys, unet_prior, x0, config).images)
    assert seen == [moves, 1, 7, moves]


def test_a_result_depends_on_its_own_key_and_image_alone(unet_prior):
    x0, config = images_of(unet_prior, 5), code_jax.EditConfig(program=SMALL)
    keys = jax.random.split(jax.random.key(1), 5)
    result = code_jax.edit(keys, unet_prior, x0, config).images
    order = jnp.array([3, 0, 4, 2, 1])
    np.testing.assert_array_equal(code_jax.edit(keys[order], unet_prior, x0[order], config).images, result[order])
    padded = code_jax.edit(keys, unet_prior, x0.at[1:].set(0), config).images
    np.testing.assert_array_equal(padded[0], result[0])


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
