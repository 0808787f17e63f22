"""What is computed for a page: an order as a stream of events, in segments that are short: others get their turn.

Nothing is kept between orders but compiled programs: an order's events go to the page that asked.
"""

from __future__ import annotations

import base64
import io
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from code_jax.demo.order import Offer, Order, command_line, python_of
from code_jax.demo.request import read_order
from code_jax.demo.way import Moment, cost_of, levels_of, moments, programs_to_prepare, result_of
from code_jax.errors import UserError
from code_jax.metrics import diversity
from code_jax.pictures.arrays import from_uint8, picture_of
from code_jax.pictures.encode import encode_picture
from code_jax.progress import Estimate
from code_jax.runs.job import Job
from code_jax.runs.result import psnr_to

Event = dict[str, Any]

_FRAME = 192  # pixels of a latent's longer side, as it is shown
_MOST_CELLS = 100


def picture_events(order: Order) -> Iterator[Event | None]:
    """The picture as it will be worked on, and what an edit of it costs."""
    yield {"event": "input", "picture": data_url(order.input)} | _sources(order)
    yield from cost_events(order)


def cost_events(order: Order) -> Iterator[Event | None]:
    """``cost``: network evaluations, windows of each, levels, seconds (None before any are measured), and warnings.

    Programs that are not compiled yet are in the seconds.
    """
    each, windows = cost_of(order)
    evaluations, levels = each * order.job.samples, len(levels_of(order))
    facts = {"event": "cost", "evaluations": evaluations, "windows": windows, "levels": levels, "size": order.size}
    facts["warnings"] = order.warnings
    if order.offer.pace.seconds is None:
        yield facts | {"seconds": None}
        for _ in itertools.islice(moments(_blank(order)), 4):  # one to compile, and some to measure
            yield None
    pace = order.offer.pace
    preparing = programs_to_prepare(order) * pace.preparing
    yield facts | {"seconds": None if pace.seconds is None else evaluations * windows * pace.seconds + preparing}


def restore_events(order: Order) -> Iterator[Event | None]:
    """``input``; of each sample ``progress``, a ``latent`` now and then, and a ``result``; of several their ``diversity``."""
    yield {"event": "input", "picture": data_url(order.input)} | _sources(order)
    count, each = order.job.samples, math.prod(cost_of(order))
    estimate = Estimate(count * each)
    results = []
    for sample in range(count):
        one = order._replace(sample=sample)
        for moment in moments(one, look=True):
            done = sample * each + moment.done
            yield {"event": "progress", "done": done, "of": count * each, "seconds_left": estimate.left(done)}
            if moment.stage is not None:
                event = {"event": "latent", "sample": sample, "stage": moment.stage, "sigma": moment.sigma, "level": moment.level}
                yield event | {"picture": data_url(_small(moment.picture(one)))}
        event, pixels = _result(one, moment)
        results.append(pixels)
        yield event | {"sample": sample}
    if count > 1:
        yield {"event": "diversity", "value": float(diversity(jnp.stack([from_uint8(each[None]) for each in results]))[0])}


def sweep_events(order: Order, sigmas: Sequence[float], relative_steps: Sequence[float]) -> Iterator[Event | None]:
    """``input``, then a ``result`` for each cell of the grid, with its row (sigma) and column (step)."""
    if not 1 <= (count := len(sigmas) * len(relative_steps)) <= _MOST_CELLS:
        raise UserError(f"the grid has {count} cells; give 1 to {_MOST_CELLS}")
    cells = list(itertools.product(enumerate(sigmas), enumerate(relative_steps)))
    orders = [order.with_point(sigma, step) for (_, sigma), (_, step) in cells]
    yield {"event": "input", "picture": data_url(order.input)} | _sources(order)
    each = math.prod(cost_of(order))
    estimate = Estimate(len(cells) * each)
    for number, (((row, sigma), (column, step)), point) in enumerate(zip(cells, orders, strict=True)):
        for moment in moments(point):
            done = number * each + moment.done
            yield {"event": "progress", "done": done, "of": len(cells) * each, "seconds_left": estimate.left(done)}
        where = {"row": row, "column": column, "sigma": sigma, "relative_step": step}
        yield _result(point, moment)[0] | where


def data_url(pixels: np.ndarray) -> str:
    """A picture uint8 [H, W, C] as a PNG in a data URL, written fast rather than small."""
    file = io.BytesIO()
    picture_of(pixels).save(file, "PNG", compress_level=1)
    return _url(file.getvalue())


def _url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _small(pixels: np.ndarray) -> np.ndarray:
    """Every k-th pixel, so that the longer side is at most `_FRAME`."""
    every = -(-max(pixels.shape[:2]) // _FRAME)
    return pixels[::every, ::every]


def _sources(order: Order) -> Event:
    """The clean picture, where the input was damaged on purpose."""
    return {} if order.clean is None else {"clean": data_url(order.clean[: order.size[0], : order.size[1]])}


def _blank(order: Order) -> Order:
    """The same settings on an empty picture of the prior's own size."""
    shape = order.offer.prior.image_shape
    return order._replace(pixels=np.zeros(shape, np.uint8), size=shape[:2], job=Job(micro_batch=1, label=order.job.label))


def _result(order: Order, moment: Moment) -> tuple[Event, np.ndarray]:
    """The event of a result, and its pixels."""
    pixels, (_, info) = result_of(order, moment)
    if not bool(info.finite[0]):
        raise UserError("the result is not finite: the step size is likely too large")
    squared = float(info.squared_score[0])
    facts = {
        "network evaluations": int(info.nfe[0]),
        "values clipped": f"{float(info.clipped[0]):.2%}",
        "mean squared score (typical: 1)": None if np.isnan(squared) else f"{squared:.3f}",
        "fidelity: PSNR to the input": _decibels(pixels, order.input),
    }
    if order.clean is not None:
        clean = order.clean[: order.size[0], : order.size[1]]
        facts["PSNR to the clean source"] = f"{_decibels(order.input, clean)} before, {_decibels(pixels, clean)} after"
    png, _ = encode_picture(pixels, order.alpha, "PNG", order.metadata, facts=order.facts)
    texts = {"command": command_line(order), "python": python_of(order)}
    return {"event": "result", "picture": _url(png), "facts": facts} | texts, pixels


def _decibels(pixels: np.ndarray, other: np.ndarray) -> str:
    return f"{psnr_to(other, pixels):.2f} dB"


def _numbers(form: Mapping[str, Any], name: str) -> list[float]:
    try:
        return [float(part) for part in str(form.get(name, "")).replace(",", " ").split()]
    except ValueError:
        raise UserError(f"{name} is {form[name]!r}; give numbers such as 0.5 1 2") from None


def _sweep(order: Order, form: Mapping[str, Any]) -> Iterator[Event | None]:
    return sweep_events(order, _numbers(form, "sigmas"), _numbers(form, "relative-steps"))


def _kind(
    events: Callable[[Order, Mapping[str, Any]], Iterator[Event | None]],
) -> Callable[[Mapping[str, Any], Mapping[str, Offer]], Iterator[Event | None]]:
    return lambda form, offers: events(read_order(form, offers), form)


KINDS = {
    "picture": _kind(lambda order, form: picture_events(order)),
    "cost": _kind(lambda order, form: cost_events(order)),
    "restore": _kind(lambda order, form: restore_events(order)),
    "sweep": _kind(_sweep),
}
"""What can be ordered: from a form and the offers to events; None is a turn without news."""
