"""What an output folder tells of the run that filled it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from code_jax.editing.options import OPTIONS
from code_jax.errors import UserError, brief
from code_jax.runs.folder import made_by
from code_jax.runs.lines import Line, read_objects
from code_jax.runs.manifest import joined_lines
from code_jax.runs.shards import WHOLE
from code_jax.storage.address import Place

_FAILURES = 20  # that are named
_WORDS = {  # of what is noted beside settings
    "micro_batch": "batch on a device",
    "prior_hash": "SHA-256 of the prior",
    "input_hash": "SHA-256 of the input",
    "mask_hash": "SHA-256 of the mask",
    "schema": "version of these words",
}


def account_of(out: Place) -> Iterator[tuple[str, str]]:
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
        lines = list(joined_lines(out))
        yield from _restored(lines)
        settings = dict(lines[0]["settings"]) if lines else {}
        settings |= {
            name: lines[0][name] for name in ("seed", "samples", "micro_batch", "prior_hash") if lines and name in lines[0]
        }
    elif made["command"] == "corrupt":
        yield from _counts(list(read_objects(out / WHOLE.manifest)))
    yield from settings_in_words(settings)


def settings_in_words(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and values of settings, and of what is noted beside them, as people read them."""
    for name, value in settings.items():
        shown = "none" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else value
        shown = shown if isinstance(shown, str) else brief(shown)
        option = OPTIONS.get(name)
        word = _WORDS.get(name, name) if option is None else option.word or name
        yield word.replace("_", " ").replace("ode-", "ODE "), shown if option is None else f"{shown:8} ({option.about})"


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    Example:
        >>> plural(1, "picture"), plural(2, "picture")
        ('1 picture', '2 pictures')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def evaluations(fewest: int, most: int) -> str:
    """What a result costs, where some cost more than others.

    Example:
        >>> evaluations(24, 24), evaluations(24, 48)
        ('24 evaluations', '24 to 48 evaluations')
    """
    return plural(most, "evaluation") if fewest == most else f"{fewest} to {most} evaluations"


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
    bits = [line["bits"] for line in lines if line.get("bits") is not None]
    if bits:
        before, after = (_mean([float(pair[k]) for pair in bits]) for k in (0, 1))
        yield "bits per dimension", f"{before:.3f} before, {after:.3f} after, mean of {len(bits)}"
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
        yield "cost", f"{evaluations(min(costs), max(costs))} of the network a result, {seconds:.1f} s in all"


def _mean(values: list[Any]) -> float:
    return sum(values) / len(values)
