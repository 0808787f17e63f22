"""Priors of the hub: downloaded and converted once, then kept in the cache."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from code_jax.cache import cache_folder
from code_jax.errors import UserError
from code_jax.priors.prior import Prior
from code_jax.priors.read import read_prior
from code_jax.priors.save import save_prior

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_PARTS = ("unet", "unet_ema", "transformer", "scheduler", "vae", "vqvae", "text_encoder", "tokenizer")
_FILES = ["*.json", "diffusion_pytorch_model*.safetensors", "diffusion_pytorch_model*.bin", *(f"{part}/*" for part in _PARTS)]
_NEVER = ["*.pt", "*.pth", "*.ckpt", "*.msgpack", "*.non_ema.*"]
# What is fetched only where there are no safetensors of full precision: first pickles, then the rest.
_LAST = [["*.bin", "*.fp16*", "*.bf16*", "unet_ema/*"], ["*.fp16*", "*.bf16*", "unet_ema/*"], []]


def fetch(name: str, revision: str | None) -> Prior:
    """The prior of a hub id.

    Raises:
        UserError: if it cannot be had, or holds something that is not supported.
    """
    from checkpoints_convert.checkpoint import FORMAT, is_checkpoint

    snapshot = download(name, revision)
    converted = cache_folder() / "priors" / f"{name.replace('/', '--')}--{snapshot.name}--{FORMAT}"
    if is_checkpoint(converted):
        return read_prior(converted)
    prior = read_prior(snapshot)
    # Written aside and renamed: a crash, or another process doing the same, leaves no half of a checkpoint.
    converted.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=converted.parent))
    save_prior(prior, aside, format="orbax")
    try:
        aside.rename(converted)
    except OSError:
        shutil.rmtree(aside)
    return prior


def download(name: str, revision: str | None = None) -> Path:
    """The snapshot of a hub id, with no more files than are needed.

    Raises:
        UserError: if it cannot be had.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    from checkpoints_convert.diffusers import has_weights

    try:
        for last in _LAST:
            never = [*_NEVER, *last]
            folder = huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=_FILES, ignore_patterns=never)
            if has_weights(Path(folder)):
                break
    except LocalEntryNotFoundError as error:
        raise UserError(
            f"{name} is not in the hub's cache and the hub cannot be reached: go online once, or give a folder"
        ) from error
    except (HfHubHTTPError, OSError, ValueError) as error:  # ValueError: it is no id of the hub's
        raise UserError(f"{name} cannot be had from the hub: {str(error).splitlines()[0]}") from error
    return Path(folder)
