"""Priors of folders and files in other people's formats and in ours: what each holds as plain data, made a `Prior`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from code_jax.errors import UserError, brief
from code_jax.models.config import UNet2DConfig
from code_jax.models.unet import UNet2DModel
from code_jax.priors.prior import Prior
from code_jax.priors.save import PATCHES
from code_jax.priors.scheduler import read_scheduler
from code_jax.priors.weights import from_state_dict

if TYPE_CHECKING:
    from checkpoints_convert.contents import Contents


def read_weights_file(path: str | Path, **facts: Any) -> Prior:
    """The prior of a file of guided-diffusion weights; `facts` are those of `GuidedDiffusion` that the shapes do not tell.

    Raises:
        UserError: if the weights are of another family, or do not fit what was stated.
    """
    from checkpoints_convert.guided_diffusion import GuidedDiffusion, read_guided_diffusion

    return to_prior(read_guided_diffusion(path, GuidedDiffusion(**facts)))


def read_prior(folder: Path) -> Prior:
    """The prior of a folder in any format that is known here; raises UserError for others."""
    from checkpoints_convert.folders import read_folder

    return to_prior(read_folder(folder))


def to_prior(contents: Contents) -> Prior:
    """The prior of what a checkpoint holds; its configs are understood before its weights are read.

    Raises:
        UserError: names what is not supported or does not fit.
    """
    network, takes_mean = read_network(contents.network)
    patches = _patches(contents.network.get(PATCHES))
    schedule, prediction_type = read_scheduler(contents.scheduler)
    state = contents.state()
    if takes_mean:
        state = {name: _mean_half(name, tensor) for name, tensor in state.items()}
    prior = Prior.from_network(network, from_state_dict(network, state), schedule, prediction_type)
    return prior.replace(patches=patches)


def read_network(config: Mapping[str, Any]) -> tuple[UNet2DModel, bool]:
    """The network of a config, and whether it is the mean half of one that also predicts the variance.

    Raises:
        UserError: names an option that is not supported, or channels that are not those of an image.
    """
    if not isinstance(config, Mapping):
        raise UserError(f"the network's config is {brief(config)}, not an object")
    network = UNet2DConfig.from_diffusers(config)
    if network.num_class_embeds is not None:
        raise UserError(
            f"num_class_embeds {network.num_class_embeds} is not supported: a network conditioned on classes is no prior here"
        )
    channels, outputs = network.in_channels, network.out_channels
    if outputs not in (channels, 2 * channels):
        raise UserError(
            f"the network takes {channels} channels and gives {outputs}: the {outputs} outputs of a prior are the channels of "
            "an image, or twice as many with the variance"
        )
    return UNet2DModel(dataclasses.replace(network, out_channels=channels)), outputs != channels


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
