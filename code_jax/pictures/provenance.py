"""Where a result comes from: what is written into its file, read back from it, and run to get it again.

The facts are a plain dictionary: ``version``, ``settings`` (what `restore` notes in its manifest: prior, precision, fit and every
number of the edit, presets resolved), ``prior_hash``, ``input_hash`` (SHA-256 of the pixels as the prior saw them), ``mask_hash``
where there was a mask, ``seed``, ``sample`` and ``micro_batch``. No file is named: a result does not depend on names.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, PngImagePlugin

from code_jax.errors import UserError
from code_jax.version import __version__

KEYWORD = "code_jax"  # of the PNG's text chunk
EXIF_TAG = ExifTags.Base.XPComment  # of the other formats: a tag of EXIF's first folder, which TIFF has by itself

_OPTIONS = {"num_steps": "ode_steps"}  # where an option of the command line is not named as its setting is


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


def read_facts(file: Any) -> dict[str, Any]:
    """The facts of a result; nothing is unpickled.

    Args:
        file: a path, or an open binary file.

    Returns:
        What was written into it, with the ``version`` that wrote it.

    Raises:
        UserError: if it is no picture, or none of code_jax's.

    Example:
        >>> import io
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (8, 8)).save(file, "PNG")
        >>> read_facts(file)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        code_jax.errors.UserError: the picture says nothing of its origin: ...
    """
    name = file if isinstance(file, (str, Path)) else "the picture"
    try:
        with Image.open(file) as picture:
            picture.load()
            text = picture.info.get(KEYWORD) or _exif_text(picture)
        facts = json.loads(text) if isinstance(text, str) else None
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"{name} cannot be read: {error}") from error
    if not isinstance(facts, dict) or not isinstance(facts.get("settings", {}), dict):
        raise UserError(f"{name} says nothing of its origin: it was not written by code_jax, or saved again by another program")
    return facts


def command_of(facts: Mapping[str, Any], picture: str = "INPUT", mask: str = "MASK", out: str = "DIR") -> str:
    """The command line that makes a result again.

    Args:
        facts: of `read_facts`.
        picture, mask: paths of what it was made from.
        out: the folder for it.

    Returns:
        One line, quoted for a shell.

    Example:
        >>> command_of({"settings": {"prior": "eurosat-64", "num_steps": 10, "eta": "none"}, "seed": 3, "micro_batch": 1})
        'code-jax restore INPUT --out DIR --prior eurosat-64 --ode-steps 10 --eta none --seed 3 --batch-size 1'
    """
    if "corruption" in facts:
        words = ["code-jax", "corrupt", picture, "--out", out]
        for name in ("corruption", "severity", "seed"):
            words += [f"--{name}", str(facts.get(name))]
        return shlex.join(words)
    words = ["code-jax", "restore", picture, "--out", out]
    for name, value in facts.get("settings", {}).items():
        if value is not None and value is not False:
            option = f"--{_OPTIONS.get(name, name).replace('_', '-')}"
            words += [option] if value is True else [option, _word(value)]
    if "mask_hash" in facts:
        words += ["--mask", mask]
    words += ["--seed", str(facts.get("seed", 0))]
    if facts.get("sample"):
        words += ["--samples", str(facts["sample"] + 1)]
    if "micro_batch" in facts:
        words += ["--batch-size", str(facts["micro_batch"])]
    return shlex.join(words)


def _text_of(facts: Mapping[str, Any]) -> str:
    return json.dumps({"version": __version__} | dict(facts))


def _exif_text(picture: Image.Image) -> str | None:
    value = picture.getexif().get(EXIF_TAG)
    text = bytes(value).decode("utf-16-le", "replace").rstrip("\0") if isinstance(value, (bytes, tuple)) else ""
    return text.removeprefix(f"{KEYWORD} ") if text.startswith(KEYWORD) else None


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
