"""Pickles read as data: an interpreter of opcodes that knows containers and tensors, and that runs nothing.

A pickle is a program for a stack machine whose opcodes may import and call anything. Here the machine has no import and no call:
a global is a name in a fixed table or the file is refused by that name, and the table holds this module's own constructors alone.
`pickletools` of the standard library splits the stream into opcodes and executes none.
"""

from __future__ import annotations

import dataclasses
import math
import mmap
import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO, cast

import ml_dtypes
import numpy as np

from code_jax.errors import UserError, brief

# About 25 opcodes describe a tensor, and 2000 tensors a large network; an opcode costs at most some hundred bytes here.
_MAX_OPCODES = 1 << 19
_MAX_RANK = 16

_DTYPES = {
    "torch.FloatStorage": np.dtype(np.float32),
    "torch.DoubleStorage": np.dtype(np.float64),
    "torch.HalfStorage": np.dtype(np.float16),
    "torch.BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "torch.ByteStorage": np.dtype(np.uint8),
    "torch.CharStorage": np.dtype(np.int8),
    "torch.ShortStorage": np.dtype(np.int16),
    "torch.IntStorage": np.dtype(np.int32),
    "torch.LongStorage": np.dtype(np.int64),
    "torch.BoolStorage": np.dtype(np.bool_),
}
_MARK_OPCODES = ("POP_MARK", "TUPLE", "LIST", "DICT", "APPENDS", "SETITEMS")


class DamagedPickle(ValueError):
    """The stream is no pickle of tensors and containers: cut, changed, or nonsense."""


@dataclasses.dataclass(frozen=True)
class Storage:
    """A run of ``size`` numbers that the file keeps outside the pickle under ``key``."""

    key: str
    dtype: np.dtype[Any]
    size: int


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A view of a storage; offset and strides count elements. Lies inside its storage by construction."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        numbers = (self.offset, *self.shape, *self.strides)
        if len(self.shape) != len(self.strides) or len(self.shape) > _MAX_RANK or not all(map(_is_count, numbers)):
            raise DamagedPickle("a tensor's shape and strides are no two short lists of whole numbers")
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        if self.elements and last >= self.storage.size:
            raise DamagedPickle(f"a tensor reaches element {last} of a storage of {self.storage.size}")

    @property
    def elements(self) -> int:
        """How many numbers the view shows."""
        return math.prod(self.shape)


@dataclasses.dataclass(frozen=True)
class _Global:
    name: str


def read_pickle(stream: BinaryIO | mmap.mmap) -> tuple[Any, dict[str, Storage]]:
    """The object of one pickle, and every storage that it mentions by key; the stream is left behind the pickle's end.

    The object is made of dict, list, tuple, str, bytes, numbers and None, with `Storage` and `Tensor` for PyTorch's; an
    ``OrderedDict`` becomes a dict.

    Raises:
        UserError: names the global or the opcode that is beyond containers and tensors. The message wants a path before it.
        DamagedPickle: if the stream ends early or makes no sense.
    """
    machine = _Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(cast(BinaryIO, stream))):
            if count == _MAX_OPCODES:
                raise UserError(f"has a pickle of more than {_MAX_OPCODES} opcodes: this is no set of weights")
            if opcode.name == "STOP":
                break
            machine.step(opcode.name, argument)
        return machine.stack.pop(), machine.storages
    except (UserError, DamagedPickle):
        raise
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise DamagedPickle(str(error)) from error


