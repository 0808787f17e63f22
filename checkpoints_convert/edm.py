"""The networks of EDM and EDM2 (Karras et al. 2022, 2024): `SongUNet`, DhariwalUNet as a `UNet2DModel`, and `EDM2UNet`.

Their names hold the sizes of the levels, so that the architecture can be read from a state dict alone; what it does not show is
told by the arguments that NVlabs' pickles keep.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from checkpoints_convert.contents import Contents
from code_jax.errors import UserError, brief

PRECONDITIONS = ("EDMPrecond", "VPPrecond", "VEPrecond", "iDDPMPrecond")
_HEAD, _GROUPS = 64, 32  # of DhariwalUNet
_STEM = re.compile(r"enc\.(\d{1,5})x\1_conv\.weight")
_RESNET = {
    "norm0": "norm1", "conv0": "conv1", "affine": "time_emb_proj", "norm1": "norm2", "conv1": "conv2", "skip": "conv_shortcut",
}  # fmt: skip
_ATTENTION = {"norm2": "group_norm", "proj": "to_out.0"}
State = dict[str, np.ndarray]


def is_edm(state: Mapping[str, np.ndarray]) -> bool:
    """Whether a state dict is one of EDM or EDM2."""
    return any(_STEM.fullmatch(_inner(name)) for name in state)


def convert_edm(
    state: Mapping[str, np.ndarray], precondition: str | None = None, options: Mapping[str, Any] | None = None
) -> Contents:
    """What a state dict of EDM or EDM2 holds.

    Args:
        state: by the reference's names, of the whole (``model.…``, ``unet.…``) or of the network alone.
        precondition: the class that the network was wrapped in: one of `PRECONDITIONS`; EDM2 has one alone, "Precond".
        options: the arguments of the network and of its wrapper, as far as they are known.

    Raises:
        UserError: names what is of another family, is missing, or is not supported.
    """
    options = dict(options or {})
    inner = {_inner(name): tensor for name, tensor in state.items()}
    is_edm2 = "emb_noise.weight" in inner
    if precondition is None and not is_edm2:
        raise UserError(f"the weights do not tell how the network is scaled: state precondition, {', '.join(PRECONDITIONS)}")
    precondition = precondition or "Precond"
    if precondition not in (("Precond",) if is_edm2 else PRECONDITIONS):
        kinds = "Precond" if is_edm2 else ", ".join(PRECONDITIONS)
        raise UserError(f"the preconditioning {brief(precondition)} is not one of this network's: {kinds}")
    stem = [int(match[1]) for name in inner if (match := _STEM.fullmatch(name))]
    if len(stem) != 1:
        raise UserError("these are no weights of EDM: there is no enc.*_conv.weight, or more than one")
    levels = _levels(inner, stem[0])
    stated = {name: options[name] for name in _WRAPPER if name in options}
    scheduler = {"_class_name": precondition} | {name: value for name, value in stated.items() if math.isfinite(value)}
    network = {name: value for name, value in options.items() if name not in _WRAPPER}
    if is_edm2:
        for name in ("logvar_fourier.freqs", "logvar_fourier.phases", "logvar_linear.weight"):
            inner.pop(name, None)  # the uncertainty of the training loss
        return Contents(_edm2_config(inner, levels) | network, scheduler, lambda: inner)
    inner.pop("map_augment.weight", None)  # labels of the training's augmentation: none at any other time
    inner.pop("u", None)  # iDDPM's noise levels
    taps, inner = _without_filters(inner)
    if "out_conv.weight" in inner:
        config = _dhariwal_config(inner, levels, taps)
        return Contents(config, scheduler, lambda: _dhariwal_state(inner, config, levels))
    return Contents(_song_config(inner, levels, taps) | network, scheduler, lambda: inner)


def convert_bare_edm(state: Mapping[str, np.ndarray], precondition: str | None = None) -> Contents:
    """What a state dict that has left its pickle holds; see `convert_edm`.

    Raises:
        UserError: for EDM2's networks of latents as well, whose pickle alone tells how the latents are scaled.
    """
    contents = convert_edm(state, precondition)
    channels = contents.network.get("img_channels", 3)
    if channels not in (1, 3):
        raise UserError(f"an EDM2 network of {channels} channels is one of latents, whose scale its pickle tells: give the .pkl")
    return contents


# Arguments of the wrappers that say how the network is scaled, and those that say nothing of it.
_WRAPPER = ("sigma_min", "sigma_max", "sigma_data", "beta_d", "beta_min", "M", "epsilon_t", "C_1", "C_2")


def _inner(name: str) -> str:
    """A parameter's name inside the network that a wrapper holds."""
    return name.removeprefix("unet.").removeprefix("model.")


