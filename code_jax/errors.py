"""The one error that is a user's to mend, and how its line is written."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

Value = TypeVar("Value")

_LONGEST, _LONGEST_MESSAGE = 120, 1000
_brief = reprlib.Repr()
_brief.maxlevel, _brief.maxstring, _brief.maxother = 2, _LONGEST, _LONGEST


class UserError(ValueError):
    """A value, file or option that cannot be used: its message is one line that names the value and the remedy.

    The command line prints the message alone and exits with status 2; everything else that is raised is a defect. Of what a
    library says of a file that somebody made huge, so much is left that the message has 1 000 characters.

    Example:
        >>> import code_jax
        >>> code_jax.load_prior("none")
        Traceback (most recent call last):
        code_jax.errors.UserError: no prior 'none': give a bundled name (eurosat-64, pictures-64), folder, file or hub id org/name
    """

    def __init__(self, message: object) -> None:
        text = str(message)
        super().__init__(text if len(text) <= _LONGEST_MESSAGE else f"{text[: _LONGEST_MESSAGE - 3]}...")


def brief(value: Any) -> str:
    """The repr of a value that a file may have made huge or deep: one line of at most 120 characters.

    Example:
        >>> brief([[[[1]]]])
        '[[[...]]]'
    """
    text = _brief.repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def choose(what: str, name: Any, kinds: Mapping[str, Value]) -> Value:
    """The kind of a name.

    Raises:
        UserError: for a name that is none, with the nearest one where there is one near.

    Example:
        >>> choose("grid", "tine", {"time": 1, "rho": 2})
        Traceback (most recent call last):
        code_jax.errors.UserError: grid 'tine' is unknown (did you mean time?); choose from time, rho
    """
    if isinstance(name, str) and name in kinds:
        return kinds[name]
    hint = nearest(name, kinds) if isinstance(name, str) else ""
    raise UserError(f"{what} {brief(name)} is unknown{hint}; choose from {', '.join(kinds)}")


def nearest(word: str, known: Iterable[str]) -> str:
    """What a message says after an unknown word: the nearest of those that are known, if one is near.

    Example:
        >>> nearest("locl", ["default", "local"]), nearest("xyz", ["default", "local"])
        (' (did you mean local?)', '')
    """
    near = difflib.get_close_matches(word, list(known), 1)
    return f" (did you mean {near[0]}?)" if near else ""


def printable(text: Any) -> str:
    """A name or a value as text for a terminal or a page: control characters, and bytes that are no UTF-8, are escaped.

    Example:
        >>> printable("a\\x1b[2J.png")
        'a\\\\x1b[2J.png'
    """
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in str(text))