class _Machine:
    """Stack, marks and memo of the pickle machine, and the storages met; only dicts and lists are ever mutated."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}

    def step(self, opcode: str, argument: Any) -> None:
        if opcode in _ARGUMENTS:
            self.stack.append(argument)
        elif opcode in _CONSTANTS:
            self.stack.append(_CONSTANTS[opcode]())
        elif opcode in _MARK_OPCODES:
            items, self.stack = self.stack, self.marked.pop()
            self._take(opcode, items)
        else:
            self._act(opcode, argument)

    def _take(self, opcode: str, items: list[Any]) -> None:
        """The opcodes that use up everything since the last mark."""
        match opcode:
            case "TUPLE":
                self.stack.append(tuple(items))
            case "LIST":
                self.stack.append(items)
            case "DICT":
                self.stack.append(_update({}, items))
            case "APPENDS":
                _a(list, self.stack[-1]).extend(items)
            case "SETITEMS":
                _update(_a(dict, self.stack[-1]), items)

    def _act(self, opcode: str, argument: Any) -> None:
        stack = self.stack
        match opcode:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                self.marked.append(stack)
                self.stack = []
            case "POP":
                stack.pop()
            case "DUP":
                stack.append(stack[-1])
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(self._pop(int(opcode[-1]))))
            case "APPEND":
                (item,) = self._pop(1)
                _a(list, stack[-1]).append(item)
            case "SETITEM":
                pair = self._pop(2)
                _update(_a(dict, stack[-1]), pair)
            case "BUILD":
                # The attributes of a state dict (its _metadata) are of no use here.
                self._pop(1)
                _a(dict, stack[-1])
            case "GLOBAL":
                stack.append(_global(argument.replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                module, name = self._pop(2)
                stack.append(_global(f"{module}.{name}"))
            case "BINPERSID":
                (identity,) = self._pop(1)
                storage = _storage(identity)
                if self.storages.setdefault(storage.key, storage) != storage:
                    raise DamagedPickle(f"storage {brief(storage.key)} is described twice, and differently")
                stack.append(storage)
            case "REDUCE":
                function, arguments = self._pop(2)
                stack.append(_call(_a(_Global, function).name, _a(tuple, arguments)))
            case _:
                raise UserError(f"asks for the pickle opcode {opcode}; only tensors and plain containers are read")

    def _pop(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise DamagedPickle("the stack is empty")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items


# Opcodes whose argument is the value.
_ARGUMENTS = frozenset(
    ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
     "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8")
)  # fmt: skip
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}


def _global(name: str) -> _Global:
    if name not in _DTYPES and name not in _CALLS:
        raise UserError(f"asks for {brief(name)}; only tensors and plain containers are read from a pickle, and nothing was run")
    return _Global(name)


def _call(name: str, arguments: tuple[Any, ...]) -> Any:
    if name not in _CALLS:
        raise UserError(f"asks to call {name}; only tensors and plain containers are read from a pickle, and nothing was run")
    return _CALLS[name](*arguments)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    # What follows is requires_grad, hooks and metadata: none of it is a weight.
    return Tensor(_a(Storage, storage), offset, _a(tuple, shape), _a(tuple, strides))


def _parameter(data: Any, *_: Any) -> Tensor:
    return _a(Tensor, data)


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    return _update({}, [item for pair in pairs for item in _a((list, tuple), pair)])


_CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
}


def _storage(identity: Any) -> Storage:
    """PyTorch's persistent id: ("storage", type, key, device, elements), and None once more in the older format."""
    kind, dtype, key, _, size, *view = _a(tuple, identity)
    if kind != "storage" or not isinstance(key, str) or not _is_count(size) or view not in ([], [None]):
        raise DamagedPickle("a storage is described in another way than PyTorch does")
    name = _a(_Global, dtype).name
    if name not in _DTYPES:
        raise DamagedPickle(f"{name} is no type of storage")
    return Storage(key, _DTYPES[name], size)


def _update(target: dict[Any, Any], items: list[Any]) -> dict[Any, Any]:
    """Sets alternating keys and values; keys are those of state dicts and optimizers, whose hashing recurses into nothing."""
    if len(items) % 2 or not all(isinstance(key, (str, int)) for key in items[::2]):
        raise DamagedPickle("a mapping has a key that is neither text nor a whole number")
    target.update(zip(items[::2], items[1::2], strict=True))
    return target


def _a(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind):
        raise DamagedPickle(f"a {type(value).__name__} stands where another thing must")
    return value


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62
