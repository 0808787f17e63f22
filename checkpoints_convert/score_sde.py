"""score_sde_pytorch's NCSN++ and DDPM++ (Song et al. 2021) as a `SongUNet`: one file, no config beside it.

Its network is a list of parts, ``all_modules.N``, in the order in which they are used; what each is follows from its parameters.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from checkpoints_convert.contents import Contents
from checkpoints_convert.pytorch import state_dict_of
from code_jax.errors import UserError, brief
from code_jax.models.options import one_of, whole

SDES = ("ve", "vp", "sub-vp")
_MAX_PARTS = 2000
_BLOCK = {
    "GroupNorm_0": "norm0",
    "Conv_0": "conv0",
    "Dense_0": "affine",
    "GroupNorm_1": "norm1",
    "Conv_1": "conv1",
    "Conv_2": "skip",
}
_PART = re.compile(r"all_modules\.(\d{1,4})\.(.+)")
State = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class ScoreSDE:
    """What the shapes of score_sde's weights do not tell.

    Attributes:
        image_size: height and width of the training images, in pixels.
        sde: "ve", "vp" or "sub-vp": what the network was trained on (in continuous time). Fourier features are those of "ve".
        fir: whether the size changes by the filter (1, 3, 3, 1); None follows the published configs: in NCSN++, whose embedding
            is of Fourier features or whose image enters at every size, and not in DDPM++.
    """

    image_size: int | None = None
    sde: str | None = None
    fir: bool | None = None

    def __post_init__(self) -> None:
        if self.image_size is None:
            raise UserError("score_sde's weights do not tell the size of their images: state image_size")
        whole("image_size", self.image_size, 8192)
        if self.sde is not None:
            one_of("sde", self.sde, SDES)

    def kind(self, fourier: bool) -> str:
        """Of the SDE; raises UserError where it is not known, or does not go with the embedding of the noise level."""
        if self.sde is None and not fourier:
            raise UserError("score_sde's weights do not tell which diffusion they were trained on: state sde, vp or sub-vp")
        kind = self.sde or "ve"
        if fourier != (kind == "ve"):
            told = "Fourier features of the noise level" if fourier else "timesteps"
            raise UserError(f"sde {kind} does not go with these weights, whose network is told {told}")
        return kind


def is_score_sde(state: Mapping[str, np.ndarray]) -> bool:
    """Whether a state dict is one of score_sde."""
    return any(_PART.fullmatch(name.removeprefix("module.")) for name in state)


def convert_score_sde(state: Mapping[str, np.ndarray], facts: ScoreSDE) -> Contents:
    """What a score_sde state dict holds.

    Raises:
        UserError: names what is of another family, is missing, or does not fit what was stated.
    """
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    sigmas = state.pop("sigmas", None)
    parts = _parts(state)
    config = _infer_config(parts, facts)
    kind = facts.kind(config["embedding_type"] == "fourier")
    scheduler: dict[str, Any] = {"_class_name": "ScoreSdeVeScheduler"}
    if kind == "ve":
        if sigmas is None or sigmas.ndim != 1 or len(sigmas) < 2:
            raise UserError("the row of noise levels (sigmas) is missing: this is no whole score_sde checkpoint")
        bounds = float(np.min(sigmas)), float(np.max(sigmas))
        scheduler |= {"sigma_min": bounds[0], "sigma_max": bounds[1], "num_train_timesteps": len(sigmas)}
        config["center_input"] = True  # its data are in [0, 1], and the network centres them
    else:
        name = "ScoreSdeVpScheduler" if kind == "vp" else "ScoreSdeSubVpScheduler"
        scheduler = {"_class_name": name, "beta_min": 0.1, "beta_max": 20.0, "num_train_timesteps": 1000}
    places = list(song_unet_parts(config))
    if len(places) != len(parts):
        raise UserError(f"the weights have {len(parts)} parts, where a network of this kind has {len(places)}")
    return Contents(config, scheduler, lambda: _renamed(parts, places))


def averaged(content: Any) -> Any:
    """The state dict in what a PyTorch file holds: of a training checkpoint, the averaged one."""
    if isinstance(content, dict) and isinstance(content.get("model"), dict) and isinstance(content.get("ema"), dict):
        return average(content["model"], content["ema"].get("shadow_params"))
    return state_dict_of(content)


def average(model: Mapping[str, Any], shadow: Any) -> dict[str, Any]:
    """The state dict of a training checkpoint with its averaged weights, which are stored as a row without names.

    The row has the parameters that learn, in the model's order: all but the noise levels and the Fourier frequencies.

    Raises:
        UserError: if the row does not fit the model.
    """
    learned = [name for name in model if not name.endswith((".W", "sigmas")) or "NIN" in name]
    if not isinstance(shadow, list) or len(learned) != len(shadow):
        count = len(shadow) if isinstance(shadow, list) else "none"
        raise UserError(f"the averaged weights are {count}, the network's {len(learned)}: they do not belong together")
    return dict(model) | dict(zip(learned, shadow, strict=True))


def song_unet_parts(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names of a `SongUNet`'s parts in the order of score_sde's, each with its kind."""
    sizes = [config["img_resolution"] >> level for level in range(len(config["channel_mult"]))]
    if config["embedding_type"] == "fourier":
        yield "map_noise", "fourier"
    yield "map_layer0", "plain"
    yield "map_layer1", "plain"
    yield f"enc.{sizes[0]}x{sizes[0]}_conv", "plain"
    for level, size in enumerate(sizes):
        place = f"enc.{size}x{size}"
        if level:
            yield f"{place}_down", "block"
            if config["encoder_type"] == "skip":
                yield f"{place}_aux_skip", "inner"
            elif config["encoder_type"] == "residual":
                yield f"{place}_aux_residual", "inner"
        for i in range(config["num_blocks"]):
            yield f"{place}_block{i}", "block"
            if size in config["attn_resolutions"]:
                yield f"{place}_block{i}", "attention"
    for size in reversed(sizes):
        place = f"dec.{size}x{size}"
        if size == sizes[-1]:
            yield from ((f"{place}_in0", "block"), (f"{place}_in0", "attention"), (f"{place}_in1", "block"))
        else:
            yield f"{place}_up", "block"
        for i in range(config["num_blocks"] + 1):
            yield f"{place}_block{i}", "block"
        if size in config["attn_resolutions"]:
            yield f"{place}_block{config['num_blocks']}", "attention"
        if config["decoder_type"] == "skip" or size == sizes[0]:
            yield from ((f"{place}_aux_norm", "plain"), (f"{place}_aux_conv", "plain"))


