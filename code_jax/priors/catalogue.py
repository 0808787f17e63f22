"""Which priors there are to choose from: bundled, in the cache, or known to fit; told from files alone, without the network."""

from __future__ import annotations

import math
from importlib import resources
from typing import Any, NamedTuple

import jax

from code_jax.cache import cache_folder
from code_jax.documents import read_json
from code_jax.errors import UserError
from code_jax.priors.load import bundled_priors
from code_jax.priors.read import read_network
from code_jax.priors.weights import expected_params

_SMALL, _LARGE = 35_746_307, 113_673_219  # parameters of the DDPM networks for 32×32 and for 256×256 (Ho et al. 2020)


class Entry(NamedTuple):
    """What is known of a prior.

    Attributes:
        name: what `code_jax.load_prior` takes.
        size: (H, W) in pixels.
        parameters: how many; in float32 each takes four bytes.
        licence: of the weights; None where their card has to be asked.
        place: "bundled", "cached" (converted and kept) or "hub" (to be downloaded).
    """

    name: str
    size: tuple[int, int]
    parameters: int
    licence: str | None
    place: str


_BUNDLED = {"eurosat-64": "MIT", "pictures-64": "CC BY-SA 4.0"}  # licences of the weights
_GOOGLE = ["celebahq-256", "church-256", "bedroom-256", "cat-256"]
KNOWN = (
    Entry("google/ddpm-cifar10-32", (32, 32), _SMALL, "Apache-2.0", "hub"),
    *(Entry(f"google/ddpm-{ema}{name}", (256, 256), _LARGE, "Apache-2.0", "hub") for name in _GOOGLE for ema in ("ema-", "")),
)


def catalogue() -> list[Entry]:
    """The bundled priors, those in the cache, and the others of `KNOWN`.

    Example:
        >>> catalogue()[0]
        Entry(name='eurosat-64', size=(64, 64), parameters=4514163, licence='MIT', place='bundled')
    """
    licences = {entry.name: entry.licence for entry in KNOWN}
    entries = []
    for name in bundled_priors():
        with resources.as_file(resources.files("code_jax") / "priors" / name) as folder:
            entries.append(_entry(name, read_json(folder / "unet" / "config.json"), _BUNDLED[name], "bundled"))
    for folder in sorted((cache_folder() / "priors").glob("*--*--*/")):
        name = folder.name.rsplit("--", 2)[0].replace("--", "/")
        try:
            entries.append(_entry(name, read_json(folder / "prior.json").get("network", {}), licences.get(name), "cached"))
        except UserError:  # not whole, or of another version: `load_prior` makes it anew
            continue
    here = {entry.name for entry in entries}
    return entries + [entry for entry in KNOWN if entry.name not in here]


def _entry(name: str, config: dict[str, Any], licence: str | None, place: str) -> Entry:
    network, _ = read_network(config)
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(expected_params(network)))
    return Entry(name, network.config.sample_size, parameters, licence, place)
