"""`load_prior`: a bundled name, a folder, a file, or a hub id."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import Any

from code_jax.errors import UserError, brief, nearest
from code_jax.priors import DEFAULT
from code_jax.priors.fetched import fetched
from code_jax.priors.hub import HUB_ID, download, fetch
from code_jax.priors.prior import Prior
from code_jax.priors.read import read_prior, with_prompt
from code_jax.storage.address import Address, Place, place

PRECISIONS = ("float32", "bfloat16")


def bundled_priors() -> tuple[str, ...]:
    """Names of the priors that come with the package."""
    with resources.as_file(_bundle()) as bundle:
        return tuple(sorted(path.parent.name for path in bundle.glob("*/unet") if path.is_dir()))


def bundled_samples(*, clean: bool = False) -> tuple[Path, ...]:
    """The damaged pictures that come with the package: crops of photographs, named by what was done to them.

    Args:
        clean: give what they were before.

    Returns:
        Paths of PNG files of 64×64 pixels, by name.

    Example:
        >>> import code_jax
        >>> from PIL import Image
        >>> code_jax.from_pil([Image.open(path) for path in code_jax.bundled_samples()]).shape
        (8, 64, 64, 3)
    """
    return tuple(sorted((_bundle() / "samples" / ("clean" if clean else "")).glob("*.png")))


def load_prior(name: str | Place = DEFAULT, *, revision: str | None = None, precision: str = "float32", **facts: Any) -> Prior:
    """Loads a prior.

    Args:
        name: a bundled name ("eurosat-64"), a local folder (diffusers' layout, or a checkpoint of ours), a file of weights
            (score_sde, EDM and EDM2, guided-diffusion, DiT), a hub id such as "google/ddpm-ema-celebahq-256", or a folder's
            address ("gs://bucket/folder"); what is downloaded is kept in the cache. Weights are read from safetensors, or from
            pickles where there are none; no code in either is ever run. Of a network that also predicts the variance, the mean
            half is taken.
        revision: branch, tag or commit of a hub id.
        precision: "float32" or "bfloat16", of the network's convolutions and products; weights stay float32.
        facts: what a file's weights do not tell, such as ``sde="vp", image_size=32`` of score_sde's, or ``codec``, the folder or
            hub id of the autoencoder of a network of latents; what is missing is named. And of a network that looks at a text
            ``prompt``, a safetensors file with one tensor [tokens, channels], the embedding of another prompt than the empty one.

    Returns:
        A `Prior`.

    Raises:
        UserError: if there is no such prior, it cannot be had offline, or it holds something that is not supported.

    Example:
        >>> import code_jax
        >>> prior = code_jax.load_prior("eurosat-64")
        >>> prior.image_shape
        (64, 64, 3)
    """
    if precision not in PRECISIONS:
        raise UserError(f"precision {precision!r} is unknown; choose from {', '.join(PRECISIONS)}")
    name, prompt = str(name), facts.pop("prompt", None)
    if facts and not os.path.exists(name):
        raise UserError(f"{next(iter(facts))} is told of a file of weights, and there is no file {name}")
    if name in bundled_priors():
        with resources.as_file(_bundle() / name) as folder:
            prior = read_prior(folder, prompt=prompt)
    elif isinstance(where := place(name), Address):
        prior = read_prior(fetched(where), prompt=prompt)
    elif os.path.isdir(name) or os.path.isfile(name):
        codec = str(facts.get("codec", ""))
        if HUB_ID.fullmatch(codec) and not os.path.isdir(codec):
            facts["codec"] = download(codec)
        prior = read_prior(Path(name), prompt=prompt, **facts)
    elif HUB_ID.fullmatch(name):
        prior = fetch(name, revision)
        prior = prior if prompt is None else with_prompt(prior, prompt)
    else:
        names = bundled_priors()
        known = f"a bundled name ({', '.join(names)}), folder, file or hub id org/name"
        raise UserError(f"no prior {brief(name)}{nearest(name, names)}: give {known}")
    return prior.with_precision(precision)


def _bundle() -> Path:
    return Path(str(resources.files("code_jax") / "priors"))