def _levels(state: Mapping[str, np.ndarray], top: int) -> list[int]:
    """Heights of the levels, finest first."""
    levels = [top]
    while levels[-1] % 2 == 0 and any(name.startswith(f"enc.{levels[-1] // 2}x{levels[-1] // 2}_down.") for name in state):
        levels.append(levels[-1] // 2)
    return levels


def _get(state: Mapping[str, np.ndarray], name: str, ndim: int) -> np.ndarray:
    tensor = state.get(name)
    if tensor is None or tensor.ndim != ndim or not tensor.size:
        raise UserError(f"{name} is {'missing' if tensor is None else f'of shape {list(tensor.shape)}'}")
    return tensor


def _blocks(state: Mapping[str, np.ndarray], levels: list[int], last: str) -> tuple[int, list[int]]:
    """Blocks of a level on the way down, and the channels of each level."""
    count = 0
    while f"enc.{levels[0]}x{levels[0]}_block{count}.{last}.weight" in state:
        count += 1
    if not count:
        raise UserError(f"enc.{levels[0]}x{levels[0]}_block0.{last}.weight is missing")
    return count, [_get(state, f"enc.{size}x{size}_block0.{last}.weight", 4).shape[0] for size in levels]


def _attending(state: Mapping[str, np.ndarray], levels: list[int], name: str) -> list[int]:
    return [size for size in levels if f"enc.{size}x{size}_block0.{name}.weight" in state]


def _multiples(name: str, counts: list[int], width: int) -> list[int]:
    if any(count % width for count in counts):
        raise UserError(f"{name} {counts} are no multiples of {width}")
    return [count // width for count in counts]


def _without_filters(state: Mapping[str, np.ndarray]) -> tuple[tuple[int, ...], State]:
    """The filter of which every ``resample_filter`` is the square, and the state dict without them."""
    filters = {name: tensor for name, tensor in state.items() if name.endswith(".resample_filter")}
    rest = {name: tensor for name, tensor in state.items() if name not in filters}
    if not filters:
        return (), rest
    taps = (1, 3, 3, 1) if next(iter(filters.values())).shape[-1] == 4 else (1, 1)
    square = np.outer(taps, taps)[None, None] / np.sum(taps) ** 2
    for name, tensor in filters.items():
        if tensor.shape != square.shape or not np.allclose(tensor.astype(np.float32), square, atol=1e-3):
            raise UserError(f"{name} is another filter than (1, 1) and (1, 3, 3, 1), or than the others")
    return taps, rest


def _song_config(state: Mapping[str, np.ndarray], levels: list[int], taps: tuple[int, ...]) -> dict[str, Any]:
    top, place = levels[0], f"enc.{levels[0]}x{levels[0]}"
    if len(levels) > 1 and not taps:
        raise UserError("the filters of the resampling (*.resample_filter) are missing")
    stem, mapping = _get(state, f"{place}_conv.weight", 4), _get(state, "map_layer0.weight", 2)
    width, (blocks, channels) = stem.shape[0], _blocks(state, levels, "conv1")
    embedding, noise = _multiples("the embedding's widths", list(mapping.shape), width)
    return {
        "_class_name": "SongUNet",
        "img_resolution": top,
        "in_channels": stem.shape[1],
        "out_channels": _get(state, f"dec.{top}x{top}_aux_conv.weight", 4).shape[0],
        "label_dim": _get(state, "map_label.weight", 2).shape[1] if "map_label.weight" in state else 0,
        "model_channels": width,
        "channel_mult": _multiples("the levels' channels", channels, width),
        "channel_mult_emb": embedding,
        "channel_mult_noise": noise,
        "num_blocks": blocks,
        "attn_resolutions": _attending(state, levels, "qkv"),
        "embedding_type": "fourier" if "map_noise.freqs" in state else "positional",
        "encoder_type": next(
            (kind for kind in ("skip", "residual") if any(f"_aux_{kind}." in name for name in state)), "standard"
        ),
        "decoder_type": "skip" if sum(name.endswith("_aux_norm.weight") for name in state) > 1 else "standard",
        "resample_filter": list(taps or (1, 1)),
    }


def _edm2_config(state: Mapping[str, np.ndarray], levels: list[int]) -> dict[str, Any]:
    blocks, channels = _blocks(state, levels, "conv_res1")
    width = math.gcd(*channels)
    noise = _get(state, "emb_noise.weight", 2)
    embedding_mult, noise_mult = _multiples("the embedding's widths", list(noise.shape), width)
    return {
        "_class_name": "EDM2UNet",
        "img_resolution": levels[0],
        "img_channels": _get(state, "out_conv.weight", 4).shape[0],
        "label_dim": _get(state, "emb_label.weight", 2).shape[1] if "emb_label.weight" in state else 0,
        "model_channels": width,
        "channel_mult": _multiples("the levels' channels", channels, width),
        "channel_mult_noise": noise_mult,
        "channel_mult_emb": embedding_mult,
        "num_blocks": blocks,
        "attn_resolutions": _attending(state, levels, "attn_qkv"),
    }


def _dhariwal_config(state: Mapping[str, np.ndarray], levels: list[int], taps: tuple[int, ...]) -> dict[str, Any]:
    top, (blocks, channels) = levels[0], _blocks(state, levels, "conv1")
    mapping = _get(state, "map_layer0.weight", 2)
    if taps not in ((), (1, 1)):
        raise UserError(f"resample_filter {taps} is not supported in a DhariwalUNet; (1, 1) is")
    if min(channels) < 4 * _GROUPS:
        raise UserError(
            f"a DhariwalUNet of {min(channels)} channels is not supported: its norms have fewer than {_GROUPS} groups"
        )
    attending = [size in _attending(state, levels, "qkv") for size in levels]
    return {
        "_class_name": "UNet2DModel",
        "sample_size": top,
        "in_channels": _get(state, f"enc.{top}x{top}_conv.weight", 4).shape[1],
        "out_channels": _get(state, "out_conv.weight", 4).shape[0],
        "time_embedding_dim": mapping.shape[0],
        **({} if mapping.shape[1] == channels[0] else {"time_sinusoids": mapping.shape[1]}),
        "down_block_types": ["AttnDownBlock2D" if attention else "ResnetDownsampleBlock2D" for attention in attending],
        "up_block_types": ["AttnUpBlock2D" if attention else "ResnetUpsampleBlock2D" for attention in reversed(attending)],
        "block_out_channels": channels,
        "layers_per_block": blocks,
        "downsample_type": "resnet",
        "upsample_type": "resnet",
        "attention_head_dim": _HEAD,
        "norm_num_groups": _GROUPS,
        "attn_norm_num_groups": _GROUPS,
        "resnet_time_scale_shift": "scale_shift",
        "num_class_embeds": _get(state, "map_label.weight", 2).shape[1] if "map_label.weight" in state else None,
    }


def _dhariwal_state(state: Mapping[str, np.ndarray], config: Mapping[str, Any], levels: list[int]) -> State:
    """diffusers' state dict; unknown names stay, to be reported as left over."""
    plain, blocks = _dhariwal_prefixes(config, levels)
    renamed: State = {}
    for name, tensor in state.items():
        path, _, leaf = name.rpartition(".")
        outer, _, inner = path.rpartition(".")
        if name == "map_label.weight":
            renamed["class_embedding.weight"] = tensor.T
        elif path in plain:
            renamed[f"{plain[path]}.{leaf}"] = tensor
        elif outer in blocks and inner in _RESNET:
            renamed[f"{blocks[outer][0]}.{_RESNET[inner]}.{leaf}"] = tensor
        elif outer in blocks and inner in _ATTENTION:
            flat = tensor[:, :, 0, 0] if tensor.ndim == 4 and tensor.shape[2:] == (1, 1) else tensor
            renamed[f"{blocks[outer][1]}.{_ATTENTION[inner]}.{leaf}"] = flat
        elif outer in blocks and inner == "qkv" and tensor.shape[0] % 3 == 0:
            rows = tensor.reshape(tensor.shape[0] // 3, 3, *tensor.shape[1:2])  # channel by channel q, k, v
            for i, part in enumerate(("to_q", "to_k", "to_v")):
                renamed[f"{blocks[outer][1]}.{part}.{leaf}"] = rows[:, i]
        else:
            renamed[name] = tensor
    return renamed


def _dhariwal_prefixes(config: Mapping[str, Any], levels: list[int]) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
    """diffusers' names of EDM's plain submodules, and of its blocks: of the residual block and of the attention in each."""
    top, bottom, last = levels[0], levels[-1], len(levels) - 1
    plain = {
        "map_layer0": "time_embedding.linear_1",
        "map_layer1": "time_embedding.linear_2",
        f"enc.{top}x{top}_conv": "conv_in",
        "out_norm": "conv_norm_out",
        "out_conv": "conv_out",
    }
    blocks = {
        f"dec.{bottom}x{bottom}_in{i}": (f"mid_block.resnets.{i}", "mid_block.attentions.0" if i == 0 else "") for i in range(2)
    }
    for level, size in enumerate(levels):
        down, up = f"down_blocks.{level}", f"up_blocks.{last - level}"
        for i in range(config["layers_per_block"]):
            blocks[f"enc.{size}x{size}_block{i}"] = f"{down}.resnets.{i}", f"{down}.attentions.{i}"
        for i in range(config["layers_per_block"] + 1):
            blocks[f"dec.{size}x{size}_block{i}"] = f"{up}.resnets.{i}", f"{up}.attentions.{i}"
        if level < last:
            below = levels[level + 1]
            blocks[f"enc.{below}x{below}_down"] = f"{down}.downsamplers.0", ""
            blocks[f"dec.{size}x{size}_up"] = f"up_blocks.{last - level - 1}.upsamplers.0", ""
    return plain, blocks
