"""What an edit with each published network costs: to compile, in memory, and an evaluation in operations; no weights needed.

    python -m tests.benchmarks.compile_priors [NAME …] [--micro-batch 1] [--lowered]

From shapes alone: an edit's programs (of a latent prior three: encoding, the edit, decoding) are traced and compiled for the
device at hand, and nothing is computed. Operations are those that XLA counts in one evaluation of ε at one image. How often the
program of an edit holds the network is the number of its convolutions and products over that of one evaluation. The last columns
are what ``--batch-size auto`` would take on devices of these sizes. Lowered programs are not compiled, and tell no memory.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import jax
import jax.numpy as jnp

import code_jax
from code_jax.devices.mesh import weights_of
from code_jax.diffusion.codec import latent_shape
from code_jax.editing.conditions import check_condition
from code_jax.editing.edit import advance, begin, per_image
from code_jax.editing.keys import image_keys
from code_jax.editing.memory import memory_analysis
from code_jax.models.config import UNet2DConfig
from code_jax.models.networks import network_of
from code_jax.models.unet import UNet2DModel
from code_jax.priors.autoencoding import Autoencoding, picture_shape
from code_jax.priors.read import read_network
from code_jax.priors.scaling import read_scaling
from code_jax.priors.weights import expected_params
from code_jax.runs.micro_batch import fitting
from tests.checkpoints_convert.published import contents_of, published
from tests.models.architectures import CELEBAHQ256, CIFAR10

_VAE, _VQ = "stable-diffusion-v1 vae", "CompVis/ldm-celebahq-256 vqvae"
PUBLISHED: dict[str, tuple[Any, str | None]] = {  # the config or the checkpoint of the network, and the one of its codec
    "google/ddpm-cifar10-32": (CIFAR10, None),
    "google/ddpm-celebahq-256": (CELEBAHQ256, None),
    "google/ncsnpp-celebahq-256": ("google/ncsnpp-celebahq-256", None),
    "score_sde ffhq 1024 (ncsnpp)": ("score_sde ve/ffhq_ncsnpp_continuous", None),
    "score_sde cifar10 (ddpm++)": ("score_sde vp/cifar10_ddpmpp_continuous", None),
    "512x512_diffusion": ("512x512_diffusion", None),
    "256x256_diffusion_uncond": ("256x256_diffusion_uncond", None),
    "64x64_diffusion": ("64x64_diffusion", None),
    "edm-ffhq-64x64-uncond-vp": ("edm-ffhq-64x64-uncond-vp", None),
    "edm-imagenet-64x64-cond-adm": ("edm-imagenet-64x64-cond-adm", None),
    "edm2-img64-s": ("edm2-img64-s", None),
    "edm2-img512-s": ("edm2-img512-s", _VAE),
    "CompVis/ldm-celebahq-256": ("CompVis/ldm-celebahq-256 unet", _VQ),
    "facebook/DiT-XL-2-256": ("DiT-XL-2-256x256", _VAE),
    "facebook/DiT-XL-2-512": ("DiT-XL-2-512x512", _VAE),
    "CompVis/stable-diffusion-v1-4": ("stable-diffusion-v1 unet", _VAE),
}


_COLUMNS = (
    "prior", "parameters, M", "an evaluation, GFLOP", "weights, MB", "working memory of an image, MB", "to trace, s",
    "to compile, s", "times the network", "auto, 16 GB", "auto, 80 GB",
)  # fmt: skip


def ddpm(config: dict[str, Any]) -> code_jax.Prior:
    """A network of Ho et al. 2020 with the shapes of its weights."""
    network = UNet2DModel(UNet2DConfig.from_diffusers({"layers_per_block": 2} | config))
    return code_jax.Prior.from_network(network, expected_params(network), code_jax.linear_schedule(), "epsilon")


def prior_of(name: str) -> code_jax.Prior:
    """A published prior with the shapes of its weights."""
    checkpoint, codec = PUBLISHED[name]
    if isinstance(checkpoint, dict):
        return ddpm(checkpoint)
    entries = published()
    contents = contents_of(entries[checkpoint])
    network, _ = read_network(contents.network)
    prior = code_jax.Prior.of_network(network, expected_params(network), read_scaling(contents.scheduler))
    if codec is None:
        return prior
    autoencoder, latents = network_of(contents_of(entries[codec]).network), prior.image_shape
    shapes = expected_params(autoencoder)
    return prior.with_codec(Autoencoding(shapes, autoencoder, latents), picture_shape(autoencoder, latents))


def products(jaxpr: Any) -> int:
    """Convolutions and products in a program, those of the programs that it calls at every call."""
    found = 0
    for equation in jaxpr.eqns:
        found += equation.primitive.name in ("conv_general_dilated", "dot_general")
        for value in equation.params.values():
            for each in value if isinstance(value, (tuple, list)) else (value,):
                inner = getattr(each, "jaxpr", each)
                found += products(inner) if hasattr(inner, "eqns") else 0
    return found


def _row(prior: code_jax.Prior, count: int, lowered: bool) -> list[str]:
    """The columns of a prior; seconds are the processor's, which others on the machine do not change."""
    settings = code_jax.preset()
    z = jax.ShapeDtypeStruct((1, *latent_shape(prior)), jnp.float32)
    begun = time.process_time()
    one = jax.jit(code_jax.Prior.eps_at).trace(prior, z, jnp.ones(()), jnp.zeros(1, jnp.int32) if prior.classes else None)
    operations = one.lower().cost_analysis()["flops"]
    images = jnp.zeros((count, *prior.image_shape))
    keys, numbers = image_keys(jax.random.key(0), images), per_image(settings, prior, count)
    labels = check_condition(prior, 0 if prior.classes else None, count)
    state = jax.eval_shape(begin, keys, prior, images, numbers)
    edit = advance.trace(keys, prior, state, numbers, None, jnp.int32(0), jnp.int32(1), labels)
    held = products(edit.jaxpr) / products(one.jaxpr)
    traced, weights = time.process_time(), weights_of(prior)
    told = f"{weights / 4e6:.1f}", f"{operations / 1e9:.0f}", f"{weights / 1e6:.0f}"
    if lowered:
        return [*told, "?", f"{traced - begun:.1f}", "?", f"{held:.2f}", "?", "?"]
    analysis, size = memory_analysis(prior, settings, count)
    compiled, working = time.process_time() - traced, (analysis.temp_size_in_bytes + size) / count
    auto = [str(fitting(memory * 1e9, weights, working)) for memory in (16, 80)]
    return [*told, f"{working / 1e6:.0f}", f"{traced - begun:.1f}", f"{compiled:.1f}", f"{held:.2f}", *auto]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PUBLISHED)} (default: all)")
    parser.add_argument("--micro-batch", type=int, default=1)
    parser.add_argument("--lowered", action="store_true", help="do not compile")
    args = parser.parse_args()
    print("| " + " | ".join(_COLUMNS) + " |\n" + "|---" * len(_COLUMNS) + "|")
    for name in args.names or PUBLISHED:
        print(f"| {name} | {' | '.join(_row(prior_of(name), args.micro_batch, args.lowered))} |", flush=True)
    print(f"{jax.devices()[0].device_kind}, micro-batch {args.micro_batch}, jax {jax.__version__}")


if __name__ == "__main__":
    main()
