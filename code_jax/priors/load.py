"""`load_prior`: a bundled name, a folder, or a hub id."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from code_jax.errors import UserError, brief, nearest
from code_jax.priors.hub import HUB_ID, fetch
from code_jax.priors.prior import Prior
from code_jax.priors.read import read_prior

PRECISIONS = ("float32", "bfloat16")


def bundled_priors() -> tuple[str, ...]:
    """Names of the priors that come with the package."""
    with resources.as_file(_bundle()) as bundle:
        return tuple(sorted(path.parent.name for path in bundle.glob("*/unet") if path.is_dir()))


def bundled_samples() -> tuple[Path, ...]:
    """The damaged pictures that come with the package, drawn from the bundled prior.

    Returns:
        Paths of PNG files of 64×64 pixels.

    Example:
        >>> import code_jax
        >>> from PIL import Image
        >>> code_jax.from_pil([Image.open(path) for path in code_jax.bundled_samples()]).shape
        (8, 64, 64, 3)
    """
    return tuple(sorted((_bundle() / "samples").glob("*.png")))


def load_prior(name: str | Path, *, revision: str | None = None, precision: str = "float32") -> Prior:
    """Loads a prior.

    Args:
        name: a bundled name ("eurosat-64"), a local folder (diffusers' layout, or a checkpoint of ours), or a hub id such as
            "google/ddpm-ema-celebahq-256", which is downloaded and converted once, then kept in the cache. Weights are read
            from safetensors, or from PyTorch's ``.bin`` where there are none; no code in either is ever run. Of a network that
            also predicts the variance, the mean half is taken.
        revision: branch, tag or commit of a hub id.
        precision: "float32" or "bfloat16", of the network's convolutions and products; weights stay float32.

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
    name = str(name)
    if name in bundled_priors():
        with resources.as_file(_bundle() / name) as folder:
            prior = read_prior(folder)
    elif os.path.isdir(name):
        prior = read_prior(Path(name))
    elif os.path.isfile(name):
        raise UserError(f"{name} is a file; make a folder of it first: code-jax convert {name} FOLDER")
    elif HUB_ID.fullmatch(name):
        prior = fetch(name, revision)
    else:
        names = bundled_priors()
        near = nearest(name, names)
        raise UserError(f"no prior {brief(name)}{near}: give a bundled name ({', '.join(names)}), a folder, or a hub id org/name")
    return prior.with_precision(precision)


def _bundle() -> Path:
    return Path(str(resources.files("code_jax") / "priors"))
