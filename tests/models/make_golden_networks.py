"""Writes golden_networks.npz: what the reference code of `tests.reference_code` and of diffusers answers for `networks`.

Run as ``REFERENCES=folder python -m tests.models.make_golden_networks``; made with diffusers 0.42.1 and transformers 5.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch

from tests.models.architectures import weights
from tests.models.networks import CLIP, CODECS, DIT, EDM2, LABELS, SONG, TEXT, images, noise_levels
from tests.reference_code import load

GOLDEN = Path(__file__).with_name("golden_networks.npz")


def weighted(network: torch.nn.Module) -> torch.nn.Module:
    """A network with the weights of its parameters' names; filters that are no parameters stay."""
    state = network.eval().state_dict()
    named = weights({name: tuple(tensor.shape) for name, tensor in state.items() if "resample_filter" not in name})
    network.load_state_dict(state | {name: torch.from_numpy(np.asarray(values)) for name, values in named.items()})
    return network


def nchw(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x).permute(0, 3, 1, 2)


def nhwc(x: torch.Tensor) -> np.ndarray:
    return x.permute(0, 2, 3, 1).numpy()


def codec(name: str) -> dict[str, np.ndarray]:
    """Latents of pictures, pictures of these latents, and those without the codebook."""
    import diffusers

    is_vq = "num_vq_embeddings" in CODECS[name]
    network = weighted((diffusers.VQModel if is_vq else diffusers.AutoencoderKL)(**CODECS[name]))
    with torch.no_grad():
        encoded = network.encode(nchw(images(8, network.config.in_channels)))
        latents = encoded.latents if is_vq else encoded.latent_dist.mean
        answers = {f"{name}.latents": nhwc(latents), name: nhwc(network.decode(latents).sample)}
        if is_vq:
            answers[f"{name}.unquantized"] = nhwc(network.decode(latents, force_not_quantize=True).sample)
    return answers


@torch.no_grad()
def text(name: str) -> np.ndarray:
    """The answer of a network that looks at the empty prompt, whose embedding is its parameter here."""
    import diffusers

    options = {key: value for key, value in TEXT[name].items() if key != "prompt_tokens"}
    network = weighted(diffusers.UNet2DConditionModel(**options))
    prompt = weights({"empty_prompt": (TEXT[name]["prompt_tokens"], options["cross_attention_dim"])})["empty_prompt"]
    x, t = nchw(images(8, options["in_channels"])), torch.from_numpy(noise_levels(name))
    return nhwc(network(x, t, torch.from_numpy(np.broadcast_to(prompt, (8, *prompt.shape)).copy())).sample)


@functools.cache
@torch.no_grad()
def answers() -> dict[str, np.ndarray]:
    """The answer of each network of `tests.models.networks` by its name."""
    from transformers import CLIPTextConfig, CLIPTextModel

    golden: dict[str, np.ndarray] = {}
    for name, options in SONG.items():
        network = weighted(load("edm", "training.networks").SongUNet(**options))
        classes = options.get("label_dim")
        labels = torch.nn.functional.one_hot(torch.from_numpy(LABELS), classes).float() if classes else None
        golden[name] = nhwc(network(nchw(images(8, options["in_channels"])), torch.from_numpy(noise_levels(name)), labels))
    for name, options in EDM2.items():
        network = weighted(load("edm2", "training.networks_edm2").UNet(**options))
        classes = options["label_dim"]
        labels = torch.nn.functional.one_hot(torch.from_numpy(LABELS), classes).float() if classes else None
        golden[name] = nhwc(network(nchw(images(8, options["img_channels"])), torch.from_numpy(noise_levels(name)), labels))
    for name, options in DIT.items():
        network = weighted(load("DiT", "models").DiT(**options))
        x = nchw(images(options["input_size"], options["in_channels"]))
        golden[name] = nhwc(network(x, torch.from_numpy(noise_levels(name)), torch.from_numpy(LABELS)))
    for name in CODECS:
        golden |= codec(name)
    golden |= {name: text(name) for name in TEXT}
    clip = weighted(CLIPTextModel(CLIPTextConfig(**CLIP, bos_token_id=28, eos_token_id=29)))
    golden["clip"] = clip(torch.tensor([[28] + [29] * 8])).last_hidden_state.numpy()
    return golden


if __name__ == "__main__":
    np.savez_compressed(GOLDEN, **answers())
