"""`load_prior`: a bundled name, a folder, or a hub id."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from importlib import resources
from pathlib import Path

from code_jax.errors import UserError
from code_jax.priors.prior import Prior

PRECISIONS = ("float32", "bfloat16")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_HUB_FILES = ["*.json", "*.safetensors", "diffusion_pytorch_model*.bin", "unet/*", "scheduler/*"]
_HUB_NEVER = ["*.pt", "*.pth", "*.ckpt", "*.msgpack", "*.fp16.*", "*.non_ema.*"]


def bundled_priors() -> tuple[str, ...]:
    """Names of the priors that come with the package."""
    with resources.as_file(_bundle()) as bundle:
        return tuple(sorted(path.parent.name for path in bundle.glob("*/unet") if path.is_dir()))


def bundled_samples() -> tuple[Path, ...]:
    """The damaged pictures that come with the package, drawn from the bundled prior.

    Returns:
        Paths of PNG files of 64×64 pixels.

    Example:
        >>> import code_jax
        >>> from PIL import Image
        >>> code_jax.from_pil([Image.open(path) for path in code_jax.bundled_samples()]).shape
        (8, 64, 64, 3)
    """
    return tuple(sorted((_bundle() / "samples").glob("*.png")))


def cache_folder() -> Path:
    """Where converted priors and compiled programs are kept: ``$XDG_CACHE_HOME/code_jax``, or ``~/.cache/code_jax``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "code_jax"


def load_prior(name: str | Path, *, revision: str | None = None, precision: str = "float32") -> Prior:
    """Loads a prior.

    Args:
        name: a bundled name ("eurosat-64"), a local folder (diffusers' layout, or a checkpoint of ours), or a hub id such as
            "google/ddpm-ema-celebahq-256", which is downloaded and converted once, then kept in the cache. Weights are read
            from safetensors, or from PyTorch's ``.bin`` where there are none; no code in either is ever run.
        revision: branch, tag or commit of a hub id.
        precision: "float32" or "bfloat16", of the network's convolutions and products; weights stay float32.

    Returns:
        A `Prior`.

    Raises:
        UserError: if there is no such prior, it cannot be had offline, or it holds something that is not supported.

    Example:
        >>> import code_jax
        >>> prior = code_jax.load_prior("eurosat-64")
        >>> prior.image_shape
        (64, 64, 3)
    """
    if precision not in PRECISIONS:
        raise UserError(f"precision {precision!r} is unknown; choose from {', '.join(PRECISIONS)}")
    name = str(name)
    if name in bundled_priors():
        with resources.as_file(_bundle() / name) as folder:
            prior = _read(folder)
    elif Path(name).is_dir():
        prior = _read(Path(name))
    elif Path(name).is_file():
        raise UserError(f"{name} is a file; make a folder of it first: code-jax convert {name} FOLDER")
    elif _HUB_ID.fullmatch(name):
        prior = _from_hub(name, revision)
    else:
        raise UserError(f"no prior {name!r}: give a bundled name ({', '.join(bundled_priors())}), a folder, or a hub id org/name")
    return prior.with_precision(precision)


def _bundle() -> Path:
    return Path(str(resources.files("code_jax") / "priors"))


def _read(folder: Path) -> Prior:
    from checkpoints_convert.checkpoint import is_checkpoint, read_checkpoint
    from checkpoints_convert.diffusers import is_diffusers, read_diffusers

    if is_checkpoint(folder):
        return read_checkpoint(folder)
    if is_diffusers(folder):
        return read_diffusers(folder)
    raise UserError(f"{folder} holds no prior: neither prior.json (ours) nor config.json (diffusers)")


def _from_hub(name: str, revision: str | None) -> Prior:
    from checkpoints_convert.checkpoint import FORMAT, is_checkpoint, read_checkpoint, write_checkpoint

    snapshot = _download(name, revision)
    converted = cache_folder() / "priors" / f"{name.replace('/', '--')}--{snapshot.name}--{FORMAT}"
    if is_checkpoint(converted):
        return read_checkpoint(converted)
    prior = _read(snapshot)
    # Written aside and renamed: a crash, or another process doing the same, leaves no half of a checkpoint.
    converted.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=converted.parent))
    write_checkpoint(prior, aside)
    try:
        aside.rename(converted)
    except OSError:
        shutil.rmtree(aside)
    return prior


def _download(name: str, revision: str | None) -> Path:
    """The snapshot of a hub id; PyTorch's pickles are fetched only where there are no safetensors."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    from checkpoints_convert.diffusers import has_weights

    def fetch(never: list[str]) -> Path:
        folder = huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=_HUB_FILES, ignore_patterns=never)
        return Path(folder)

    try:
        snapshot = fetch([*_HUB_NEVER, "*.bin"])
        return snapshot if has_weights(snapshot) else fetch(_HUB_NEVER)
    except LocalEntryNotFoundError as error:
        raise UserError(
            f"{name} is not in the hub's cache and the hub cannot be reached: go online once, or give a folder"
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise UserError(f"{name} cannot be had from the hub: {str(error).splitlines()[0]}") from error
