"""``report.html`` and ``results.csv``: one page that opens offline, with an evaluation's tables, curves and contact sheets."""

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
from code_jax.evaluation.chart import Spot, chart
from code_jax.evaluation.measures import Yardstick
from code_jax.evaluation.protocol import PROTOCOLS
from code_jax.evaluation.run import Cell, Results
from code_jax.evaluation.statistics import pooled_frechet
from code_jax.evaluation.tables import ABLATION, Row, family_accuracy, results_csv, row_of, title_of
from code_jax.metrics import Moments

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:1300px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0;font-size:13px}td,th{padding:4px 9px;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child{text-align:left}caption{text-align:left;font-weight:bold;padding:4px 0}code{word-break:break-all}
svg{overflow:visible;display:block}td{white-space:nowrap}td[style]{white-space:normal}
img{image-rendering:pixelated;width:128px}.sheet th{text-align:center;font-weight:normal}.sheet td{padding:0;border:0}
small{color:#666}h2{margin-top:2em}"""
_HEADINGS = {
    "lpips_source": "LPIPS-source ↓",
    "ssim_input": "SSIM-input ↑",
    "psnr_input": "PSNR-input, dB ↑",
    "psnr_source": "PSNR-source, dB ↑",
    "ssim_source": "SSIM-source ↑",
    "l2_input": "L2-input ↓",
    "accuracy": "accuracy ↑",
}


def write_report(
    out: Path, results: Results, reference: Moments, yardstick: Yardstick, facts: Mapping[str, str], resamples: int, seed: int
) -> dict[str, list[Row]]:
    """Writes ``results.csv`` and ``report.html``; returns the rows of each protocol's tables.

    Args:
        out: the folder.
        results: of `evaluate`.
        reference: moments of the clean pictures that the Fréchet distance is to.
        yardstick: which knows what is not measured.
        facts: of the run, in words, in the order in which they are shown.
        resamples, seed: of the bootstrap.
    """
    write_durably(out / "results.csv", results_csv(results.cells))
    main = results.cells[0].severity
    rows: dict[str, list[Row]] = {}
    body = [_facts(facts, yardstick)]
    for protocol in dict.fromkeys(cell.protocol for cell in results.cells):
        cells = [cell for cell in results.cells if cell.protocol == protocol and cell.severity == main]
        methods = tuple(dict.fromkeys(cell.method for cell in cells))
        rows[protocol] = [row_of([cell for cell in cells if cell.method == name], reference, resamples, seed) for name in methods]
        body.append(f"<h2>Protocol: {protocol}</h2><p>{html.escape(PROTOCOLS[protocol])}.</p>")
        body.append(_table(f"Table 1 ({protocol}, severity {main}): realism and fidelity", rows[protocol]))
        ablation = [row for name in ABLATION for row in rows[protocol] if row.method == name]
        if len(ablation) > 1:
            body.append(_table(f"Table 2 ({protocol}, severity {main}): ablation, in the paper's order of realism", ablation))
        body.append(_choices(rows[protocol]))
        body.append(_families(protocol, cells))
        body.append(_over_severity(protocol, results.cells, reference, resamples, seed))
    body.append(_realism(results, reference, resamples, seed))
    body.append(_over_eta(results, reference, resamples, seed))
    body.append(_sheets([cell for cell in results.cells if cell.protocol == results.cells[0].protocol and cell.severity == main]))
    head = f'<head><meta charset="utf-8"><title>CODE: evaluation</title><style>{_STYLE}</style></head>'
    page = f'<!DOCTYPE html><html lang="en">{head}<body><h1>CODE: evaluation</h1>{"".join(body)}</body></html>'
    write_durably(out / "report.html", f"{page}\n".encode())
    return rows


def _facts(facts: Mapping[str, str], yardstick: Yardstick) -> str:
    lines = [
        f"<tr><td>{html.escape(name)}</td><td style='text-align:left'><code>{html.escape(value)}</code></td></tr>"
        for name, value in facts.items()
    ]
    absent = [
        f"<li>{html.escape(_HEADINGS[name])} is not measured: {html.escape(why)}</li>" for name, why in yardstick.absent.items()
    ]
    note = (
        "<p>Each cell is the mean ± standard deviation over corruptions of a mean over pictures. The Fréchet distance is that of "
        f"all results of a row together to the clean pictures, in the features of {html.escape(yardstick.features)}, with its "
        "95 % bootstrap interval; “clean sources” is its floor at this number of pictures. “–” is not measured, or infinite.</p>"
    )
    return f"<table>{''.join(lines)}</table>{note}<ul>{''.join(absent)}</ul>"


def _table(caption: str, rows: Sequence[Row]) -> str:
    names = [*_HEADINGS.values(), "Fréchet distance ↓", "results", "NFE", "s an image", "program, MB"]
    lines = []
    for row in rows:
        cells = [_pair(*row.columns[name]) for name in _HEADINGS]
        interval = f" <small>[{row.frechet.low:.2f}, {row.frechet.high:.2f}]</small>" if math.isfinite(row.frechet.low) else ""
        cells.append((f"{row.frechet.estimate:.2f}" if math.isfinite(row.frechet.estimate) else "–") + interval)
        cells.append(f"{row.pictures}" + (f", {row.broken} not finite" if row.broken else ""))
        cells += [f"{row.nfe}", f"{row.seconds:.3g}" if row.nfe else "–", f"{row.memory / 2**20:.0f}" if row.nfe else "–"]
        lines.append(_line([html.escape(title_of(row.method)), *cells]))
    return f"<table><caption>{html.escape(caption)}</caption>{_line(['method', *names], 'th')}{''.join(lines)}</table>"


def _line(cells: Sequence[str], kind: str = "td") -> str:
    return "<tr>" + "".join(f"<{kind}>{cell}</{kind}>" for cell in cells) + "</tr>"


def _pair(mean: float, deviation: float) -> str:
    if not math.isfinite(mean):
        return "–"
    return f"{mean:.3g}" + (f" ± {deviation:.2g}" if math.isfinite(deviation) else "")


def _choices(rows: Sequence[Row]) -> str:
    lines = [_line([html.escape(title_of(row.method)), html.escape("; ".join(row.settings))]) for row in rows if row.settings]
    caption = "Settings, one or one for each fold; where there is one, there was nothing to choose"
    return f"<table><caption>{caption}</caption>{''.join(lines)}</table>" if lines else ""


def _families(protocol: str, cells: Sequence[Cell]) -> str:
    found = family_accuracy(cells)
    methods = list(dict.fromkeys(cell.method for cell in cells))
    if all(math.isnan(value) for values in found.values() for value in values.values()):
        return "<p>Accuracy is not measured: the pictures' folders are not named after the classifier's classes.</p>"
    lines = [
        _line([family, *(f"{100 * values[name]:.0f} %" if not math.isnan(values[name]) else "–" for name in methods)])
        for family, values in found.items()
    ]
    head = _line(["family", *(html.escape(title_of(name)) for name in methods)], "th")
    return f"<table><caption>Accuracy of the land-cover classifier ({protocol})</caption>{head}{''.join(lines)}</table>"


def _over_severity(protocol: str, cells: Sequence[Cell], reference: Moments, resamples: int, seed: int) -> str:
    severities = sorted({cell.severity for cell in cells})
    if len(severities) < 2:
        return ""
    mine = [cell for cell in cells if cell.protocol == protocol]
    rows = {
        name: [row_of([c for c in mine if (c.method, c.severity) == (name, s)], reference, resamples, seed) for s in severities]
        for name in dict.fromkeys(cell.method for cell in mine)
    }
    return _curves(f"over severity ({protocol})", "severity", [str(s) for s in severities], rows)


def _over_eta(results: Results, reference: Moments, resamples: int, seed: int) -> str:
    if not results.eta_curve:
        return ""
    names = ["none" if math.isinf(eta) else f"{eta:g}" for eta, _ in results.eta_curve]
    rows = {"code": [row_of(cells, reference, resamples, seed) for _, cells in results.eta_curve]}
    return "<h2>Clipping</h2>" + _curves("of CODE over η", "η", names, rows)


def _curves(title: str, x_label: str, x_names: Sequence[str], rows: Mapping[str, Sequence[Row]]) -> str:
    """Charts of the Fréchet distance, PSNR to the source and to the input at named places."""
    frechet = {title_of(n): [Spot(float(k), *row.frechet) for k, row in enumerate(of)] for n, of in rows.items()}
    charts = [chart(f"Fréchet distance {title}", x_label, "Fréchet distance", frechet, x_names)]
    for column in ("psnr_source", "psnr_input"):
        series = {title_of(n): [Spot(float(k), row.columns[column][0]) for k, row in enumerate(of)] for n, of in rows.items()}
        charts.append(chart(f"{_HEADINGS[column][:-2]} {title}", x_label, "dB, mean over corruptions", series, x_names))
    return "".join(charts)


def _realism(results: Results, reference: Moments, resamples: int, seed: int) -> str:
    series: dict[str, list[Spot]] = {}
    for setting in results.settings:
        interval = pooled_frechet(setting.features, reference, resamples, seed)
        name = setting.line.replace(setting.method, title_of(setting.method), 1)
        series.setdefault(name, []).append(Spot(setting.l2_input, *interval, setting.said))
    words = "every setting of every grid on all pictures, a line joining those of one method (of CODE: one depth)"
    figure = chart(
        "Realism against fidelity", "L2 to the input (lower is more faithful)", "Fréchet distance (lower is more real)", series
    )
    return f"<h2>Realism against fidelity</h2><p>{words}; bands are 95 % bootstrap intervals.</p>{figure}"


def _sheets(cells: Sequence[Cell]) -> str:
    """A contact sheet for each corruption: the first pictures, a column for each method."""
    parts = ["<h2>Contact sheets</h2>"]
    for name in dict.fromkeys(cell.corruption for cell in cells):
        own = [cell for cell in cells if cell.corruption == name]
        rows = max(len(cell.shown) for cell in own)
        head = _line([html.escape(title_of(cell.method)) for cell in own], "th")
        lines = [_line([_image(cell.shown[k]) if k < len(cell.shown) else "" for cell in own]) for k in range(rows)]
        parts.append(f'<table class="sheet"><caption>{name}</caption>{head}{"".join(lines)}</table>')
    return "".join(parts)


def _image(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'
