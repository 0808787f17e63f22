"""Where a result comes from: what is written into its file, read back from it, and run to get it again.

The facts are a plain dictionary: ``version``, ``settings`` (what `restore` notes in its manifest: prior, precision, fit and every
number of the edit, presets resolved), ``prior_hash``, ``input_hash`` (SHA-256 of the pixels as the prior saw them), ``mask_hash``
where there was a mask, ``seed``, ``sample``, ``micro_batch``, and, where they were asked for, the ``bits`` per dimension before
and after. No file is named: a result does not depend on names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, PngImagePlugin

from code_jax.documents import is_whole, parse
from code_jax.errors import UserError, brief
from code_jax.pictures.loading import MOST_PIXELS, PictureError, bytes_and_name, in_words, load
from code_jax.storage.address import Address
from code_jax.version import __version__

KEYWORD = "code_jax"  # of the PNG's text chunk
EXIF_TAG = ExifTags.Base.XPComment  # of the other formats: a tag of EXIF's first folder, which TIFF has by itself


def png_text(facts: Mapping[str, Any]) -> PngImagePlugin.PngInfo:
    """The facts and this version as a PNG's text.

    Args:
        facts: what can be JSON.

    Returns:
        What `PIL.Image.Image.save` takes as ``pnginfo``.

    Example:
        >>> import io
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=png_text({"seed": 3}))
        >>> read_facts(file)["seed"]
        3
    """
    text = PngImagePlugin.PngInfo()
    text.add_text(KEYWORD, _text_of(facts))
    return text


def exif_with(facts: Mapping[str, Any], exif: bytes = b"") -> bytes:
    """EXIF with the facts and this version added, for formats without text of their own: JPEG, WebP, TIFF, AVIF.

    Args:
        facts: what can be JSON.
        exif: what is kept beside them.

    Returns:
        What `PIL.Image.Image.save` takes as ``exif``.

    Example:
        >>> import io
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (8, 8)).save(file, "JPEG", exif=exif_with({"seed": 3}))
        >>> read_facts(file)["seed"]
        3
    """
    both = Image.Exif()
    both.load(exif)
    both[EXIF_TAG] = f"{KEYWORD} {_text_of(facts)}\0".encode("utf-16-le")
    return both.tobytes()


class NoFacts(UserError):
    """A picture that says nothing of its origin."""


def read_facts(file: Any) -> dict[str, Any]:
    """The facts of a result; nothing is unpickled.

    Args:
        file: a path, or an open binary file.

    Returns:
        What was written into it, with the ``version`` that wrote it.

    Raises:
        NoFacts: if it is a picture of anybody else's.
        UserError: if it is no picture, or its facts are damaged.

    Example:
        >>> import io
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (8, 8)).save(file, "PNG")
        >>> read_facts(file)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        code_jax.pictures.provenance.NoFacts: the picture says nothing of its origin: ...
    """
    name = repr(str(file)) if isinstance(file, (str, Path, Address)) else "the picture"
    try:
        picture, _ = load(*bytes_and_name(file), warnings=[])
        with in_words():
            text = picture.info.get(KEYWORD) or _exif_text(picture)
    except PictureError as error:
        raise UserError(f"{name} cannot be read: {error}") from error
    if not isinstance(text, str):
        raise NoFacts(f"{name} says nothing of its origin: it was not written by code_jax, or saved again by another program")
    try:
        facts = parse(text)
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        raise UserError(f"{name} was not written by code_jax, or damaged since: what it says of its origin is no JSON object")
    for field, holds in _FIELDS.items():
        if field in facts and not holds(facts[field]):
            raise UserError(f"{name} was not written by code_jax, or damaged since: its {field} is {brief(facts[field])}")
    return facts


def _text_of(facts: Mapping[str, Any]) -> str:
    return json.dumps({"version": __version__} | dict(facts))


def _exif_text(picture: Image.Image) -> str | None:
    value = picture.getexif().get(EXIF_TAG)
    text = bytes(value).decode("utf-16-le", "replace").rstrip("\0") if isinstance(value, (bytes, tuple)) else ""
    return text.removeprefix(f"{KEYWORD} ") if text.startswith(KEYWORD) else None


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float))


def _is_size(value: Any) -> bool:
    sides = isinstance(value, list) and len(value) == 2 and all(is_whole(side, 1, 2**16) for side in value)
    return sides and value[0] * value[1] <= MOST_PIXELS


def _are_settings(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _is_plain(each) or (isinstance(each, list) and all(map(_is_plain, each))) for each in value.values()
    )


_FIELDS = {  # what those that are known must be
    "version": lambda value: isinstance(value, str),
    "settings": _are_settings,
    "prior_hash": lambda value: isinstance(value, str),
    "input_hash": lambda value: isinstance(value, str),
    "mask_hash": lambda value: isinstance(value, str),
    "seed": lambda value: is_whole(value, 0, 2**32 - 1),
    "sample": lambda value: is_whole(value, 0, 2**32 - 1),
    "micro_batch": lambda value: is_whole(value, 1, 2**32 - 1),
    "bits": lambda value: value is None or (isinstance(value, list) and len(value) == 2 and all(map(_is_plain, value))),
    "size": _is_size,
    "corruption": lambda value: isinstance(value, str),
    "severity": lambda value: is_whole(value, 1, 5),
}
