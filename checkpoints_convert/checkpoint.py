"""Our own checkpoint: ``prior.json`` with the two configs and a hash, and the parameters as an orbax checkpoint beside it."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint

from checkpoints_convert.contents import Contents, Part
from checkpoints_convert.folders import Folder
from checkpoints_convert.state_dict import to_params, to_state_dict
from code_jax.documents import open_regular, read_json
from code_jax.durable import check_utf8
from code_jax.errors import UserError, brief
from code_jax.late_answers import expect_late_answers

FORMAT = 2
_CHUNK = 1 << 20
# Weights hardly compress; a hostile checkpoint declares a million times what it stores.
_MAX_DECLARED, _DECLARED_FREELY = 64, 1 << 26


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder is a checkpoint of ours."""
    return (folder / "prior.json").is_file()


def write_checkpoint(contents: Contents, folder: Path) -> None:
    """Writes our checkpoint to a folder that has no ``params`` yet; ``prior.json`` comes last: what has one is whole."""
    folder = folder.absolute()
    check_utf8(folder)
    content: dict[str, Any] = {"format": FORMAT, "network": contents.network, "scheduler": contents.scheduler}
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "params", to_params(contents.state()))
        if contents.codec is not None:
            checkpointer.save(folder / "codec", to_params(contents.codec.state()))
            content |= {"codec": contents.codec.config, "data_range": contents.data_range}
    content["sha256"] = _content_hash(folder, content)
    (folder / "prior.json").write_text(json.dumps(content, indent=2) + "\n")


def read_checkpoint(folder: str | Path) -> Contents:
    """Reads a checkpoint of ours.

    Raises:
        UserError: if the folder's parts are missing, of another format, or do not have the hash they were written with; before a
            weight is read.
    """
    folder = Path(folder).absolute()
    check_utf8(folder)
    content = read_json(folder / "prior.json")
    if content.get("format") != FORMAT:
        raise UserError(f"{folder} has format {brief(content.get('format'))}; this version reads {FORMAT}: convert it again")
    if content.pop("sha256", None) != _content_hash(folder, content):
        raise UserError(f"{folder} does not have the hash it was written with: cut or changed since; convert it again")
    network, scheduler = content.get("network"), content.get("scheduler")
    if not isinstance(network, dict) or not isinstance(scheduler, dict):
        raise UserError(f"{folder / 'prior.json'} lacks the network's config or the scheduler's")
    contents = Contents(network, scheduler, lambda: to_state_dict(_read_params(folder / "params")))
    if "codec" not in content:
        return contents
    codec, measured = content["codec"], content.get("data_range")
    if not isinstance(codec, dict) or not (measured is None or _is_range(measured)):
        raise UserError(f"{folder / 'prior.json'} has a codec that is no object, or a data_range that is no list of numbers")
    part = Part(codec, lambda: to_state_dict(_read_params(folder / "codec")))
    return contents._replace(codec=part, data_range=None if measured is None else tuple(map(float, measured)))


FOLDER = Folder("prior.json (ours)", is_checkpoint, read_checkpoint)


def _is_range(measured: Any) -> bool:
    numbers = isinstance(measured, list) and all(isinstance(each, (int, float)) for each in measured)
    return numbers and bool(measured) and all(0 < each < 1e6 for each in measured)


def _read_params(folder: Path) -> dict[str, Any]:
    """The parameters, nested, within bounds that are checked before anything is allocated."""
    read_json(folder / "_METADATA")  # orbax would read it whatever its size and depth
    expect_late_answers()
    try:
        with orbax.checkpoint.StandardCheckpointer() as checkpointer:
            stored = checkpointer.metadata(folder).item_metadata.tree
            _check_size(folder, jax.tree.leaves(stored))
            params: dict[str, Any] = checkpointer.restore(folder, jax.tree.map(_on_host, stored))
    except UserError:
        raise
    # What orbax and tensorstore raise where a description is forged.
    except (OSError, ValueError, KeyError, AttributeError, TypeError, IndexError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"the parameters in {folder} cannot be read: {reason[:300]}") from error
    return params


def _check_size(folder: Path, leaves: list[Any]) -> None:
    stored = sum(path.stat().st_size for path in _files(folder))
    shapes = [shape for leaf in leaves for shape in (leaf.shape, leaf.storage.chunk_shape)]
    declared = 4 * sum(math.prod(shape) for shape in shapes)
    if declared > _MAX_DECLARED * stored + _DECLARED_FREELY:
        raise UserError(f"the parameters in {folder} declare {declared} bytes and store {stored}: these are no weights")


def _content_hash(folder: Path, content: dict[str, Any]) -> str:
    """SHA-256 of ``prior.json`` without its hash, and of the path, the size and the bytes of every file of the parameters."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    try:
        for path in [path for part in ("codec", "params") for path in _files(folder / part)]:
            digest.update(f"\n{path.relative_to(folder).as_posix()} {path.stat().st_size}\n".encode())
            with open_regular(path) as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
    except OSError as error:
        raise UserError(f"the parameters in {folder} cannot be read: {error}") from error
    return digest.hexdigest()


def _files(folder: Path) -> list[Path]:
    """Every file below, in order: what is neither a file nor a folder counts, so that reading it is refused."""
    return sorted(path for path in folder.rglob("*") if not path.is_dir())


def _on_host(leaf: Any) -> np.ndarray:
    return np.empty(leaf.shape, leaf.dtype)
