"""Checkpoints in the reference repositories' layouts: recognized, converted, and answering as the reference code did."""

import functools
import json

import jax
import numpy as np
import pytest

import code_jax
from checkpoints_convert.dit import convert_dit
from checkpoints_convert.edm import convert_edm
from checkpoints_convert.guided_diffusion import GuidedDiffusion, convert_guided_diffusion
from checkpoints_convert.ncsnpp import is_ncsnpp, song_unet_config, song_unet_state
from checkpoints_convert.score_sde import ScoreSDE, average, convert_score_sde
from code_jax.models.networks import network_of
from code_jax.priors.weights import expected_shapes, from_state_dict
from tests import recorded
from tests.checkpoints_convert.layouts import (
    ADM,
    DHARIWAL,
    LABELS,
    ODD_SKIP_BLOCKS,
    SCORE_SDE,
    SIGMAS,
    SKIP_BLOCKS,
    TIMES,
    images,
)  # fmt: skip
from tests.checkpoints_convert.published import contents_of, published, without_values
from tests.models.architectures import weights
from tests.models.networks import DIT, made, noise_levels
from tests.models.networks import images as image_batch
from tests.recorded import EITHER


@pytest.fixture(params=EITHER)
def golden(request):
    return recorded.answers(request, "tests/checkpoints_convert/layouts.npz", "tests.checkpoints_convert.make_layouts")


def state_of(golden, name):
    """The weights that the reference was given, and the buffers that it made."""
    shapes = {key: tuple(shape) for key, shape in json.loads(str(golden[f"{name}.shapes"])).items()}
    state = weights({key: shape for key, shape in shapes.items() if not key.endswith(("sigmas", "resample_filter"))})
    if "sigmas" in shapes:
        state["sigmas"] = np.geomspace(50, 0.01, 1000)
    return state | {key: np.full(shape, 0.25, np.float32) for key, shape in shapes.items() if key.endswith("resample_filter")}


def answers(network, state, x, noise, **options):
    return jax.jit(network.apply)({"params": from_state_dict(network, state)}, x, noise, **options)


def assert_close(got, expected):
    error = np.abs(got - expected).max((1, 2, 3)) / np.abs(expected).max((1, 2, 3))
    assert float(error.max()) <= 1e-5, error


@pytest.mark.parametrize("name", SCORE_SDE)
def test_score_sde_converts_and_answers_as_the_reference(name, golden):
    facts, options = SCORE_SDE[name]
    contents = convert_score_sde(state_of(golden, name), ScoreSDE(**facts))
    network, channels = network_of(contents.network), options.get("num_channels", 3)
    if facts["sde"] == "ve":
        got = answers(network, contents.state(), images(channels), np.log(SIGMAS)) / SIGMAS[:, None, None, None]
        scheduler = {"_class_name": "ScoreSdeVeScheduler", "num_train_timesteps": 1000}
        assert contents.scheduler == scheduler | {"sigma_min": pytest.approx(0.01), "sigma_max": pytest.approx(50)}
    else:
        got = answers(network, contents.state(), images(channels), TIMES)
        assert contents.scheduler["_class_name"] == f"ScoreSde{'SubVp' if facts['sde'] == 'sub-vp' else 'Vp'}Scheduler"
    assert_close(got, golden[name])


SKIPPING = {"skip-blocks": SKIP_BLOCKS, "odd-skip-blocks": ODD_SKIP_BLOCKS}


def assert_skip_blocks(given, state, expected):
    config = song_unet_config(given)
    network = network_of(config)
    got = answers(network, song_unet_state(state, config), images(given["in_channels"]), np.log(SIGMAS))
    assert_close(got / SIGMAS[:, None, None, None], expected)


@pytest.mark.parametrize("name", SKIPPING)
def test_skip_blocks_of_diffusers_convert_and_answer_as_recorded(name, golden):
    config = SKIPPING[name]
    assert is_ncsnpp(config)
    unused = {"time_proj.W": np.zeros(config["block_out_channels"][0], np.float32)}
    assert_skip_blocks(config, state_of(golden, name) | unused, golden[name])


@pytest.mark.parity
@pytest.mark.parametrize("name", SKIPPING)
def test_skip_blocks_answer_as_diffusers(name):
    import torch

    from tests.checkpoints_convert.make_layouts import nchw, nhwc, skip_blocks, weighted

    config = SKIPPING[name]
    made = weighted(skip_blocks(config))
    with torch.no_grad():
        expected = nhwc(made(nchw(images(config["in_channels"])), torch.from_numpy(SIGMAS)).sample)
    assert_skip_blocks(config, {key: tensor.numpy() for key, tensor in made.state_dict().items()}, expected)


