"""What a folder says of itself is believed: priors load as they are meant, and what is none is refused by name."""

import dataclasses
import json
import os
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import code_jax
from checkpoints_convert.weights import DIFFUSERS
from code_jax.models.unet import UNet2DModel
from code_jax.priors.weights import expected_params, to_state_dict
from tests.checkpoints_convert.test_convert import assert_same, edit_json


def refused(folder, named):
    with pytest.raises(code_jax.UserError, match=named) as error:
        code_jax.load_prior(folder)
    assert "\n" not in str(error.value)


# The scheduler


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("FlowMatchLCMScheduler", "flow matching"),
        ("CMStochasticIterativeScheduler", "consistency"),
        ("LCMScheduler", "consistency"),
        ("KarrasVeScheduler", "variance-exploding"),
        ("CosineDPMSolverMultistepScheduler", "EDM"),
        ("MyOwnScheduler", "unknown"),
        (["DDPMScheduler"], "unknown"),
    ],
)
def test_a_scheduler_of_another_diffusion_is_refused_by_its_name(name, kind, folder):
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps({"_class_name": name, "num_train_timesteps": 1000}))
    refused(folder, rf"{name if isinstance(name, str) else 'DDPM'}.*{kind}")


def test_a_scheduler_that_says_nothing_is_asked(folder):
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    refused(folder, "neither a _class_name nor betas")


@pytest.mark.parametrize(
    ("config", "steps", "end", "kind"),
    [
        ({"_class_name": "DDIMScheduler", "beta_schedule": "linear"}, 1000, 0.02, "epsilon"),
        ({"beta_schedule": "linear", "beta_end": 0.01}, 1000, 0.01, "epsilon"),
        ({"_class_name": "DDPMScheduler", "timesteps": 500}, 500, 0.02, "epsilon"),
        ({"_class_name": "DDPMScheduler", "predict_epsilon": False}, 1000, 0.02, "sample"),
        ({"_class_name": "DDPMScheduler", "predict_epsilon": True}, 1000, 0.02, "epsilon"),
        (
            {"_class_name": "DDPMScheduler", "predict_epsilon": None, "prediction_type": "v_prediction"},
            1000,
            0.02,
            "v_prediction",
        ),
        ({"_class_name": "HeunDiscreteScheduler"}, 1000, 0.012, "epsilon"),
        # diffusers writes this default of a solver as JSON never allowed.
        ({"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": float("-inf")}, 1000, 0.02, "epsilon"),
    ],
)
def test_what_a_scheduler_says_in_old_and_new_words_is_honoured(config, steps, end, kind, folder):
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    prior = code_jax.load_prior(folder)
    assert prior.prediction_type == kind
    start = 8.5e-4 if "Heun" in str(config) else 1e-4
    expected = np.cumprod(1 - np.linspace(start, end, steps))
    np.testing.assert_allclose(prior.schedule.alpha_bar(jnp.arange(float(steps))), expected, rtol=2e-5)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"predict_epsilon": False, "prediction_type": "epsilon"}, "predict_epsilon is False and prediction_type 'epsilon'"),
        ({"predict_epsilon": "no"}, "predict_epsilon is 'no'"),
        ({"use_flow_sigmas": True}, "use_flow_sigmas"),
        ({"timestep_type": "continuous"}, "timestep_type"),
        ({"prediction_type": "flow_prediction"}, "flow_prediction"),
    ],
)
def test_options_that_make_it_another_diffusion_are_refused(change, named, folder):
    edit_json(folder / "scheduler" / "scheduler_config.json", **change)
    refused(folder, named)


