"""What an output folder tells of the run that filled it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from code_jax.errors import UserError, brief
from code_jax.runs.folder import made_by
from code_jax.runs.lines import Line, read_objects
from code_jax.runs.manifest import joined_lines
from code_jax.runs.shards import WHOLE

_FAILURES = 20  # that are named
_WORDS = {"micro_batch": "batch on a device", "num_steps": "ODE steps each way", "prior_hash": "SHA-256 of the prior"}


def account_of(out: Path) -> Iterator[tuple[str, str]]:
    """Names and values, as people read them, of what made a folder, what came of it and with which settings.

    Raises:
        UserError: if no command of ours made it, or a manifest cannot be read.
    """
    made = made_by(out)
    if made is None:
        raise UserError(f"{str(out)!r} holds no results of code-jax: it has no manifest")
    yield "made by", f"code-jax {made['command']}"
    settings = made.get("settings", {})
    if made["command"] == "restore":
        lines = joined_lines(out)
        yield from _restored(lines)
        settings = dict(lines[0]["settings"]) if lines else {}
        settings |= {
            name: lines[0][name] for name in ("seed", "samples", "micro_batch", "prior_hash") if lines and name in lines[0]
        }
    elif made["command"] == "corrupt":
        yield from _counts(list(read_objects(out / WHOLE.manifest)))
    for name, value in settings.items():
        shown = "none" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else value
        yield _WORDS.get(name, name.replace("_", " ")), shown if isinstance(shown, str) else brief(shown)


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    Example:
        >>> plural(1, "picture"), plural(2, "picture")
        ('1 picture', '2 pictures')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _counts(lines: list[Line]) -> Iterator[tuple[str, str]]:
    done = [line for line in lines if line.get("status") == "done"]
    failed = [line for line in lines if line.get("status") == "failed"]
    yield "done", f"{plural(len(done), 'result')} of {plural(len({str(line.get('input')) for line in done}), 'picture')}"
    yield "failed", plural(len(failed), "picture")
    for line in failed[:_FAILURES]:
        yield "", f"{brief(line.get('input'))}: {line.get('error')}"
    if len(failed) > _FAILURES:
        reasons = Counter(str(line.get("error")).partition(":")[0] for line in failed[_FAILURES:])
        yield "", "; ".join(f"{number} more: {reason}" for reason, number in reasons.most_common(5))


def _restored(lines: list[Line]) -> Iterator[tuple[str, str]]:
    yield from _counts(lines)
    pairs = [line["psnr"] for line in lines if "psnr" in line]
    if pairs:
        before, after = (_mean([float(pair[k]) for pair in pairs]) for k in (0, 1))
        yield "PSNR to the clean source", f"{before:.2f} dB before, {after:.2f} dB after, mean of {len(pairs)}"
    for name, title, unit in (
        ("psnr_input", "PSNR to the input", ".2f"), ("psnr_codec", "PSNR of the codec alone", ".2f"),
        ("diversity", "RMS difference of samples", ".4f"),
    ):  # fmt: skip
        values = [float(line[name]) for line in lines if line.get(name) is not None]
        if values:
            yield title, f"{_mean(values):{unit}}{' dB' if unit == '.2f' else ''}, mean of {len(values)}"
    costs = {line["nfe"] for line in lines if "nfe" in line}
    if costs:
        seconds = sum(float(line.get("seconds") or 0) for line in lines)
        yield "cost", f"{plural(max(costs), 'evaluation')} of the network a result, {seconds:.1f} s in all"


def _mean(values: list[Any]) -> float:
    return sum(values) / len(values)
