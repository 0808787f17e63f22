"""NVlabs' pickles of EDM and EDM2 read as data: objects become records of what the file says of them, their code a string.

A network there is an object whose state holds the class's name, the source of its module, the constructor's arguments, and the
parameters; each tensor lies in the stream as a whole file of ``torch.save``.
"""

from __future__ import annotations

import io
import mmap
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from checkpoints_convert.contents import Contents, Part
from checkpoints_convert.edm import PRECONDITIONS, convert_edm
from checkpoints_convert.pickles import Record, read_pickle
from checkpoints_convert.pytorch import read_legacy, views
from checkpoints_convert.storages import DamagedPickle, Storage, Tensor
from code_jax.documents import open_regular
from code_jax.errors import UserError, brief

SUFFIX = ".pkl"
_MAX_DEPTH = 16  # of modules in modules
_OBJECT = "torch_utils.persistence._reconstruct_persistent_obj"
# Objects of no interest, or whose state says all: containers of modules, and NumPy's arrays and numbers.
_RECORDS = (
    "builtins.set", "numpy.dtype", "numpy.ndarray", "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct", "torch.nn.modules.container.ModuleDict", "torch.nn.modules.container.ModuleList",
    "torch.nn.modules.container.Sequential",
)  # fmt: skip
_SCALARS = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")


def read_nvlabs(path: str | Path, codec: Part | None = None) -> Contents:
    """Reads the averaged network (``ema``) of a pickle of EDM or EDM2; the pickle of a network of latents names its codec.

    Raises:
        UserError: names the file, and what it asks for beyond modules and tensors; what is cut, damaged or not supported; and the
            codec that is wanted, where none is given.
    """
    try:
        with open_regular(path) as file:
            content, contents = _read_objects(file)
        network, latents = _network(content), _latents(content, codec)
        state, options = views(dict(_tensors(network)), contents), _options(network)
        return convert_edm(state, _class_of(network), options)._replace(codec=latents)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (OSError, ValueError, EOFError, struct.error, OverflowError) as error:
        raise UserError(
            f"{path} is not a whole pickle of NVlabs: {str(error).splitlines()[0] if str(error) else 'cut'}"
        ) from error


def _read_objects(file: BinaryIO) -> tuple[Any, dict[Storage, bytes]]:
    """The object of a pickle, and the numbers of the storages that lie in it."""
    contents: dict[Storage, bytes] = {}
    size = left = os.fstat(file.fileno()).st_size

    def storage(data: Any) -> Storage:
        nonlocal left
        if not isinstance(data, bytes) or len(data) > left:
            raise DamagedPickle(f"a storage is no bytes, or all are larger than the {size} of the file")
        left -= len(data)
        inner, numbers = read_legacy(io.BytesIO(data), len(data))
        if not isinstance(inner, Storage) or list(numbers) != [inner]:
            raise DamagedPickle("a storage holds something else")
        found = Storage(f"embedded {len(contents)}", inner.dtype, inner.size)
        contents[found] = numbers[inner]
        return found

    calls: dict[str, Callable[..., Any]] = dict.fromkeys(_RECORDS, lambda *arguments: Record(arguments))
    calls |= {
        _OBJECT: lambda *arguments: Record(arguments),
        "dnnlib.util.EasyDict": _mapping,
        "torch.storage._load_from_bytes": storage,
    }
    calls |= dict.fromkeys(_SCALARS, _scalar)
    # A mapped file never allocates more than it has, whatever length an opcode states.
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
        return read_pickle(cast(BinaryIO, stream), calls)[0], contents


def _mapping(*arguments: Any) -> dict[Any, Any]:
    if arguments:
        raise DamagedPickle("a dictionary is made of more than its items")
    return {}


def _scalar(dtype: Any, data: Any) -> Any:
    """A NumPy number as a number; anything else stays a record."""
    kind = dtype.arguments[0] if isinstance(dtype, Record) and dtype.arguments else None
    if isinstance(kind, str) and kind in ("f4", "f8", "i4", "i8") and isinstance(data, bytes) and len(data) == int(kind[1]):
        return np.frombuffer(data, f"<{kind}")[0].item()
    return Record((dtype, data))


