"""Our own checkpoint: ``prior.json`` with the two configs, and the parameters as an orbax checkpoint beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint

from checkpoints_convert.diffusers import describe, read_json
from checkpoints_convert.state_dict import expected_params
from code_jax.diffusion.parameterization import check_prediction_type
from code_jax.diffusion.schedule import schedule_from_diffusers
from code_jax.errors import UserError
from code_jax.models.config import UNet2DConfig
from code_jax.models.unet import UNet2DModel
from code_jax.priors.prior import Prior

_FORMAT = 1


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
    content = {"format": _FORMAT, "network": config, "scheduler": scheduler}
    (folder / "prior.json").write_text(json.dumps(content, indent=2) + "\n")


def read_checkpoint(folder: str | Path) -> Prior:
    """The prior of a checkpoint of ours, in float32.

    Raises:
        UserError: if the folder's parts are missing, of another format, or do not fit each other.
    """
    folder = Path(folder).absolute()
    content = read_json(folder / "prior.json")
    if content.get("format") != _FORMAT:
        raise UserError(f"{folder} has format {content.get('format')!r}; this version reads {_FORMAT}")
    network = UNet2DModel(UNet2DConfig.from_diffusers(content["network"]))
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
    schedule = schedule_from_diffusers(content["scheduler"])
    prediction_type = check_prediction_type(content["scheduler"].get("prediction_type", "epsilon"))
    return Prior.from_network(network, params, schedule, prediction_type)


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
