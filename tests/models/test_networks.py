"""Networks against what their reference code answers for the same weights (`make_golden_networks`), at eight noise levels."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import code_jax
from code_jax.models.clip_text import CLIPTextConfig
from code_jax.models.edm2_unet import EDM2UNetConfig
from code_jax.models.song_unet import SongUNet, SongUNetConfig
from tests.models.networks import CODECS, DIT, EDM2, LABELS, SONG, TEXT, images, made, noise_levels, params
from tests.recorded import EITHER, answers

NOISE_CONDITIONED = [*SONG, *EDM2, *DIT, *TEXT]


@pytest.fixture(params=EITHER)
def golden(request):
    return answers(request, "tests/models/golden_networks.npz", "tests.models.make_golden_networks")


def relative_error(got, expected):
    """The largest over the eight levels."""
    return float((np.abs(got - expected).max((1, 2, 3)) / np.abs(expected).max((1, 2, 3))).max())


def answer(network, weights, name, **options):
    _, height, _, channels = network.inputs["x"].shape
    condition = {"condition": LABELS} if "condition" in network.inputs else {}
    return jax.jit(network.apply)({"params": weights}, images(height, channels), noise_levels(name), **condition | options)


@pytest.mark.parametrize("name", NOISE_CONDITIONED)
def test_outputs_equal_the_references(name, golden):
    network = made(name)
    assert relative_error(answer(network, params(network), name), golden[name]) <= 1e-5


@pytest.mark.parametrize("name", CODECS)
def test_codecs_equal_the_references(name, golden):
    network = made(name)
    assert_codec(network, params(network), name, golden)


def assert_codec(network, weights, name, golden):
    factor = network.config.scaling_factor
    apply = jax.jit(lambda weights, x, method: network.apply({"params": weights}, x, method=method), static_argnums=2)
    latents = apply(weights, images(8, network.config.in_channels), "encode")
    assert relative_error(latents / factor, golden[f"{name}.latents"]) <= 1e-5
    assert relative_error(apply(weights, golden[f"{name}.latents"] * factor, "decode"), golden[name]) <= 1e-5
    if f"{name}.unquantized" in golden:
        plain = network.apply({"params": weights}, golden[f"{name}.latents"] * factor, quantize=False, method="decode")
        assert relative_error(plain, golden[f"{name}.unquantized"]) <= 1e-5


@pytest.mark.parity
@pytest.mark.parametrize("name", CODECS)
def test_codecs_equal_diffusers(name):
    from tests.models.make_golden_networks import codec

    network = made(name)
    assert_codec(network, params(network), name, codec(name))


@pytest.mark.parity
@pytest.mark.parametrize("name", TEXT)
def test_networks_that_look_at_a_text_equal_diffusers(name):
    from tests.models.make_golden_networks import text

    network = made(name)
    assert relative_error(answer(network, params(network), name), text(name)) <= 1e-5


def test_the_empty_prompt_is_embedded_as_transformers_does(golden):
    network = made("clip")
    tokens = network.config.empty_prompt()
    assert tokens.tolist() == [[28] + [29] * 8]
    got = jax.jit(network.apply)({"params": params(network)}, tokens)
    assert float(np.abs(got - golden["clip"]).max() / np.abs(golden["clip"]).max()) <= 1e-5
    assert CLIPTextConfig().empty_prompt()[0, :3].tolist() == [49406, 49407, 49407]


@pytest.mark.parametrize("name", ["edm2", "dit"])
def test_no_label_is_the_label_after_the_last(name):
    network = made(name)
    weights = params(network)
    without = answer(network, weights, name, condition=None)
    assert jnp.array_equal(without, answer(network, weights, name, condition=np.full(8, 5)))
    assert not jnp.allclose(without, answer(network, weights, name), atol=1e-3)


def test_centred_input_is_that_of_images_in_the_unit_interval():
    network = made("residual-by-a-box")
    centring = SongUNet(dataclasses.replace(network.config, center_input=True))
    weights, x, noise = params(network), images(8, 3), noise_levels("residual-by-a-box")
    got = jax.jit(centring.apply)({"params": weights}, (x + 1) / 2, noise)
    np.testing.assert_allclose(got, jax.jit(network.apply)({"params": weights}, x, noise), atol=1e-4)


def test_magnitudes_are_preserved():
    """EDM2's point: unit variance in, about unit variance out of every sum and layer, whatever the kernels' scale."""
    from code_jax.models.edm2_unet import MPConv, mp_concatenate, mp_silu, mp_sum

    a, b = (jax.random.normal(jax.random.key(i), (64, 8, 8, 16)) for i in range(2))
    layer = MPConv(16, 3, jnp.float32)
    weights = layer.init(jax.random.key(2), a)
    outputs = {
        "sum": mp_sum(a, b, 0.3),
        "concatenation": mp_concatenate(a, b, 0.5),
        "silu": mp_silu(a),
        "convolution": layer.apply(jax.tree.map(lambda kernel: 7 * kernel, weights), a)[:, 1:-1, 1:-1],
    }
    for name, output in outputs.items():
        assert float(jnp.sqrt(jnp.mean(output**2))) == pytest.approx(1, abs=0.05), name


@pytest.mark.parametrize("name", ["residual-by-a-box", "edm2", "dit"])
def test_bfloat16_stays_near_float32_and_answers_in_float32(name):
    network = made(name)
    weights = params(network)
    exact, rough = answer(network, weights, name), answer(network.clone(dtype=jnp.bfloat16), weights, name)
    assert rough.dtype == jnp.float32
    error = float(jnp.sqrt(jnp.mean((exact - rough) ** 2) / jnp.mean(exact**2)))
    assert 1e-4 < error < 2**-4  # bfloat16 has 8 bits


@pytest.mark.parametrize(
    ("name", "option", "named"),
    [
        ("ddpmpp", {"img_resolution": 7}, "img_resolution 7"),
        ("ddpmpp", {"img_resolution": 10**9}, "1000000000"),
        ("ddpmpp", {"model_channels": "many"}, "model_channels is 'many'"),
        ("ddpmpp", {"channel_mult": []}, "channel_mult"),
        ("ddpmpp", {"channel_mult": [1, 4000]}, "channel_mult"),
        ("ddpmpp", {"embedding_type": "learned"}, "embedding_type 'learned'"),
        ("ddpmpp", {"encoder_type": "dense"}, "encoder_type 'dense'"),
        ("ddpmpp", {"resample_filter": [1, 2, 1]}, "resample_filter"),
        ("ddpmpp", {"dropout": 2.0}, "dropout"),
        ("ddpmpp", {"surprise": 1}, "surprise"),
        ("edm2", {"channels_per_head": 5}, "channels_per_head 5"),
        ("edm2", {"res_balance": float("nan")}, "res_balance"),
        ("edm2", {"clip_act": 0}, "clip_act"),
        ("dit", {"num_heads": 5}, "num_heads 5"),
        ("dit", {"patch_size": 3}, "patch_size 3"),
        ("dit", {"learn_sigma": "yes"}, "learn_sigma"),
        ("kl", {"norm_num_groups": 3}, "norm_num_groups 3"),
        ("kl", {"latents_mean": [0.0]}, r"latents_mean is \(0.0,\); it must be a list of 4 numbers"),
        ("kl", {"latents_std": [1.0, 1.0, 0.0, 1.0]}, "latents_std is 0.0"),
        ("vq", {"quantize": 1}, "quantize is 1"),
        ("text", {"attention_head_dim": 3}, "8 is no multiple of 4 groups or 3 heads"),
        ("text", {"addition_embed_type": "text_time"}, "addition_embed_type 'text_time'"),
        ("text", {"up_block_types": ["UpBlock2D"]}, "up_block_types does not have one entry"),
        ("kl", {"down_block_types": ["AttnDownEncoderBlock2D"] * 2}, "down_block_types"),
        ("kl", {"act_fn": "relu"}, "act_fn 'relu'"),
        ("vq", {"norm_type": "spatial"}, "norm_type 'spatial'"),
        ("vq", {"lookup_from_codebook": True}, "lookup_from_codebook"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(name, option, named):
    config = type(made(name).config)
    read = config.from_diffusers if name in {**CODECS, **TEXT} else config.from_options
    with pytest.raises(code_jax.UserError, match=named):
        read({**SONG, **EDM2, **DIT, **CODECS, **TEXT}[name] | option)


def test_a_config_says_what_it_lacks():
    with pytest.raises(code_jax.UserError, match="img_resolution, in_channels, out_channels missing"):
        SongUNetConfig.from_options({})
    with pytest.raises(code_jax.UserError, match="img_channels missing"):
        EDM2UNetConfig.from_options({"img_resolution": 8})


def test_widths_that_cannot_be_normalized_are_refused_before_weights_are_made():
    config = SongUNetConfig.from_options(SONG["ddpmpp"] | {"model_channels": 14})
    with pytest.raises(code_jax.UserError, match="14 channels cannot be normalized"):
        params(SongUNet(config))
