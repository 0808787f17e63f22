"""Calibrations as files: beside a prior, or in the cache under its hash; made of a folder or archive of clean pictures."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import numpy as np

from code_jax.cache import cache_folder
from code_jax.documents import read_json
from code_jax.durable import write_durably
from code_jax.editing.calibration import Calibration
from code_jax.editing.keys import digest_of
from code_jax.editing.statistics import picture_statistics
from code_jax.errors import UserError
from code_jax.pictures.fitting import as_floats, eight_bits, fitted
from code_jax.priors.hash import prior_hash
from code_jax.priors.load import bundled_priors
from code_jax.priors.prior import Prior
from code_jax.progress import Progress
from code_jax.runs.gauge import Gauge
from code_jax.training.data import readable

NAME = "calibration.json"


def default_path(name: str, prior: Prior) -> Path:
    """Where the calibration of a prior of this name is written: in its folder, or where there is none, in the cache."""
    return Path(name) / NAME if Path(name).is_dir() else _in_cache(prior)


def load_calibration(name: str, prior: Prior, path: str | Path | None = None) -> Calibration:
    """The calibration of a prior: of a file, or the one beside it, that comes with the package, or is in the cache.

    Args:
        name: what `code_jax.load_prior` was given.
        prior: what it gave.
        path: of the file; None looks for it.

    Raises:
        UserError: if there is none, it is of other weights, or no calibration; the line says how to make one.
    """
    found = _find(name, prior) if path is None else Path(path)
    if found is None:
        raise UserError(f"the prior {name!r} has no calibration; make one of clean pictures: code-jax calibrate {name} PICTURES")
    try:
        calibration = Calibration.from_plain(read_json(found))
        calibration.check(prior)
    except UserError as error:
        raise UserError(f"{str(found)!r} cannot be used: {error}") from error
    return calibration


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Writes it whole, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, json.dumps(calibration.to_plain()) + "\n")


def calibrate(prior: Prior, sources: Sequence[Path], fit: str, seed: int, micro_batch: int, **settings: Any) -> Calibration:
    """The calibration of the pictures of folders and zip archives, each once; `settings` are of `picture_statistics`.

    Bad files are named on stderr.

    Raises:
        UserError: if a source holds no picture, or all hold fewer than are needed.
    """
    pictures = dict(each for source in sources for each in _seen(source, prior, fit))
    measure = functools.partial(picture_statistics, **settings)
    gauge, found = Gauge.on_devices(measure, prior, seed, micro_batch, len(pictures)), []
    digests, progress = list(pictures), Progress(len(pictures), len(pictures))
    for first in range(0, len(digests), gauge.in_flight):
        group = digests[first : first + gauge.in_flight]
        found.append(gauge(group, [as_floats(pictures[digest], prior.image_shape[2]) for digest in group]))
        progress.advance(len(group))
    return Calibration.of(prior, jax.tree.map(lambda *parts: np.concatenate(parts), *found), fit=fit)


def _seen(source: Path, prior: Prior, fit: str) -> Iterator[tuple[str, np.ndarray]]:
    """Hash and pixels of pictures as the prior sees them."""
    for _, pixels in readable(source, prior.image_shape[2]):
        seen = eight_bits(fitted(pixels, prior.image_shape, fit), prior.image_shape[2])
        yield digest_of(seen), seen


def _in_cache(prior: Prior) -> Path:
    return cache_folder() / "calibrations" / f"{prior_hash(prior)}.json"


def _find(name: str, prior: Prior) -> Path | None:
    places = [_in_cache(prior)]
    if name in bundled_priors():
        places.append(Path(str(resources.files("code_jax") / "priors" / name / NAME)))
    elif Path(name).is_dir():
        places.insert(0, Path(name) / NAME)
    return next((path for path in places if path.is_file()), None)