def joined_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Rows of three matrices [C, …] (or biases [C]) as those of one, channel by channel q, k, v."""
    return np.stack([q, k, v], axis=1).reshape(-1, *q.shape[1:])


def _parts(state: Mapping[str, np.ndarray]) -> list[State]:
    """The parameters of each part, by their names inside."""
    found: dict[int, State] = {}
    for name, tensor in state.items():
        match = _PART.fullmatch(name)
        if not match:
            raise UserError(f"these are no weights of score_sde's NCSN++: unexpected {brief(name)}")
        found.setdefault(int(match[1]), {})[match[2]] = tensor
    if not found or sorted(found) != list(range(len(found))) or len(found) > _MAX_PARTS:
        raise UserError("these are no whole weights of score_sde's NCSN++: all_modules have gaps")
    return [found[number] for number in range(len(found))]


def _kind(part: State) -> str:
    if "GroupNorm_1.weight" in part:
        shortcut = part.get("Conv_2.weight")
        return "resampling" if shortcut is not None and shortcut.shape[0] == shortcut.shape[1] else "block"
    kinds = {"NIN_3.W": "attention", "W": "fourier", "Conv2d_0.weight": "residual", "Conv_0.weight": "skip", "weight": "plain"}
    return next((kind for name, kind in kinds.items() if name in part), "unknown")


def _infer_config(parts: list[State], facts: ScoreSDE) -> dict[str, Any]:
    """`SongUNet`'s arguments, from the parts in their order; the way down is read, the way up follows from it."""
    kinds = [_kind(part) for part in parts]
    fourier = kinds[0] == "fourier"
    start = 3 if fourier else 2
    stem = parts[start].get("weight") if len(parts) > start else None
    first = parts[start - 2].get("weight")
    if (
        kinds[1 if fourier else 0 : start + 1] != ["plain"] * 3
        or stem is None
        or stem.ndim != 4
        or first is None
        or first.ndim != 2
    ):
        raise UserError("the first parts are no embedding of the noise level and no convolution: this is no NCSN++")
    if "block" not in kinds or any("NIN_0.W" in part and "Conv_0.weight" in part for part in parts):
        raise UserError("the residual blocks are those of DDPM (resblock_type 'ddpm'), which is not supported; 'biggan' is")
    levels = kinds.count("resampling") // 2 + 1
    blocks = [number for number, kind in enumerate(kinds) if kind == "block"]
    each, rest = divmod(len(blocks) - 2 - levels, 2 * levels)  # a level has one block more on the way up; the middle has two
    if rest or each < 1:
        raise UserError(f"{len(blocks)} residual blocks do not form {levels} levels")
    firsts = blocks[: levels * each : each]
    channels = [parts[number]["GroupNorm_1.weight"].shape[0] for number in firsts]
    size = facts.image_size or 0
    width, heights = stem.shape[0], [size >> level for level in range(levels)]
    if any(count % width for count in channels) or first.shape[0] % width:
        raise UserError(f"the levels' channels {channels} are no multiples of the first convolution's {width}")
    progressive = next((kind for kind in ("skip", "residual") if kind in kinds), "standard")
    fir = (fourier or progressive != "standard") if facts.fir is None else facts.fir
    norms = sum(kind == "plain" and part["weight"].ndim == 1 for kind, part in zip(kinds, parts, strict=True))
    return {
        "_class_name": "SongUNet",
        "img_resolution": size,
        "in_channels": stem.shape[1],
        "out_channels": stem.shape[1],
        "model_channels": width,
        "channel_mult": [count // width for count in channels],
        "channel_mult_emb": first.shape[0] // width,
        "channel_mult_noise": 2 if fourier else 1,
        "num_blocks": each,
        "attn_resolutions": [height for height, n in zip(heights, firsts, strict=True) if kinds[n + 1] == "attention"],
        "embedding_type": "fourier" if fourier else "positional",
        "encoder_type": progressive,
        "decoder_type": "skip" if norms > 1 else "standard",
        "resample_filter": [1, 3, 3, 1] if fir else [1, 1],
        "center_input": False,
    }


def _renamed(parts: list[State], places: list[tuple[str, str]]) -> State:
    """A `SongUNet`'s state dict; names that are not known stay, to be reported as left over."""
    state: State = {}
    for number, (part, (place, kind)) in enumerate(zip(parts, places, strict=True)):
        if kind == "attention" and all(f"NIN_{i}.{leaf}" in part for i in range(4) for leaf in "Wb"):
            part = dict(part)
            for leaf, name in (("W", "weight"), ("b", "bias")):
                q, k, v, proj = (part.pop(f"NIN_{i}.{leaf}").T for i in range(4))
                state |= {f"{place}.qkv.{name}": joined_attention(q, k, v), f"{place}.proj.{name}": proj}
        for name, tensor in part.items():
            inner, _, leaf = name.rpartition(".")
            if kind == "block" and inner in _BLOCK:
                state[f"{place}.{_BLOCK[inner]}.{leaf}"] = tensor
            elif kind == "attention" and inner == "GroupNorm_0":
                state[f"{place}.norm2.{leaf}"] = tensor
            elif (kind == "inner" and inner in ("Conv_0", "Conv2d_0")) or (kind == "plain" and not inner):
                state[f"{place}.{leaf}"] = tensor
            elif kind == "fourier" and name == "W":
                state[f"{place}.freqs"] = tensor
            else:
                state[f"all_modules.{number}.{name}"] = tensor
    return {name: tensor[:, :, None, None] if _is_matrix(name, tensor) else tensor for name, tensor in state.items()}


def _is_matrix(name: str, tensor: np.ndarray) -> bool:
    return name.endswith((".qkv.weight", ".proj.weight")) and tensor.ndim == 2