# The pipeline


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"vqvae": ["diffusers", "VQModel"]}, "lacks the part vqvae .*not whole"),
        ({"text_encoder": ["transformers", "CLIPTextModel"]}, "looks at no text, and there is a text_encoder"),
        ({"movq": ["diffusers", "VQModel"]}, "movq .*another autoencoder"),
        ({"movement": ["mine", "Movement"]}, "'movement' .*no prior here"),
        ({"_class_name": "ConsistencyModelPipeline"}, "consistency network"),
        ({"_class_name": "LDMPipeline"}, "one of latents, and has no autoencoder"),
        ({"_class_name": "StableDiffusionXLPipeline"}, "is a StableDiffusionXLPipeline: unknown here"),
        ({"_class_name": ["DDPMPipeline"]}, "which is no name"),
        ({"unet": ["diffusers", "UNet3DConditionModel"]}, "'UNet3DConditionModel' for its unet"),
        ({"scheduler": ["diffusers", "KarrasVeScheduler"]}, "'KarrasVeScheduler' is not supported .*variance-exploding"),
        ({"scheduler": ["diffusers", "EDMEulerScheduler"]}, "'EDMEulerScheduler' is not supported"),
    ],
)
def test_a_pipeline_that_is_no_prior_or_not_whole_is_refused(parts, named, folder):
    edit_json(folder / "model_index.json", **parts)
    refused(folder, named)


def test_a_part_that_is_left_out_is_no_part(tiny, folder):
    edit_json(folder / "model_index.json", safety_checker=[None, None], _ignore_files=["a", "b", "c"])
    assert_same(code_jax.load_prior(folder), tiny)


def test_a_latent_network_is_known_by_what_lies_beside_it(folder):
    (folder / "model_index.json").unlink()
    (folder / "vqvae").mkdir()
    refused(folder, r"vqvae.config\.json cannot be read")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"num_class_embeds": 10}, "missing class_embedding"),
        ({"class_embed_type": "timestep"}, "class_embed_type 'timestep' .*classes"),
        ({"_class_name": "UNet2DConditionModel"}, "unknown option .* of the network's config"),
        ({"in_channels": 4}, "takes 4 channels and gives 3"),
        ({"in_channels": 6, "out_channels": 3}, "takes 6 channels and gives 3"),
        ({"out_channels": 9}, "takes 3 channels and gives 9"),
        ({"_patches": [1, 0.5]}, r"_patches is \[1, 0.5\]; it must be a list of factors"),
        ({"_patches": 2}, "_patches is 2;"),
    ],
)
def test_a_network_that_wants_more_than_a_picture_is_refused(change, named, folder):
    edit_json(folder / "unet" / "config.json", **change)
    refused(folder, named)


# The weights


def rewrite(folder, change):
    path = folder / "unet" / DIFFUSERS[0]
    safetensors.numpy.save_file(change(safetensors.numpy.load_file(path)), path)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "ema.", "module._orig_mod.", "_orig_mod.module."])
def test_names_of_wrappers_are_taken_off(prefix, tiny, folder):
    rewrite(folder, lambda state: {prefix + name: tensor for name, tensor in state.items()})
    assert_same(code_jax.load_prior(folder), tiny)


def test_weights_of_which_some_are_wrapped_are_refused(folder):
    rewrite(folder, lambda state: state | {"ema.conv_in.bias": state["conv_in.bias"] + 1})
    refused(folder, "unexpected ema.conv_in.bias")


@pytest.mark.parametrize("beside", [False, True])
def test_the_average_of_a_training_s_folder_loads(beside, tiny, folder):
    """`EMAModel.save_pretrained` writes its own numbers among the network's options."""
    (folder / "model_index.json").unlink()
    shutil.copytree(folder / "unet", folder / "unet_ema")
    edit_json(folder / "unet_ema" / "config.json", decay=0.9999, inv_gamma=1.0, min_decay=0.0, optimization_step=1, power=0.75,
              update_after_step=0, use_ema_warmup=True)  # fmt: skip
    if beside:
        rewrite(folder, lambda state: {name: tensor + 1 for name, tensor in state.items()})
    else:
        shutil.rmtree(folder / "unet")
    assert_same(code_jax.load_prior(folder), tiny)


