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
        working: MB that an edit takes for one picture beside the weights; None where that is not known.
        licence: of the weights; None where their card has to be asked.
        place: "bundled", "cached" (converted and kept), "hub" (to be downloaded) or "file" (to be had from those who made it).
    """

    name: str
    domain: str | None
    size: tuple[int, int]
    parameters: int
    evaluation: float | None
    working: float | None
    licence: str | None
    place: str

    @property
    def memory(self) -> float | None:
        """MB of the weights in float32 and of the work on a picture, as the compiler counts them; None where it is not known."""
        return None if self.working is None else 4 * self.parameters / 1e6 + self.working

    @property
    def seconds(self) -> tuple[float, bool] | None:
        """Seconds that an evaluation of one picture takes on two cores of an AMD EPYC, and whether that was measured there.

        What was not is computed from the operations at the rate of google/ddpm-celebahq-256. None where they are not known.
        """
        if self.evaluation is None:
            return None
        measured = _MEASURED.get(self.name)
        return (self.evaluation * _SECONDS_A_GFLOP, False) if measured is None else (measured, True)


_BUNDLED = {  # what they are of, GFLOP, MB of work on a picture, and the licences of the weights
    "eurosat-64": ("satellite", 1.4, 2.7, "MIT"),
    "pictures-64": ("portraits", 1.6, 2.7, "CC BY-SA 4.0"),
}
# Of Ho et al. 2020 and of Song et al. 2021 for 256×256: parameters, GFLOP, MB.
_LARGE, _NCSNPP = (113_673_219, 465, 279), (65_574_549, 529, 290)
_LARGE_NAMES = [
    (f"google/ddpm-{ema}{name}-256", domain)
    for name, domain in (("celebahq", "faces"), ("church", "churches"), ("bedroom", "bedrooms"), ("cat", "cats"))
    for ema in ("ema-", "")
]
_MEASURED = {"eurosat-64": 0.0048} | {name: 1.36 for name, _ in _LARGE_NAMES}  # seconds: `tests/benchmarks/README.md`, Cost
_SECONDS_A_GFLOP = 1.36 / 465


def _known(place: str, licence: str, *rows: tuple[str, str, int, tuple[int, float, float | None]]) -> tuple[Entry, ...]:
    return tuple(Entry(name, domain, (side, side), *cost, licence, place) for name, domain, side, cost in rows)


# Parameters, GFLOP and MB, which are computed, not measured: `tests/benchmarks/compile_priors.py`.
KNOWN = (
    *_known("hub", "Apache-2.0",
        ("google/ddpm-cifar10-32", "CIFAR-10", 32, (35_746_307, 10.8, 18)),
        *((name, domain, 256, _LARGE) for name, domain in _LARGE_NAMES),
        *((f"google/ncsnpp-{name}-256", domain, 256, _NCSNPP)
          for name, domain in (("celebahq", "faces"), ("ffhq", "faces"), ("church", "churches"), ("bedroom", "bedrooms"))),
        ("CompVis/ldm-celebahq-256", "faces", 256, (329_378_945, 180, 293)),
    ),
    *_known("hub", "OpenRAIL-M", ("CompVis/stable-diffusion-v1-4", "anything", 512, (943_233_963, 753, None))),
    *_known("hub", "CC BY-NC 4.0",
        ("facebook/DiT-XL-2-256", "ImageNet", 256, (758_765_047, 238, None)),
        ("facebook/DiT-XL-2-512", "ImageNet", 512, (759_649_783, 1053, None)),
    ),
    *_known("file", "MIT",
        ("256x256_diffusion_uncond.pt", "ImageNet", 256, (552_807_171, 2213, None)),
        ("64x64_diffusion.pt", "ImageNet", 64, (295_899_267, 211, 101)),
    ),
    *_known("file", "CC BY-NC-SA",
        ("edm-ffhq-64x64-uncond-vp.pkl", "faces", 64, (61_804_419, 81, 29)),
        ("edm-imagenet-64x64-cond-adm.pkl", "ImageNet", 64, (295_899_267, 211, None)),
        ("edm2-img64-s-*.pkl", "ImageNet", 64, (280_209_637, 194, 1149)),
        ("edm2-img512-s-*.pkl", "ImageNet", 512, (363_866_956, 194, None)),
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
        domain, evaluation, working, licence = _BUNDLED[name]
        entries.append(Entry(name, domain, size, parameters, evaluation, working, licence, "bundled"))
    for folder in sorted((cache_folder() / "priors").glob("*--*--*/")):
        name = folder.name.rsplit("--", 2)[0].replace("--", "/")
        own = known.get(name, Entry(name, None, (0, 0), 0, None, None, None, ""))
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
