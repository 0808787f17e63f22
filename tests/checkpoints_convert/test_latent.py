"""The parts of a latent pipeline, from folders in diffusers' layout."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import safetensors.numpy

import code_jax
from checkpoints_convert.latent import read_codec, read_text_encoder
from code_jax.models.networks import network_of
from code_jax.priors.weights import expected_shapes, from_state_dict
from tests.models.architectures import weights
from tests.models.networks import CLIP, CODECS, made, params


def write(folder, config, name, state):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    safetensors.numpy.save_file(state, folder / name)


def assert_same(part, network, **changes):
    network = network.clone(config=dataclasses.replace(network.config, **changes))
    assert network_of(part.config) == network
    read, expected = from_state_dict(network, part.state()), params(network)
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, read, expected)))


@pytest.mark.parametrize(("place", "name", "kind"), [("vae", "kl", "AutoencoderKL"), ("vqvae", "vq", "VQModel")])
def test_an_autoencoder_is_read_with_the_names_that_its_attention_once_had(place, name, kind, tmp_path):
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = {}
    for key, tensor in weights(expected_shapes(made(name))).items():
        for now, then in old.items():
            key = key.replace(f"attentions.0.{now}.", f"attentions.0.{then}.")
        state[key] = tensor
    config = CODECS[name] | {"_class_name": kind, "_diffusers_version": "0.4.1", "act_fn": "silu"}
    write(tmp_path / place, config, "diffusion_pytorch_model.safetensors", state)
    unscaled = {} if name == "kl" else {"scaling_factor": 1.0}  # it is older than the option
    assert_same(read_codec(tmp_path), made(name), **unscaled)
    assert_same(read_codec(tmp_path / place), made(name), **unscaled)


def test_a_text_encoder_is_read_as_it_was_published(tmp_path):
    state = {f"text_model.{name}": tensor for name, tensor in weights(expected_shapes(made("clip"))).items()}
    state["text_model.embeddings.position_ids"] = np.arange(9)[None]
    config = CLIP | {"architectures": ["CLIPTextModel"], "bos_token_id": 0, "eos_token_id": 2, "model_type": "clip_text_model"}
    write(tmp_path / "text_encoder", config, "model.safetensors", state)
    assert_same(read_text_encoder(tmp_path), made("clip"))


def test_what_is_missing_or_of_another_kind_is_named(tmp_path):
    with pytest.raises(code_jax.UserError, match="0 of the folders vae, vqvae"):
        read_codec(tmp_path)
    write(tmp_path / "vae", {"_class_name": "AutoencoderTiny"}, "other.safetensors", {"x": np.zeros(1)})
    with pytest.raises(code_jax.UserError, match="'AutoencoderTiny'; AutoencoderKL belongs there"):
        read_codec(tmp_path)
    (tmp_path / "vae" / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKL"}))
    with pytest.raises(code_jax.UserError, match=r"neither diffusion_pytorch_model\.safetensors nor"):
        read_codec(tmp_path).state()
    write(tmp_path / "text_encoder", {"architectures": ["T5EncoderModel"]}, "model.safetensors", {"x": np.zeros(1)})
    with pytest.raises(code_jax.UserError, match="only CLIPTextModel is supported"):
        read_text_encoder(tmp_path)
