"""Priors of folders and files in other people's formats and in ours: what each holds as plain data, made a `Prior`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from code_jax.errors import UserError, brief
from code_jax.models.clip_text import CLIPTextModel
from code_jax.models.dit import DiT
from code_jax.models.networks import DENOISING, Denoising, network_of
from code_jax.models.text_unet import UNet2DConditionModel
from code_jax.models.unet import UNet2DModel
from code_jax.priors.autoencoding import Autoencoding, picture_shape
from code_jax.priors.prior import Prior
from code_jax.priors.save import PATCHES
from code_jax.priors.scaling import read_scaling
from code_jax.priors.weights import from_state_dict

if TYPE_CHECKING:
    from checkpoints_convert.contents import Contents, Part

_PROMPT = "empty_prompt"  # among the parameters of a network that looks at a text, whatever the prompt


def read_prior(path: Path, **facts: Any) -> Prior:
    """The prior of a folder or of a file of weights, in any format that is known here.

    `facts` are what a file's weights do not tell, by the names that `checkpoints_convert.recognize` has for its format; and of a
    network that looks at a text the ``prompt`` (`read_prompt`).

    Raises:
        UserError: for another format, for a fact that is none of it, and for what is missing or does not fit.
    """
    from checkpoints_convert.folders import read_folder
    from checkpoints_convert.recognize import read_file

    prompt = facts.pop("prompt", None)
    if path.is_file():
        return to_prior(read_file(path, **facts), prompt)
    if facts:
        raise UserError(f"{next(iter(facts))} is told of a file of weights; the folder {path} says it itself")
    return to_prior(read_folder(path), prompt)


def to_prior(contents: Contents, prompt: Path | None = None) -> Prior:
    """The prior of what a checkpoint holds; its configs are understood before its weights are read.

    A `prompt` (`read_prompt`) takes the place of the empty one and of the encoder that embeds it.

    Raises:
        UserError: names what is not supported or does not fit.
    """
    (network, takes_mean), scaling = read_network(contents.network), read_scaling(contents.scheduler)
    patches = _patches(contents.network.get(PATCHES))
    codec, text = (_beside(part) for part in (contents.codec, contents.text_encoder))
    told = {} if prompt is None else {_PROMPT: read_prompt(prompt, network)}
    latents: Any = network.inputs["x"].shape[1:]
    if codec is None and isinstance(network, (DiT, UNet2DConditionModel)):
        raise UserError("the network is one of latents, and there is no autoencoder: give its folder or hub id as codec")
    shape = None if codec is None else picture_shape(codec, latents)
    state = contents.state()
    if takes_mean:
        state = {name: _mean_half(name, tensor) for name, tensor in state.items()}
    state |= told or ({} if text is None else {_PROMPT: _empty_prompt(text, contents.text_encoder)})
    if isinstance(network, UNet2DConditionModel) and _PROMPT not in state:
        raise UserError(
            "the network looks at a text, and there is no text_encoder: this model is not whole; or give a prompt's embedding "
            "as prompt, a file of safetensors"
        )
    prior = Prior.of_network(network, from_state_dict(network, state), scaling).replace(patches=patches)
    if shape is None or contents.codec is None:
        return prior
    weights = from_state_dict(codec, contents.codec.state())
    prior = prior.with_codec(Autoencoding(weights, codec, latents), shape)
    return prior if contents.data_range is None else prior.replace(data_range=contents.data_range)


def _beside(part: Part | None) -> Any:
    """The network of a part of a prior, if it has that part."""
    return None if part is None else network_of(part.config)


def _empty_prompt(network: CLIPTextModel, part: Any) -> np.ndarray:
    """The embedding of the empty prompt, [tokens, channels]."""
    params = from_state_dict(network, part.state())
    return np.asarray(jax.jit(network.apply)({"params": params}, network.config.empty_prompt())[0])


def read_prompt(path: str | Path, network: Denoising) -> np.ndarray:
    """The embedding of a prompt, [tokens, channels] for a network that looks at it: the one tensor of a file of safetensors.

    Raises:
        UserError: for a network that looks at no text, and a file that holds anything else.
    """
    from checkpoints_convert.tensors import read_tensors

    if not isinstance(network, UNet2DConditionModel):
        raise UserError(f"prompt {brief(str(path))} is for a network that looks at a text, which this one does not")
    if not Path(path).is_file():
        raise UserError(f"there is no file {brief(str(path))} with a prompt's embedding")
    wanted = network.config.prompt_tokens, network.config.cross_attention_dim
    tensors = list(read_tensors(path).values())
    if len(tensors) != 1 or tensors[0].shape not in (wanted, (1, *wanted)):
        shapes = ", ".join(str(list(tensor.shape)) for tensor in tensors[:4])
        raise UserError(f"{path} holds {len(tensors)} tensors ({shapes}); a prompt's embedding is one of {list(wanted)}")
    return tensors[0].reshape(wanted)


def with_prompt(prior: Prior, path: str | Path) -> Prior:
    """A prior that looks at another prompt than the empty one (`read_prompt`)."""
    prompt = read_prompt(path, prior.function.network)  # type: ignore[attr-defined]
    return prior.replace(params=prior.params | {_PROMPT: prompt.astype(np.float32)})


def read_network(config: Mapping[str, Any]) -> tuple[Denoising, bool]:
    """The network of a config, and whether it is the mean half of one that also predicts the variance.

    Raises:
        UserError: names an option that is not supported, or channels that are not those of an image.
    """
    if not isinstance(config, Mapping):
        raise UserError(f"the network's config is {brief(config)}, not an object")
    network: Denoising = network_of(config, DENOISING)
    channels = network.inputs["x"].shape[-1]
    outputs = getattr(network.config, "out_channels", channels)
    if outputs == channels:
        return network, False
    if not isinstance(network, UNet2DModel) or outputs != 2 * channels:
        raise UserError(
            f"the network takes {channels} channels and gives {outputs}: the {outputs} outputs of a prior are the channels of "
            "an image, or twice as many with the variance"
        )
    return UNet2DModel(dataclasses.replace(network.config, out_channels=channels)), True


def _patches(stated: Any) -> tuple[float, ...]:
    """`Prior.patches` as a network's config states them."""
    if stated is None:
        return ()
    numbers = isinstance(stated, list) and all(type(scale) in (int, float) and 1 <= scale < math.inf for scale in stated)
    if not numbers:
        raise UserError(f"{PATCHES} is {brief(stated)}; it must be a list of factors of 1 (full size) or more")
    return tuple(stated)


def _mean_half(name: str, tensor: Any) -> Any:
    """The last convolution's first half: ε, without the variance that follows (Nichol & Dhariwal 2021, section 3.1)."""
    last = name.endswith(("conv_out.weight", "conv_out.bias"))
    return tensor[: len(tensor) // 2] if last and tensor.ndim and len(tensor) % 2 == 0 else tensor
