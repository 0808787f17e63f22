"""`eurosat-features`: a classifier of the ten land-cover classes of EuroSAT, for a Fréchet distance and a measure of utility.

Does a restoration bring back what a downstream model needs? The accuracy of a classifier that saw no damage tells.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import flax.struct
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from jaxtyping import Array, Float

from code_jax.documents import read_document
from code_jax.errors import UserError
from code_jax.metrics.images import check_images
from code_jax.models.classifier import TileClassifier
from code_jax.shapes import GivenImages, Images


class LandCover(flax.struct.PyTreeNode):
    """The classifier of `load_landcover`: weights are traced, the rest is static.

    Attributes:
        params: weights, float32.
        network: a `TileClassifier`.
        names: the classes, in the order of the logits.
    """

    params: Any
    network: TileClassifier = flax.struct.field(pytree_node=False)
    names: tuple[str, ...] = flax.struct.field(pytree_node=False)


def load_landcover(folder: str | Path | None = None) -> LandCover:
    """The bundled classifier, or one that `save_landcover` wrote.

    Args:
        folder: what `save_landcover` wrote to; None is the bundled one.

    Returns:
        A `LandCover`.

    Raises:
        UserError: if the folder does not hold one.

    Example:
        >>> from code_jax.metrics import load_landcover
        >>> network = load_landcover()
        >>> len(network.names)
        10
    """
    folder = Path(str(resources.files("code_jax") / "metrics" / "eurosat-features")) if folder is None else Path(folder)
    wrong = f"{folder} holds no classifier that save_landcover wrote"
    from checkpoints_convert.tensors import read_tensors

    try:
        names, state = read_document(folder / "classes.json"), read_tensors(folder / "weights.safetensors")
    except UserError as error:
        raise UserError(f"{wrong}: {error}") from error
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise UserError(f"{wrong}: classes.json is no list of names")
    network = TileClassifier(classes=len(names))
    expected = jax.eval_shape(network.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32))["params"]
    flat = flax.traverse_util.flatten_dict(expected, sep=".")
    if {name: tensor.shape for name, tensor in state.items()} != {name: leaf.shape for name, leaf in flat.items()}:
        raise UserError(f"{wrong}: the weights are not those of {len(names)} classes")
    params = flax.traverse_util.unflatten_dict(
        {name: jnp.asarray(tensor, jnp.float32) for name, tensor in state.items()}, sep="."
    )
    return LandCover(params, network, tuple(names))


def save_landcover(network: LandCover, folder: str | Path) -> None:
    """Writes the weights as float16, and the names of the classes.

    Args:
        network: a `LandCover`.
        folder: made if there is none; what it holds is replaced.

    Raises:
        OSError: if it cannot be written.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> save_landcover(load_landcover(), folder)
        >>> load_landcover(folder).names[0]
        'AnnualCrop'
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    leaves = flax.traverse_util.flatten_dict(network.params)
    state = {".".join(path): np.asarray(leaf, np.float16) for path, leaf in leaves.items()}
    (folder / "weights.safetensors").write_bytes(safetensors.numpy.save(state))
    (folder / "classes.json").write_text(json.dumps(list(network.names), indent=2) + "\n", encoding="utf-8")


def landcover(network: LandCover, images: GivenImages) -> tuple[Float[Array, "batch classes"], Float[Array, "batch 64"]]:
    """Land-cover classes of images, and the features that tell them.

    Args:
        network: of `load_landcover`.
        images: floating [B, H, W, 3] in [−1, 1]; the network was trained on 64×64.

    Returns:
        Logits [B, 10] and features [B, 64], float32.

    Raises:
        UserError: for a dtype, shape or range that is not that of images.

    Example:
        >>> logits, features = landcover(load_landcover(), jnp.zeros((1, 64, 64, 3)))
        >>> logits.shape, features.shape
        ((1, 10), (1, 64))
    """
    return _landcover(network, check_images(images, channels=3, smallest=8))


@jax.jit
def _landcover(network: LandCover, images: Images) -> tuple[Float[Array, "batch classes"], Float[Array, "batch 64"]]:
    output: Any = network.network.apply({"params": network.params}, images)
    logits, features = output
    return logits, features
