"""Writes trajectories.npz: pictures to latents and back in 20 Euler steps each, with the reference code's networks.

Run as ``REFERENCES=folder python -m tests.priors.make_trajectories``; see `tests.reference_code` for the commits. dz/dσ = ε(z, σ)
with ε of each reference's own words: a score, a denoised image, a noise or a velocity.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch

from tests.checkpoints_convert.layouts import ADM, SCORE_SDE, SKIP_BLOCKS
from tests.checkpoints_convert.make_files import _EDM2, _SONG
from tests.checkpoints_convert.make_layouts import score_sde, weighted
from tests.models.architectures import weights
from tests.models.make_golden_networks import nchw, nhwc
from tests.models.networks import CODECS, DIT
from tests.priors.trajectories import IMAGES, LABELS, LDM, PLAIN, SIGMA, STEPS, TEXT, images_of
from tests.reference_code import load

Eps = Callable[[torch.Tensor, float], torch.Tensor]
PATH = Path(__file__).with_name("trajectories.npz")


def one_hot(classes: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.from_numpy(LABELS), classes).float()


def levels(z: torch.Tensor, sigma: float) -> torch.Tensor:
    return torch.full((len(z),), sigma)


def denoised(network: torch.nn.Module) -> Eps:
    """EDM's networks answer with the mean of the image."""
    return lambda z, sigma: (z - network(z, levels(z, sigma), one_hot(5))) / sigma


def scored(network: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Eps:
    """Variance-exploding networks answer with the score of images in [0, 1]."""
    return lambda z, sigma: -sigma / 2 * network((z + 1) / 2, levels(z, sigma / 2))


def tabled(network: Callable[..., torch.Tensor], betas: np.ndarray) -> tuple[Eps, float]:
    """Networks of DDPM's timesteps answer with the noise; log σ is linear between timesteps."""
    bar = np.cumprod(1 - betas)
    table = np.log(np.sqrt((1 - bar) / bar))

    def eps(z: torch.Tensor, sigma: float) -> torch.Tensor:
        t = float(np.interp(np.log(sigma), table, np.arange(len(betas))))
        return network(z / np.sqrt(1 + sigma**2), levels(z, t))[:, : z.shape[1]]

    return eps, float(np.exp(table[0]))


def vp_sde(network: torch.nn.Module) -> tuple[Eps, float]:
    """score_sde's VP networks are told t·999 and answer with the noise; t is found in the reference's own kernel."""
    sde = load("score_sde_pytorch", "sde_lib").VPSDE()

    def sigma_of(t: float) -> float:
        mean, std = sde.marginal_prob(torch.ones(1, 1, 1, 1, dtype=torch.float64), torch.tensor([t], dtype=torch.float64))
        return float(std / mean)

    def eps(z: torch.Tensor, sigma: float) -> torch.Tensor:
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if sigma_of(middle) < sigma else (low, middle)
        return network(z / np.sqrt(1 + sigma**2), levels(z, 999 * low))

    return eps, sigma_of(1e-3)


def flowing(network: torch.nn.Module) -> Eps:
    """A flow's network answers with noise less image, at x_t = (1 − t) x_0 + t ε."""

    def eps(z: torch.Tensor, sigma: float) -> torch.Tensor:
        t = sigma / (1 + sigma)
        x = (1 - t) * z
        return x + (1 - t) * network(x, levels(z, 1000 * t)).sample

    return eps


def codec(name: str, scale: float) -> tuple[Callable[..., torch.Tensor], Callable[..., torch.Tensor]]:
    network = weighted((diffusers.VQModel if name == "vq" else diffusers.AutoencoderKL)(**CODECS[name]))
    latents = (lambda x: network.encode(x).latents) if name == "vq" else (lambda x: network.encode(x).latent_dist.mean)
    return lambda x: scale * latents(x), lambda z: network.decode(z / scale).sample.clamp(-1, 1)


def plain(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if not key.startswith("_")}


LINEAR, SCALED = np.linspace(1e-4, 0.02, 1000), np.linspace(0.0015**0.5, 0.0195**0.5, 1000) ** 2


def kinds() -> dict[str, tuple[Eps, float, Any]]:
    """ε of each kind, the level where it starts, and its codec."""
    found: dict[str, tuple[Eps, float, Any]] = {}
    edm = weighted(load("edm", "training.networks").EDMPrecond(8, 3, 5, model_type="SongUNet", **_SONG))
    found["edm"] = denoised(edm), 0.002, None
    edm2 = weighted(load("edm2", "training.networks_edm2").Precond(8, 3, 5, **_EDM2)).half().float()
    found["edm2"] = denoised(edm2), 0.002, None
    ve = weighted(score_sde({"nf": 8, "ch_mult": (1,), "attn_resolutions": (), "progressive_input": "none"}))
    found["score-sde-ve"] = scored(ve), 0.02, None
    skip = weighted(diffusers.UNet2DModel(**plain(SKIP_BLOCKS)))
    found["ncsnpp"] = scored(lambda x, sigma: skip(x, sigma).sample), 0.02, None
    found["score-sde-vp"] = *vp_sde(weighted(score_sde(SCORE_SDE["vp"][1]))), None
    adm = weighted(load("guided-diffusion", "guided_diffusion.unet").UNetModel(**ADM["adm-classes"][1]))
    found["guided-diffusion"] = *tabled(functools.partial(adm, y=torch.from_numpy(LABELS)), LINEAR), None
    found["flow"] = flowing(weighted(diffusers.UNet2DModel(**plain(PLAIN)))), 1 / 999, None
    dit = weighted(load("DiT", "models").DiT(**DIT["dit"]))
    found["dit"] = *tabled(functools.partial(dit, y=torch.from_numpy(LABELS)), LINEAR), codec("kl", 0.18215)
    ldm = weighted(diffusers.UNet2DModel(**plain(LDM)))
    found["ldm"] = *tabled(lambda x, t: ldm(x, t).sample, SCALED), codec("vq", 1.0)
    options = {key: value for key, value in plain(TEXT).items() if key != "prompt_tokens"}
    reads = weighted(diffusers.UNet2DConditionModel(**options))
    prompt = weights({"empty_prompt": (TEXT["prompt_tokens"], TEXT["cross_attention_dim"])})["empty_prompt"]
    text = torch.from_numpy(np.broadcast_to(prompt, (len(IMAGES), *prompt.shape)).copy())
    found["text"] = *tabled(lambda x, t: reads(x, t, text).sample, SCALED), codec("kl", 0.18215)
    return found


@functools.cache
@torch.no_grad()
def answers() -> dict[str, np.ndarray]:
    """x_t, and pictures back from there, of each kind by its name."""
    golden: dict[str, np.ndarray] = {}
    for name, (eps, start, between) in kinds().items():
        encode, decode = between or (lambda x: x, lambda z: z)
        images = nchw(images_of(name))
        sigmas, z = np.geomspace(start, SIGMA, STEPS + 1), encode(images)
        for now, after in itertools.pairwise(sigmas):
            z = z + float(after - now) * eps(z, float(now))
        golden[f"{name}.latents"] = nhwc(z) / np.sqrt(1 + SIGMA**2)
        for now, after in itertools.pairwise(sigmas[::-1]):
            z = z + float(after - now) * eps(z, float(now))
        golden[name] = nhwc(decode(z - start * eps(z, start)))
    return {key: value.astype(np.float32) for key, value in golden.items()}


if __name__ == "__main__":
    np.savez_compressed(PATH, **answers())
