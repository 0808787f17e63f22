"""The command line that makes a result again, from what its file says."""

from __future__ import annotations

import re
import shlex
import string
from collections.abc import Mapping
from typing import Any

from code_jax.editing.options import OPTIONS

_PLAIN = frozenset(string.ascii_letters + string.digits + " ./_-+,:=@%")  # within bash's $'...'


def command_of(facts: Mapping[str, Any], picture: str = "INPUT", mask: str = "MASK", out: str = "DIR") -> str:
    """The command line that makes a result again.

    Args:
        facts: of `code_jax.pictures.provenance.read_facts`.
        picture, mask: paths of what it was made from.
        out: the folder for it.

    Returns:
        One line, quoted for a shell; what is not printable is written as bash's $'...'.

    Example:
        >>> command_of({"settings": {"prior": "eurosat-64", "num_steps": 10, "eta": "none"}, "seed": 3, "micro_batch": 1})
        'code-jax restore INPUT --out DIR --prior eurosat-64 --ode-steps 10 --eta none --seed 3 --batch-size 1'
    """
    if "corruption" in facts:
        words = ["code-jax", "corrupt", _path(picture), "--out", _path(out)]
        for name in ("corruption", "severity", "seed"):
            words += [f"--{name}", str(facts.get(name))]
        return " ".join(map(_quoted, words))
    words = ["code-jax", "restore", _path(picture), "--out", _path(out)]
    for name, value in facts.get("settings", {}).items():
        if value is not None and value is not False and name != "schema":
            flag = OPTIONS[name].flag if name in OPTIONS else f"--{name.replace('_', '-')}"
            words += [flag] if value is True else [flag, _word(value)]
    if "mask_hash" in facts:
        words += ["--mask", _path(mask)]
    if "bits" in facts:
        words += ["--likelihood"]
    if "seed" in facts:
        words += ["--seed", str(facts["seed"])]
    if facts.get("sample"):
        words += ["--samples", str(facts["sample"] + 1)]
    if "micro_batch" in facts:
        words += ["--batch-size", str(facts["micro_batch"])]
    return " ".join(map(_quoted, words))


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _path(name: str) -> str:
    """A path that is no option."""
    return f"./{name}" if name.startswith("-") else name


def _quoted(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    data = re.sub("[\ud800-\udbff]", "\ufffd", word).encode("utf-8", "surrogateescape")
    return "$'" + "".join(chr(byte) if chr(byte) in _PLAIN else f"\\x{byte:02x}" for byte in data) + "'"
