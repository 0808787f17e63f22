"""``report.html``, ``report.md`` with its figures as SVG and PNG, and ``results.csv``: an evaluation's tables and curves.

The page opens offline, and has contact sheets besides. The Markdown has the same tables, its figures are files beside it.
"""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from code_jax.durable import write_durably
from code_jax.editing import methods
from code_jax.evaluation.chart import Spot, chart
from code_jax.evaluation.columns import HEADINGS
from code_jax.evaluation.measures import Yardstick
from code_jax.evaluation.page import Block, Facts, Figure, Heading, Table, Words
from code_jax.evaluation.protocol import PROTOCOLS
from code_jax.evaluation.run import Cell, Results
from code_jax.evaluation.statistics import Interval, pooled_frechet
from code_jax.evaluation.tables import (
    Row,
    clipping_rates,
    differences,
    family_accuracy,
    results_csv,
    row_of,
    title_of,
)
from code_jax.metrics import Moments

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:1300px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0;font-size:13px}td,th{padding:4px 9px;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child{text-align:left}caption{text-align:left;font-weight:bold;padding:4px 0}code{word-break:break-all}
svg{display:block}td{white-space:nowrap}td.words{white-space:normal;text-align:left}
img{image-rendering:pixelated;width:128px}.sheet th{text-align:center;font-weight:normal}.sheet td{padding:0;border:0}
h2{margin-top:2em}"""
_COMPARED = ("psnr_source", "psnr_input", "deep_feature_distance", "rank1", "top5_kept", "l2_input", "accuracy")  # of two rows
_RATES = {"corrupted": "corrupted", "clipped": "clipped", "precision": "precision ↑", "recall": "recall ↑"}


def write_report(
    out: Path, results: Results, reference: Moments, yardstick: Yardstick, facts: Mapping[str, str], against: str,
    resamples: int, seed: int,
) -> dict[str, list[Row]]:  # fmt: skip
    """Writes ``results.csv``, ``report.html``, ``report.md`` and its figures; returns the rows of each protocol's tables.

    Args:
        out: the folder.
        results: of `evaluate`.
        reference: moments of the clean pictures that the Fréchet distance is to.
        yardstick: which knows what is not measured.
        facts: of the run, in words, in the order in which they are shown.
        against: the row that is compared with every other.
        resamples, seed: of the bootstrap.
    """
    write_durably(out / "results.csv", results_csv(results.cells))
    main = results.cells[0].severity
    rows: dict[str, list[Row]] = {}
    blocks = _facts(facts, yardstick)
    for protocol in dict.fromkeys(cell.protocol for cell in results.cells):
        cells = [cell for cell in results.cells if cell.protocol == protocol and cell.severity == main]
        names = dict.fromkeys(cell.method for cell in cells)
        rows[protocol] = [row_of([cell for cell in cells if cell.method == name], reference, resamples, seed) for name in names]
        of = f"{protocol}, severity {main}"
        blocks += [Heading(f"Protocol: {protocol}"), Words(f"{PROTOCOLS[protocol]}.")]
        blocks.append(_table(f"Table 1 ({of}): realism and fidelity", rows[protocol]))
        blocks += _differences(of, cells, rows[protocol], against, reference, resamples, seed)
        blocks.append(_of_rows(protocol, rows[protocol]))
        blocks += _choices(rows[protocol]) + _families(of, cells) + _clipping(of, cells)
        blocks += _over_severity(protocol, results.cells, reference, resamples, seed)
    blocks += _realism(results, reference, resamples, seed) + _over_eta(results, reference, resamples, seed)
    sheets = _sheets([cell for cell in results.cells if cell.protocol == results.cells[0].protocol and cell.severity == main])
    for figure in (block for block in blocks if isinstance(block, Figure)):
        write_durably(out / f"{figure.name}.svg", f"{figure.drawing.svg()}\n")
        write_durably(out / f"{figure.name}.png", figure.drawing.png())
    text = "\n\n".join(["# CODE: evaluation", *(block.markdown() for block in blocks)])
    write_durably(out / "report.md", f"{text}\n")
    head = f'<head><meta charset="utf-8"><title>CODE: evaluation</title><style>{_STYLE}</style></head>'
    body = "".join(["<h1>CODE: evaluation</h1>", *(block.html() for block in blocks), sheets])
    write_durably(out / "report.html", f'<!DOCTYPE html><html lang="en">{head}<body>{body}</body></html>\n')
    return rows


def _facts(facts: Mapping[str, str], yardstick: Yardstick) -> list[Block]:
    absent = [Words(f"{HEADINGS[name]} is not measured: {why}") for name, why in yardstick.absent.items()]
    note = (
        "Each cell is the mean ± standard deviation over corruptions of a mean over pictures. The Fréchet distance is that of "
        f"all results of a row together to the clean pictures, in the features of {yardstick.features}, with its 95 % bootstrap "
        "interval; it grows as results get fewer, so that rows of unequal numbers of results do not compare, and “clean "
        "sources” is its floor at theirs. “–” is not measured, or infinite."
    )
    return [Facts(facts), Words(note), *absent]


def _table(caption: str, rows: Sequence[Row]) -> Table:
    names = [*HEADINGS.values(), "Fréchet distance ↓", "results", "NFE", "s an image", "program, MB"]
    lines = []
    for row in rows:
        cells = [_pair(*row.columns[name]) for name in HEADINGS] + [_frechet(row)]
        cells.append(f"{row.pictures}" + (f", {row.broken} not finite" if row.broken else ""))
        cells += [f"{row.nfe:.0f}", f"{row.seconds:.3g}" if row.nfe else "–", f"{row.memory / 2**20:.0f}" if row.nfe else "–"]
        lines.append([title_of(row.method), *cells])
    return Table(caption, ["method", *names], lines)


def _of_rows(protocol: str, rows: Sequence[Row]) -> Figure:
    """Realism against fidelity of each row."""
    series = {
        title_of(row.method): [Spot(row.columns["psnr_input"][0], *row.frechet, f"{row.nfe:.0f} evaluations")] for row in rows
    }
    x_label, y_label = "PSNR to the input, dB (higher is more faithful)", "Fréchet distance (lower is more real)"
    return Figure(f"rows-{protocol}", chart(f"Each method, {protocol} choice", x_label, y_label, series))


def _frechet(row: Row) -> str:
    interval = f" [{row.frechet.low:.2f}, {row.frechet.high:.2f}]" if math.isfinite(row.frechet.low) else ""
    return _plain(row.frechet.estimate, ".2f") + interval


def _pair(mean: float, deviation: float, kind: str = ".3g") -> str:
    return _plain(mean, kind) + (f" ± {deviation:.2g}" if math.isfinite(mean) and math.isfinite(deviation) else "")


def _plain(value: float, kind: str) -> str:
    return f"{value:{kind}}" if math.isfinite(value) else "–"


def _choices(rows: Sequence[Row]) -> list[Block]:
    lines = [[title_of(row.method), "; ".join(row.settings)] for row in rows if row.settings]
    caption = "Settings, one or one for each fold; where there is one, there was nothing to choose"
    return [Table(caption, ["method", "settings"], lines)] if lines else []


def _families(of: str, cells: Sequence[Cell]) -> list[Block]:
    found = family_accuracy(cells)
    methods = list(dict.fromkeys(cell.method for cell in cells))
    if all(math.isnan(value) for values in found.values() for value in values.values()):
        return [Words("Accuracy is not measured: the pictures' folders are not named after the classifier's classes.")]
    lines = [[family, *(_plain(values[name], ".0%") for name in methods)] for family, values in found.items()]
    return [Table(f"Accuracy of the land-cover classifier ({of})", ["family", *map(title_of, methods)], lines)]


def _clipping(of: str, cells: Sequence[Cell]) -> list[Block]:
    found = clipping_rates(cells)
    if not found:
        return []
    lines = [[name, title_of(method), *(_plain(rates[rate], ".2f") for rate in _RATES)] for name, method, rates in found]
    words = (
        "Corruptions that cover some pixels and leave the others as they were. A pixel is clipped if clipping changed a channel "
        "at any step, and corrupted if any channel differs from the clean source by more than one and a half 8-bit levels. "
        "“corrupted” is the share of such pixels, which is the precision of pixels taken at random; precision is the mean over "
        "the pictures in which a pixel was clipped."
    )
    return [Words(words), Table(f"Pixels that clipping finds ({of})", ["corruption", "method", *_RATES.values()], lines)]


def _differences(
    of: str, cells: Sequence[Cell], rows: Sequence[Row], against: str, reference: Moments, resamples: int, seed: int
) -> list[Block]:
    """What is different in each row that has a base among the others, and in the row `against` from every other."""
    names, known = [row.method for row in rows], methods.rows()
    pairs = [(name, known[name][1].base) for name in names if name in known and known[name][1].base in names]
    pairs += [(against, name) for name in names if against in names and name not in (against, names[0])]
    lines = []
    for one, other in dict.fromkeys(pairs):
        change = differences(cells, one, other, reference, resamples, seed)
        numbers = [_change(change[name], ".3g") for name in _COMPARED] + [_change(change["frechet"], ".1%")]
        costs = [next(row.nfe for row in rows if row.method == name) for name in (one, other)]
        lines.append([title_of(one), title_of(other), *numbers, f"{costs[0] - costs[1]:+.0f}"])
    head = ["method", "against", *(HEADINGS[name] for name in _COMPARED), "Fréchet distance ↓", "NFE"]
    words = (
        "Differences on the same pictures, the mean over corruptions, with 95 % intervals of the paired bootstrap over pictures "
        "(of the Fréchet distance the share). Where an interval includes 0, nothing is claimed."
    )
    return [Words(words), Table(f"Table 2 ({of}): differences", head, lines)] if lines else []


def _change(interval: Interval, kind: str) -> str:
    if not math.isfinite(interval.estimate):
        return "–"
    ends = f" [{interval.low:+{kind}}, {interval.high:+{kind}}]" if math.isfinite(interval.low) else ""
    return f"{interval.estimate:+{kind}}{ends}"


def _over_severity(protocol: str, cells: Sequence[Cell], reference: Moments, resamples: int, seed: int) -> list[Block]:
    severities = sorted({cell.severity for cell in cells})
    if len(severities) < 2:
        return []
    mine = [cell for cell in cells if cell.protocol == protocol]
    rows = {
        name: [row_of([c for c in mine if (c.method, c.severity) == (name, s)], reference, resamples, seed) for s in severities]
        for name in dict.fromkeys(cell.method for cell in mine)
    }
    return _curves(f"severity-{protocol}", f"over severity ({protocol})", "severity", [str(s) for s in severities], rows)


def _over_eta(results: Results, reference: Moments, resamples: int, seed: int) -> list[Block]:
    if not results.eta_curve:
        return []
    names = ["none" if math.isinf(eta) else f"{eta:g}" for eta, _ in results.eta_curve]
    method = results.eta_curve[0][1][0].method
    rows = {method: [row_of(cells, reference, resamples, seed) for _, cells in results.eta_curve]}
    return [Heading("Clipping"), *_curves("eta", f"of {title_of(method)} over η", "η", names, rows)]


def _curves(
    file: str, title: str, x_label: str, x_names: Sequence[str], rows: Mapping[str, Sequence[Row]]
) -> list[Block]:  # fmt: skip
    """Charts of the Fréchet distance, PSNR to the source and to the input at named places, and their numbers."""
    named = {title_of(name): of for name, of in rows.items()}
    frechet = {name: [Spot(float(k), *row.frechet) for k, row in enumerate(of)] for name, of in named.items()}
    charts: list[Block] = [
        Figure(f"{file}-frechet", chart(f"Fréchet distance {title}", x_label, "Fréchet distance", frechet, x_names))
    ]
    for column in ("psnr_source", "psnr_input"):
        series = {name: [Spot(float(k), row.columns[column][0]) for k, row in enumerate(of)] for name, of in named.items()}
        words = f"{HEADINGS[column][:-2]} {title}"
        charts.append(Figure(f"{file}-{column}", chart(words, x_label, "dB, mean over corruptions", series, x_names)))
    columns = {name: HEADINGS[name] for name in ("psnr_source", "psnr_input", "l2_input")} | _RATES
    lines = [
        [name, x, _frechet(row), *(_pair(*row.columns[column]) for column in columns)]
        for name, of in named.items()
        for x, row in zip(x_names, of, strict=True)
    ]
    head = ["method", x_label, "Fréchet distance ↓", *columns.values()]
    return [*charts, Table(f"Curves {title}", head, lines)]


def _realism(results: Results, reference: Moments, resamples: int, seed: int) -> list[Block]:
    series: dict[str, list[Spot]] = {}
    for setting in results.settings:
        interval = pooled_frechet(setting.features, reference, resamples, seed)
        name = setting.line.replace(setting.method, title_of(setting.method), 1)
        series.setdefault(name, []).append(Spot(setting.l2_input, *interval, setting.said))
    words = "Every setting of every grid on all pictures, a line joining those of one method (of CODE: one depth)"
    x_label, y_label = "L2 to the input (lower is more faithful)", "Fréchet distance (lower is more real)"
    figure = Figure("realism", chart("Realism against fidelity", x_label, y_label, series))
    return [Heading("Realism against fidelity"), Words(f"{words}; bands are 95 % bootstrap intervals."), figure]


def _sheets(cells: Sequence[Cell]) -> str:
    """A contact sheet for each corruption as HTML: the first pictures, a column for each method."""
    parts = ["<h2>Contact sheets</h2>"]
    for name in dict.fromkeys(cell.corruption for cell in cells):
        own = [cell for cell in cells if cell.corruption == name]
        rows = max(len(cell.shown) for cell in own)
        head = "".join(f"<th>{html.escape(title_of(cell.method))}</th>" for cell in own)
        lines = [
            "<tr>" + "".join(f"<td>{_image(cell.shown[k]) if k < len(cell.shown) else ''}</td>" for cell in own) + "</tr>"
            for k in range(rows)
        ]
        parts.append(f'<table class="sheet"><caption>{name}</caption><tr>{head}</tr>{"".join(lines)}</table>')
    return "".join(parts)


def _image(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'
