"""Which priors there are to choose from: bundled, in the cache, or known to fit; told from files alone, without the network."""

from __future__ import annotations

import math
from importlib import resources
from typing import Any, NamedTuple

import jax

from code_jax.cache import cache_folder
from code_jax.documents import read_json
from code_jax.errors import UserError
from code_jax.models.networks import AUTOENCODERS, network_of
from code_jax.priors.load import bundled_priors
from code_jax.priors.read import read_network
from code_jax.priors.weights import expected_params


class Entry(NamedTuple):
    """What is known of a prior.

    Attributes:
        name: what `code_jax.load_prior` takes, or the name of a published file.
        domain: what its pictures are of; None where its card has to be asked.
        size: (H, W) in pixels.
        parameters: how many, those of an autoencoder included; in float32 each takes four bytes.
        evaluation: operations of one evaluation of the network at one picture, in GFLOP; None where they are not known.
        licence: of the weights; None where their card has to be asked.
        place: "bundled", "cached" (converted and kept), "hub" (to be downloaded) or "file" (to be had from those who made it).
    """

    name: str
    domain: str | None
    size: tuple[int, int]
    parameters: int
    evaluation: float | None
    licence: str | None
    place: str


_BUNDLED = {  # what they are of, GFLOP, and the licences of the weights
    "eurosat-64": ("satellite", 1.4, "MIT"),
    "pictures-64": ("portraits", 1.6, "CC BY-SA 4.0"),
}
_LARGE, _NCSNPP = (113_673_219, 465), (65_574_549, 529)  # of Ho et al. 2020 and of Song et al. 2021 for 256×256


def _known(place: str, licence: str, *rows: tuple[str, str, int, tuple[int, float]]) -> tuple[Entry, ...]:
    return tuple(Entry(name, domain, (side, side), *cost, licence, place) for name, domain, side, cost in rows)


# Parameters and GFLOP; these are computed, not measured: `tests/benchmarks/compile_priors.py`.
KNOWN = (
    *_known("hub", "Apache-2.0",
        ("google/ddpm-cifar10-32", "CIFAR-10", 32, (35_746_307, 10.8)),
        *((f"google/ddpm-{ema}{name}-256", domain, 256, _LARGE)
          for name, domain in (("celebahq", "faces"), ("church", "churches"), ("bedroom", "bedrooms"), ("cat", "cats"))
          for ema in ("ema-", "")),
        *((f"google/ncsnpp-{name}-256", domain, 256, _NCSNPP)
          for name, domain in (("celebahq", "faces"), ("ffhq", "faces"), ("church", "churches"), ("bedroom", "bedrooms"))),
        ("CompVis/ldm-celebahq-256", "faces", 256, (329_378_945, 180)),
    ),
    *_known("hub", "OpenRAIL-M", ("CompVis/stable-diffusion-v1-4", "anything", 512, (943_233_963, 753))),
    *_known("hub", "CC BY-NC 4.0",
        ("facebook/DiT-XL-2-256", "ImageNet", 256, (758_765_047, 238)),
        ("facebook/DiT-XL-2-512", "ImageNet", 512, (759_649_783, 1053)),
    ),
    *_known("file", "MIT",
        ("256x256_diffusion_uncond.pt", "ImageNet", 256, (552_807_171, 2213)),
        ("64x64_diffusion.pt", "ImageNet", 64, (295_899_267, 211)),
    ),
    *_known("file", "CC BY-NC-SA",
        ("edm-ffhq-64x64-uncond-vp.pkl", "faces", 64, (61_804_419, 81)),
        ("edm-imagenet-64x64-cond-adm.pkl", "ImageNet", 64, (295_899_267, 211)),
        ("edm2-img64-s-*.pkl", "ImageNet", 64, (280_209_637, 194)),
        ("edm2-img512-s-*.pkl", "ImageNet", 512, (363_866_956, 194)),
    ),
)  # fmt: skip


def catalogue() -> list[Entry]:
    """The bundled priors, those in the cache, and the others of `KNOWN`.

    Example:
        >>> catalogue()[0].name, catalogue()[0].parameters, catalogue()[0].place
        ('eurosat-64', 4514163, 'bundled')
    """
    known = {entry.name: entry for entry in KNOWN}
    entries = []
    for name in bundled_priors():
        with resources.as_file(resources.files("code_jax") / "priors" / name) as folder:
            size, parameters = _read({"network": read_json(folder / "unet" / "config.json")})
        domain, evaluation, licence = _BUNDLED[name]
        entries.append(Entry(name, domain, size, parameters, evaluation, licence, "bundled"))
    for folder in sorted((cache_folder() / "priors").glob("*--*--*/")):
        name = folder.name.rsplit("--", 2)[0].replace("--", "/")
        own = known.get(name, Entry(name, None, (0, 0), 0, None, None, ""))
        try:
            size, parameters = _read(read_json(folder / "prior.json"))
        except UserError:  # not whole, or of another version: `load_prior` makes it anew
            continue
        entries.append(own._replace(size=size, parameters=parameters, place="cached"))
    here = {entry.name for entry in entries}
    return entries + [entry for entry in KNOWN if entry.name not in here]


def _read(content: dict[str, Any]) -> tuple[tuple[int, int], int]:
    """Size and parameters of what a ``prior.json`` tells of."""
    network, _ = read_network(content.get("network", {}))
    codec = network_of(content["codec"], AUTOENCODERS) if isinstance(content.get("codec"), dict) else None
    networks: list[Any] = [network] if codec is None else [network, codec]
    parameters = sum(math.prod(leaf.shape) for each in networks for leaf in jax.tree.leaves(expected_params(each)))
    _, height, width, _ = network.inputs["x"].shape
    factor = 1 if codec is None else codec.config.factor
    return (factor * height, factor * width), parameters