def _state(record: Any) -> dict[str, Any]:
    """The attributes of an object."""
    state = record.state if isinstance(record, Record) else None
    if isinstance(record, Record) and state is None and record.arguments and isinstance(record.arguments[0], dict):
        state = record.arguments[0].get("state")
    if not isinstance(state, dict):
        raise DamagedPickle("an object without a state stands where a module must")
    return state


def _class_of(record: Any) -> str:
    if not isinstance(record, Record) or not record.arguments or not isinstance(record.arguments[0], dict):
        raise DamagedPickle("no object stands where a network must")
    return str(record.arguments[0].get("class_name"))


def _network(content: Any) -> Record:
    """The wrapped network, of a kind that is known."""
    network = content.get("ema") if isinstance(content, dict) else None
    if not isinstance(network, Record):
        raise UserError("holds no averaged network (ema)")
    if _class_of(network) not in (*PRECONDITIONS, "Precond"):
        raise UserError(f"the network's wrapper {brief(_class_of(network))} is not supported")
    return network


def _latents(content: dict[str, Any], codec: Part | None) -> Part | None:
    """The codec with the scale and the bias that the network's encoder has for each channel of its latents; none for pixels."""
    encoder = content.get("encoder")
    if not isinstance(encoder, Record) or _class_of(encoder) == "StandardRGBEncoder":
        if codec is not None:
            raise UserError("the network is one of pixels; leave the codec out")
        return None
    state = _state(encoder)
    if _class_of(encoder) != "StabilityVAEEncoder":
        raise UserError(f"the network is one of latents, whose encoder {brief(_class_of(encoder))} is not supported")
    if codec is None:
        raise UserError(f"the network is one of latents: give their codec, of which it says {brief(state.get('vae_name'))}")
    scale, bias = _row(state.get("scale")), _row(state.get("bias"))
    if scale is None or bias is None or len(scale) != len(bias) or not np.all(scale > 0):
        raise DamagedPickle("the encoder has no scale and bias")
    own = {"scaling_factor": 1.0, "shift_factor": None, "latents_mean": (-bias / scale).tolist()}
    return codec._replace(config={**codec.config, **own, "latents_std": (1 / scale).tolist()})


def _row(record: Any) -> np.ndarray | None:
    """NumPy's array of float32 in a row, as float64."""
    state = record.state if isinstance(record, Record) else None
    if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[4], bytes) or len(state[4]) % 4:
        return None
    kind = state[2].arguments[0] if isinstance(state[2], Record) and state[2].arguments else None
    return np.frombuffer(state[4], "<f4").astype(np.float64) if kind == "f4" else None


def _tensors(record: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers of a module and of those in it, by their names."""
    if depth > _MAX_DEPTH:
        raise DamagedPickle(f"modules lie more than {_MAX_DEPTH} deep")
    state = _state(record)
    for group in ("_parameters", "_buffers"):
        for name, tensor in _items(state, group):
            if isinstance(tensor, Tensor):
                yield f"{prefix}{name}", tensor
    for name, module in _items(state, "_modules"):
        if module is not None:
            yield from _tensors(module, f"{prefix}{name}.", depth + 1)


def _items(state: dict[str, Any], group: str) -> list[tuple[str, Any]]:
    found = state.get(group, {})
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise DamagedPickle(f"a module's {group} are no mapping by names")
    return list(found.items())


def _options(network: Record) -> dict[str, Any]:
    """The wrapper's numbers and the arguments of the network inside, as far as they are plain."""
    state = _state(network)
    inner = dict(_items(state, "_modules")).get("model") or dict(_items(state, "_modules")).get("unet")
    arguments = _state(inner).get("_init_kwargs") or {}
    plain = {name: value for name, value in state.items() if isinstance(value, (int, float)) and not name.startswith("_")}
    for name in ("training", "use_fp16", "img_resolution", "img_channels", "label_dim"):
        plain.pop(name, None)
    return plain | {name: value for name, value in _items({"arguments": arguments}, "arguments") if not isinstance(value, Record)}