@pytest.mark.parametrize("name", DHARIWAL)
def test_a_dhariwal_network_converts_to_diffusers_and_answers_as_the_reference(name, golden):
    options = DHARIWAL[name]
    contents = convert_edm({f"model.{key}": tensor for key, tensor in state_of(golden, name).items()}, "EDMPrecond")
    assert contents.network["num_class_embeds"] == options.get("label_dim")
    label = {"condition": LABELS} if "label_dim" in options else {}
    got = answers(network_of(contents.network), contents.state(), images(options["in_channels"]), TIMES, **label)
    assert_close(got, golden[name])


@pytest.mark.parametrize("name", ADM)
def test_guided_diffusion_converts_and_answers_as_the_reference(name, golden):
    facts, options = ADM[name]
    contents = convert_guided_diffusion(state_of(golden, name), GuidedDiffusion(**facts))
    network, state, classes = network_of(contents.network), contents.state(), options.get("num_classes")
    assert network.config.num_class_embeds == classes
    x = images(options["in_channels"])
    assert_close(answers(network, state, x, TIMES, **({"condition": LABELS} if classes else {})), golden[name])
    if classes:
        with pytest.raises(code_jax.UserError, match="wants a label from 0 to 4"):
            answers(network, state, x, TIMES)


@functools.cache
def _wanted(config):
    """Names and shapes of the network of a config, written as JSON: many checkpoints are of one."""
    return expected_shapes(network_of(json.loads(config)))