@pytest.mark.parametrize("parts", [1, 3])
def test_half_precision_alone_loads_and_full_precision_is_preferred(parts, tiny, folder):
    state = to_state_dict(tiny.params, np.float16)
    unet, stem = folder / "unet", "diffusion_pytorch_model"
    if parts == 1:
        safetensors.numpy.save_file(state, unet / f"{stem}.fp16.safetensors")
    else:
        placed = {name: f"{stem}.fp16-{1 + i % parts:05}-of-{parts:05}.safetensors" for i, name in enumerate(state)}
        for part in set(placed.values()):
            safetensors.numpy.save_file({name: state[name] for name in state if placed[name] == part}, unet / part)
        (unet / f"{stem}.safetensors.index.fp16.json").write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    assert_same(code_jax.load_prior(folder), tiny)
    (unet / DIFFUSERS[0]).unlink()
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, np.float16(b)), code_jax.load_prior(folder).params, tiny.params)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("form", ["diffusers", "orbax"])
def test_the_mean_half_of_a_learned_variance_is_the_prior(channels, form, tiny, tmp_path):
    """And priors of one and of four channels load and save."""
    config = dataclasses.replace(tiny.function.network.config, in_channels=channels, out_channels=2 * channels)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32), expected_params(UNet2DModel(config)))
    both = tiny.from_network(UNet2DModel(config), params, tiny.schedule, "epsilon")
    code_jax.save_prior(both, tmp_path / "both", format=form)
    prior = code_jax.load_prior(tmp_path / "both")
    assert prior.image_shape == (8, 8, channels) and prior.function.network.config.out_channels == channels
    last = prior.params.pop("conv_out"), params.pop("conv_out")
    np.testing.assert_array_equal(last[0]["kernel"], last[1]["kernel"][..., :channels])
    np.testing.assert_array_equal(last[0]["bias"], last[1]["bias"][:channels])
    jax.tree.map(np.testing.assert_array_equal, prior.params, params)
    prior.params["conv_out"] = last[0]
    code_jax.save_prior(prior, tmp_path / "again", format=form)
    assert_same(code_jax.load_prior(tmp_path / "again"), prior)


@pytest.mark.parametrize(("value", "form"), [(np.nan, "diffusers"), (-np.inf, "orbax")])
def test_weights_that_are_not_finite_are_neither_saved_nor_loaded(value, form, tiny, tmp_path, monkeypatch):
    flat, tree = jax.tree.flatten(tiny.params)
    flat[0] = jnp.asarray(flat[0]).at[(0,) * flat[0].ndim].set(value)
    broken = tiny.replace(params=jax.tree.unflatten(tree, flat))
    with pytest.raises(code_jax.UserError, match=r"1 of the .* numbers of .* are not finite"):
        code_jax.save_prior(broken, tmp_path / "new", format=form)
    assert not (tmp_path / "new").exists()
    with monkeypatch.context() as patch:  # another program would write them
        patch.setattr("code_jax.priors.weights._finite", lambda name, tensor, dtype: np.ascontiguousarray(tensor))
        code_jax.save_prior(broken, tmp_path / "new", format=form)
    refused(tmp_path / "new", r"1 of the .* numbers of .* are not finite")


def test_weights_that_are_no_floats_are_not_taken_for_them(folder):
    """Quantized ones are whole numbers that want a scale."""
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    state = safetensors.numpy.load_file(path)
    safetensors.numpy.save_file(state | {"conv_in.bias": state["conv_in.bias"].astype(np.int8)}, path)
    refused(folder, "conv_in.bias is int8, not floats")


# Files that are none


@pytest.fixture
def alarm():
    """Ends a wait for ever after a minute."""

    def ring(*_):
        raise AssertionError("a file that never ends was waited for")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes have names on POSIX alone")
@pytest.mark.parametrize("kind", ["pipe", "zeros", "folder"])
@pytest.mark.parametrize("form", ["diffusers", "orbax"])
def test_a_pipe_or_a_device_in_a_folder_ends_in_a_line(kind, form, tiny, tmp_path, alarm):
    code_jax.save_prior(tiny, tmp_path / "prior", format=form)
    (tmp_path / "prior" / "config.json").write_text("{}")  # the folder is a prior's whatever becomes of its parts
    parts = [path for path in (tmp_path / "prior").rglob("*") if path.is_file() and path != tmp_path / "prior" / "config.json"]
    for path in parts:
        whole = path.read_bytes()
        path.unlink()
        {"pipe": os.mkfifo, "zeros": lambda path: path.symlink_to("/dev/zero"), "folder": os.mkdir}[kind](path)
        refused(tmp_path / "prior", "prior")
        (os.rmdir if kind == "folder" else os.unlink)(path)
        path.write_bytes(whole)


# Nothing of anybody's is overwritten


def test_a_write_that_fails_leaves_nothing(tiny, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        code_jax.save_prior(tiny, tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())
