"""What runs behind a page: an order as a stream of events, computed in segments so that it can be watched and cancelled.

Nothing is kept between requests: an order's events go to the page that asked, and a generator that is closed has stopped.
Orders of several pages take turns at the device, a segment each.
"""

from __future__ import annotations

import base64
import io
import itertools
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL.PngImagePlugin import PngInfo

from code_jax.demo.request import Order, command_line, python_of
from code_jax.diffusion.denoiser import Denoiser
from code_jax.editing.edit import EditResult, finish, number_of_moves, per_image, route_of, segments
from code_jax.editing.route import State
from code_jax.editing.settings import Settings
from code_jax.errors import UserError
from code_jax.metrics import diversity, psnr
from code_jax.pictures.arrays import from_uint8, picture_of, to_uint8
from code_jax.pictures.provenance import png_text

Event = dict[str, Any]

_FRAMES = 4  # latents shown of each stage, and the number of times that a cell of a sweep can be stopped
_MOST_CELLS = 100
_device = threading.Lock()


def restore_events(order: Order) -> Iterator[Event]:
    """``input``; of each sample a ``latent`` at each bound of moves, and a ``result``; of several samples their ``diversity``."""
    yield {"event": "input", "picture": data_url(order.pixels)}
    sigmas, stages = itinerary(order.offer.prior, order.config)
    bounds, count = frames(stages), order.job.samples
    results = []
    for sample in range(count):
        one = order._replace(sample=sample)
        for moves, state in zip(bounds, _states(one, bounds), strict=True):
            sigma = float(sigmas[moves])
            latent = to_uint8(state.z[0] * jax.lax.rsqrt(jnp.float32(1 + sigma**2)))
            event = {"event": "latent", "sample": sample, "stage": stages[max(moves - 1, 0)], "sigma": sigma}
            progress = {"done": sample * len(stages) + int(moves), "of": count * len(stages)}
            yield event | {"picture": data_url(latent)} | progress
        result = finish(state, order.offer.prior)
        results.append(from_uint8(to_uint8(result.images)))
        yield _result(one, result) | {"sample": sample}
    if count > 1:
        yield {"event": "diversity", "value": float(diversity(jnp.stack(results))[0])}


def sweep_events(order: Order, sigmas: Sequence[float], relative_steps: Sequence[float]) -> Iterator[Event]:
    """``input``, then a ``result`` for each cell of the grid, with its row (sigma) and column (step)."""
    cells = list(itertools.product(enumerate(sigmas), enumerate(relative_steps)))
    if not 1 <= len(cells) <= _MOST_CELLS:
        raise UserError(f"the grid has {len(cells)} cells; give 1 to {_MOST_CELLS}")
    orders = [order.with_point(sigma, step) for (_, sigma), (_, step) in cells]
    yield {"event": "input", "picture": data_url(order.pixels)}
    count = number_of_moves(order.offer.prior, order.config)[0]
    bounds = np.unique(np.linspace(0, count, _FRAMES + 1).astype(int))
    for number, (((row, sigma), (column, step)), point) in enumerate(zip(cells, orders, strict=True)):
        for moves, state in zip(bounds, _states(point, bounds), strict=True):
            yield {"event": "progress", "done": int(number * count + moves), "of": len(cells) * count}
            if moves == count:
                where = {"row": row, "column": column, "sigma": sigma, "relative_step": step}
                yield _result(point, finish(state, order.offer.prior)) | where


def itinerary(denoiser: Denoiser, config: Settings) -> tuple[np.ndarray, list[str]]:
    """σ before each move and after the last [K + 1], and each move's stage: "encoding", "correction" or "decoding"."""
    route = route_of(denoiser, per_image(config, denoiser, 1))
    before, after = np.asarray(route.sigma)[0], np.asarray(route.sigma_next)[0]
    stages = np.where(after > before, "encoding", np.where(after == before, "correction", "decoding"))
    return np.append(before, after[-1]), stages.tolist()


def frames(stages: Sequence[str]) -> np.ndarray:
    """Numbers of moves at which to look: the start, and up to `_FRAMES` even shares of each stage, its end included."""
    bounds, first = [0], 0
    for _, stage in itertools.groupby(stages):
        last = first + len(list(stage))
        bounds += np.linspace(first, last, _FRAMES + 1).astype(int).tolist()
        first = last
    return np.unique(bounds)


def data_url(pixels: np.ndarray, text: PngInfo | None = None) -> str:
    """A picture uint8 [H, W, C] as a PNG in a data URL."""
    file = io.BytesIO()
    picture_of(pixels).save(file, "PNG", pnginfo=text)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _states(order: Order, bounds: np.ndarray) -> Iterator[State]:
    images = from_uint8(order.pixels[None])
    states = segments(order.key, order.offer.prior, images, order.config, bounds, order.job.mask)
    for _ in bounds:
        with _device:
            state = jax.block_until_ready(next(states))
        yield state


def _result(order: Order, result: EditResult) -> Event:
    if not bool(result.info.finite[0]):
        raise UserError("the result is not finite: the step size is likely too large")
    pixels = to_uint8(result.images[0])
    squared = float(result.info.squared_score[0])
    return {
        "event": "result",
        "picture": data_url(pixels, png_text(order.facts)),
        "facts": {
            "network evaluations": int(result.info.nfe[0]),
            "values clipped": f"{float(result.info.clipped[0]):.2%}",
            "mean squared score (typical: 1)": None if np.isnan(squared) else f"{squared:.3f}",
            "fidelity: PSNR to the input": f"{float(psnr(from_uint8(pixels[None]), from_uint8(order.pixels[None]))[0]):.2f} dB",
        },
        "command": command_line(order),
        "python": python_of(order),
    }