def assert_every_key_is_used_once(name, entry):
    contents = contents_of(entry)
    config, state = contents.network, contents.state()
    wanted = _wanted(json.dumps(config))
    added = {"empty_prompt"} if config.get("_class_name") == "UNet2DConditionModel" else set()  # by the text encoder
    assert {key: tensor.shape for key, tensor in state.items()} == {key: wanted[key] for key in wanted.keys() - added}, name
    given = sum(int(np.prod(shape)) for key, shape in entry["shapes"].items() if not _unused(key))
    if config.get("_class_name") == "DiT":  # half of the outputs are a variance
        given -= sum(int(np.prod(entry["shapes"][f"final_layer.linear.{leaf}"])) // 2 for leaf in ("weight", "bias"))
    assert sum(int(np.prod(shape)) for key, shape in wanted.items() if key not in added) == given, name
    return config.get("_class_name", "UNet2DModel")


ONE_OF_EACH = {
    "score_sde ve/celebahq_256_ncsnpp_continuous": "SongUNet",
    "score_sde vp/cifar10_ddpmpp_continuous": "SongUNet",
    "edm-ffhq-64x64-uncond-ve": "SongUNet",
    "edm-imagenet-64x64-cond-adm": "UNet2DModel",
    "64x64_diffusion": "UNet2DModel",
    "512x512_diffusion": "UNet2DModel",  # whose first level is narrower than its sinusoids are many
    "edm2-img64-s": "EDM2UNet",
    "DiT-XL-2-256x256": "DiT",
    "google/ncsnpp-celebahq-256": "SongUNet",
    "CompVis/ldm-celebahq-256 unet": "UNet2DModel",
    "stable-diffusion-v1 unet": "UNet2DConditionModel",
    "stable-diffusion-v1 vae": "AutoencoderKL",
    "CompVis/ldm-celebahq-256 vqvae": "VQModel",
    "stable-diffusion-v1 text_encoder": "CLIPTextModel",
}


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_published_checkpoint_is_recognized_and_every_key_is_used_once(name):
    assert assert_every_key_is_used_once(name, published()[name]) == ONE_OF_EACH[name]


@pytest.mark.parity
def test_every_published_checkpoint_is_recognized_and_every_key_is_used_once():
    for name, entry in published().items():
        assert_every_key_is_used_once(name, entry)


def _unused(name):
    """What is dropped by its name: noise levels, filters, the training's augmentation and uncertainty."""
    return name.endswith(("sigmas", "resample_filter", "map_augment.weight")) or name.startswith("logvar")


def test_averaged_weights_take_the_places_of_those_that_learn():
    model = {"module.sigmas": 0, "module.all_modules.0.W": 1, "module.all_modules.1.weight": 2, "module.all_modules.3.NIN_0.W": 3}
    assert average(model, [20, 30]) == {**model, "module.all_modules.1.weight": 20, "module.all_modules.3.NIN_0.W": 30}
    with pytest.raises(code_jax.UserError, match="averaged weights are 1, the network's 2"):
        average(model, [20])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"sigmas": None}, "sigmas"),
        ({"all_modules.3.weight": None, "all_modules.3.bias": None}, "gaps"),
        ({"surprise": (1,)}, "unexpected 'surprise'"),
        ({"all_modules.4.Conv_9.weight": (1,)}, "unexpected all_modules.4.Conv_9.weight"),
        ({"all_modules.4.Conv_1.weight": None}, "missing enc.8x8_block0.conv1.weight"),
        ({"all_modules.0.W": (3,)}, "map_noise.freqs"),
    ],
)
def test_what_is_no_whole_score_sde_checkpoint_is_named(change, named, golden):
    state = state_of(golden, "ve-skip") | {name: np.zeros(shape or (), np.float32) for name, shape in change.items()}
    for name, shape in change.items():
        if shape is None:
            del state[name]
    with pytest.raises(code_jax.UserError, match=named):
        contents = convert_score_sde(state, ScoreSDE(8))
        from_state_dict(network_of(contents.network), contents.state())


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ({"norm_num_groups": 16}, "norm_num_groups 16"),
        ({"attention_head_dim": 8}, "attention_head_dim 8"),
        ({"time_embedding_type": "positional"}, "time_embedding_type 'positional'"),
        ({"mid_block_scale_factor": 1}, "mid_block_scale_factor 1"),
        ({"down_block_types": ["SkipDownBlock2D", "DownBlock2D"]}, "not all Skip blocks"),
        ({"up_block_types": ["SkipUpBlock2D", "AttnSkipUpBlock2D"]}, "attention is at other levels"),
        ({"block_out_channels": [128, 100]}, "multiples of the first"),
        ({"sample_size": "large"}, "sample_size 'large'"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_skip_blocks_that_are_not_supported_are_refused_by_name(option, named):
    with pytest.raises(code_jax.UserError, match=named):
        song_unet_config(SKIP_BLOCKS | option)


@pytest.mark.parametrize(
    ("change", "precondition", "named"),
    [
        ({}, "Precond", "preconditioning 'Precond'"),
        ({"enc.8x8_conv.weight": None}, "EDMPrecond", "no weights of EDM"),
        ({"enc.4x4_down.conv0.resample_filter": (1, 1, 4, 4)}, "EDMPrecond", "another filter"),
        ({"enc.8x8_block0.conv1.weight": (64, 64, 3, 3)}, "EDMPrecond", "64 channels"),
        ({"dec.8x8_up.surprise.weight": (3,)}, "EDMPrecond", "unexpected dec.8x8_up.surprise.weight"),
    ],
)
def test_what_is_no_edm_checkpoint_is_named(change, precondition, named, golden):
    state = state_of(golden, "dhariwal") | {name: np.zeros(shape or (), np.float32) for name, shape in change.items()}
    for name, shape in change.items():
        if shape is None:
            del state[name]
    with pytest.raises(code_jax.UserError, match=named):
        contents = convert_edm(state, precondition)
        from_state_dict(network_of(contents.network), contents.state())


def test_a_dit_converts_to_its_mean_alone():
    """The network without the rows of the variance answers with the first half of the channels."""
    whole, options = made("dit"), DIT["dit"]
    state = weights(expected_shapes(whole))
    contents = convert_dit(state, num_heads=options["num_heads"])
    assert contents.network == options | {"_class_name": "DiT", "mlp_ratio": 4.0, "learn_sigma": False}
    x, noise = image_batch(8, 4), noise_levels("dit")
    expected = answers(whole, state, x, noise, condition=LABELS)[..., :4]
    assert_close(answers(network_of(contents.network), contents.state(), x, noise, condition=LABELS), expected)


def test_a_dit_of_unknown_heads_wants_them_told():
    state = without_values(published()["DiT-XL-2-256x256"]["shapes"])
    del state["blocks.27.attn.qkv.weight"]
    with pytest.raises(code_jax.UserError, match="1152 channels and 27 blocks are not known: state num_heads"):
        convert_dit(state)


def test_a_kind_of_network_that_is_not_known_is_named():
    with pytest.raises(code_jax.UserError, match="'UNet9000' is not supported here; those that are: UNet2DModel"):
        network_of({"_class_name": "UNet9000"})
