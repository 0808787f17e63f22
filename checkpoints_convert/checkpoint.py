"""Our own checkpoint: ``prior.json`` with the two configs and a hash, and the parameters as an orbax checkpoint beside it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint

from checkpoints_convert.diffusers import describe, read_design, read_json
from checkpoints_convert.state_dict import expected_params
from code_jax.errors import UserError, brief
from code_jax.priors.prior import Prior

FORMAT = 2
_CHUNK = 1 << 20


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder is a checkpoint of ours."""
    return (folder / "prior.json").is_file()


def write_checkpoint(prior: Prior, folder: str | Path) -> None:
    """Writes a prior as our checkpoint; ``prior.json`` comes last, so that what has one is whole.

    Raises:
        UserError: if the folder holds a checkpoint already, or the prior has no `UNet2DModel`.
    """
    folder = Path(folder).absolute()
    if is_checkpoint(folder):
        raise UserError(f"{folder} holds a checkpoint already; choose another folder")
    config, scheduler = describe(prior)
    folder.mkdir(parents=True, exist_ok=True)
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "params", prior.params, force=True)
    content: dict[str, Any] = {"format": FORMAT, "network": config, "scheduler": scheduler}
    content["sha256"] = _content_hash(folder, content)
    (folder / "prior.json").write_text(json.dumps(content, indent=2) + "\n")


def read_checkpoint(folder: str | Path) -> Prior:
    """The prior of a checkpoint of ours, in float32.

    Raises:
        UserError: if the folder's parts are missing, of another format, do not have the hash they were written with, or do not
            fit each other; all of it before a weight is read.
    """
    folder = Path(folder).absolute()
    content = read_json(folder / "prior.json")
    if content.get("format") != FORMAT:
        raise UserError(f"{folder} has format {brief(content.get('format'))}; this version reads {FORMAT}: convert it again")
    if content.pop("sha256", None) != _content_hash(folder, content):
        raise UserError(f"{folder} does not have the hash it was written with: cut or changed since; convert it again")
    if not isinstance(content.get("network"), dict) or not isinstance(content.get("scheduler"), dict):
        raise UserError(f"{folder / 'prior.json'} lacks the network's config or the scheduler's")
    network, schedule, prediction_type = read_design(content["network"], content["scheduler"])
    expected = expected_params(network)
    try:
        with orbax.checkpoint.StandardCheckpointer() as checkpointer:
            stored = checkpointer.metadata(folder / "params").item_metadata.tree
            _check_shapes(folder, stored, expected)  # orbax itself would cut or pad
            params: Any = checkpointer.restore(folder / "params", jax.tree.map(_on_host, expected))
    except (OSError, ValueError, KeyError, AttributeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"the parameters in {folder} cannot be read: {str(error).splitlines()[0]}") from error
    return Prior.from_network(network, params, schedule, prediction_type)


def _content_hash(folder: Path, content: dict[str, Any]) -> str:
    """SHA-256 of ``prior.json`` without its hash, and of the path, the size and the bytes of every file of the parameters."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    try:
        for path in sorted(path for path in (folder / "params").rglob("*") if path.is_file()):
            digest.update(f"\n{path.relative_to(folder).as_posix()} {path.stat().st_size}\n".encode())
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
    except OSError as error:
        raise UserError(f"the parameters in {folder} cannot be read: {error}") from error
    return digest.hexdigest()


def _check_shapes(folder: Path, stored: Any, expected: Any) -> None:
    shapes = [
        {jax.tree_util.keystr(path, simple=True, separator="."): tuple(leaf.shape) for path, leaf in leaves}
        for leaves in map(jax.tree_util.tree_leaves_with_path, (stored, expected))
    ]
    wrong = sorted(name for name in set(shapes[0]) | set(shapes[1]) if shapes[0].get(name) != shapes[1].get(name))
    if wrong:
        more = f" and {len(wrong) - 10} more" if len(wrong) > 10 else ""
        raise UserError(f"the parameters in {folder} do not fit its prior.json: {', '.join(wrong[:10])}{more}")


def _on_host(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
    return np.empty(leaf.shape, leaf.dtype)
