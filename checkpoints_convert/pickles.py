"""Pickles read as data: an interpreter of opcodes that knows containers and tensors, and that runs nothing.

A pickle is a program for a stack machine whose opcodes may import and call anything. Here the machine has no import and no call:
a global is a name in a fixed table or the file is refused by that name, and the table holds constructors of this package alone:
this module's, and those of a format that pickles objects (`Record`).
`pickletools` of the standard library tells the opcodes' arguments and executes none.

Memory and time are those of the stream: a value is made by its own opcode, and a value that the memo or DUP shows again is looked
at by no more than a few of its items, or for a length that is charged (`_Machine.spend`).
"""

from __future__ import annotations

import dataclasses
import pickletools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from checkpoints_convert.storages import DamagedPickle, Storage, Tensor, is_count
from code_jax.errors import UserError, brief

# About 25 opcodes describe a tensor, and 2000 tensors a large network; an opcode costs at most some hundred bytes here.
_MAX_OPCODES = 1 << 19
_MAX_SPENT = 1 << 20  # items of containers that are read again
_MAX_KEY = 1 << 60  # whole numbers below it hash to themselves; multiples of 2⁶¹ − 1 all hash alike
_MAX_NAME = 256  # characters of a global's name, and of a storage's key

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
_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_MARK_OPCODES = ("POP_MARK", "TUPLE", "LIST", "DICT", "APPENDS", "SETITEMS", "ADDITEMS")


@dataclasses.dataclass(frozen=True)
class _Global:
    name: str


@dataclasses.dataclass(eq=False)
class Record:
    """An object of a class that is not here: what the pickle says of it, and nothing that it does."""

    arguments: tuple[Any, ...]
    state: Any = None


Calls = Mapping[str, Callable[..., Any]]


def read_pickle(stream: BinaryIO, calls: Calls | None = None) -> tuple[Any, dict[str, Storage]]:
    """The object of one pickle, and every storage that it mentions by key; the stream is left behind the pickle's end.

    The object is made of dict, list, tuple, str, bytes, numbers and None, with `Storage` and `Tensor` for PyTorch's; an
    ``OrderedDict`` becomes a dict. ``calls`` are the constructors of further globals, for a format that pickles objects.

    Raises:
        UserError: names the global or the opcode that is beyond containers and tensors. The message wants a path before it.
        DamagedPickle: if the stream ends early or makes no sense.
    """
    machine = _Machine(_CALLS | dict(calls or {}))
    try:
        for opcode, argument in _opcodes(stream, _KNOWN | _OBJECTS if calls else _KNOWN):
            machine.step(opcode, argument)
        return machine.stack.pop(), machine.storages
    except (UserError, DamagedPickle):
        raise
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise DamagedPickle(str(error)) from error


def _opcodes(stream: BinaryIO, known: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """Opcodes and their arguments up to STOP; what torch.save never writes is refused before its argument is read."""
    for _ in range(_MAX_OPCODES):
        code = stream.read(1)
        opcode = _OPCODES.get(code.decode("latin-1"))
        if opcode is None:
            raise DamagedPickle(f"{code!r} is no opcode" if code else "it ends before it stops")
        if opcode.name == "STOP":
            return
        if opcode.name not in known:
            raise UserError(f"asks for the pickle opcode {opcode.name}; only tensors and plain containers are read")
        yield opcode.name, opcode.arg.reader(stream) if opcode.arg else None
    raise UserError(f"has a pickle of more than {_MAX_OPCODES} opcodes: this is no set of weights")


class _Machine:
    """Stack, marks and memo of the pickle machine, and the storages met; only dicts, lists, sets and records are ever mutated."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}
        self.spent = 0

    def spend(self, arguments: tuple[Any, ...]) -> None:
        """Charges a call for what it reads, before it does: the memo may show one list to a hundred thousand calls."""
        self.spent += len(arguments) + sum(len(value) for value in arguments if isinstance(value, (list, tuple)))
        if self.spent > _MAX_SPENT:
            raise UserError(f"has calls that read more than {_MAX_SPENT} items: this is no set of weights")

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
            case "ADDITEMS":
                _a(set, self.stack[-1]).update(_text(item) for item in items)

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
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
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
                (state,) = self._pop(1)
                if isinstance(stack[-1], Record):
                    stack[-1].state = state
                else:  # the attributes of a state dict (its _metadata) are of no use here
                    _a(dict, stack[-1])
            case "GLOBAL":
                stack.append(self._global(argument.replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                module, name = (_text(part) for part in self._pop(2))
                stack.append(self._global(f"{module}.{name}"))
            case "BINPERSID":
                (identity,) = self._pop(1)
                storage = _storage(identity)
                if self.storages.setdefault(storage.key, storage) != storage:
                    raise DamagedPickle(f"storage {brief(storage.key)} is described twice, and differently")
                stack.append(storage)
            case "REDUCE" | "NEWOBJ":
                function, arguments = self._pop(2)
                self.spend(_a(tuple, arguments))
                stack.append(self._call(_a(_Global, function).name, arguments))

    def _global(self, name: str) -> _Global:
        if name not in _DTYPES and name not in self.calls:
            raise UserError(
                f"asks for {brief(name)}; only tensors and plain containers are read from a pickle, and nothing was run"
            )
        return _Global(name)

    def _call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        if name not in self.calls:
            raise UserError(f"asks to call {name}; only tensors and plain containers are read from a pickle, and nothing was run")
        return self.calls[name](*arguments)

    def _pop(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise DamagedPickle("the stack is empty")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items


# Opcodes whose argument is the value.
_ARGUMENTS = frozenset(
    ("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINSTRING", "SHORT_BINSTRING", "BINUNICODE",
     "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8")
)  # fmt: skip
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}

_OBJECTS = frozenset(("NEWOBJ", "EMPTY_SET", "ADDITEMS"))  # of a format that pickles objects alone
_KNOWN = frozenset(
    ("PROTO", "FRAME", "MARK", "POP", "DUP", "BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET", "TUPLE1", "TUPLE2",
     "TUPLE3", "APPEND", "SETITEM", "BUILD", "GLOBAL", "STACK_GLOBAL", "BINPERSID", "REDUCE")
).union(_ARGUMENTS, _CONSTANTS, _MARK_OPCODES) - _OBJECTS  # fmt: skip


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    # What follows is requires_grad, hooks and metadata: none of it is a weight.
    return Tensor(_a(Storage, storage), offset, _a(tuple, shape), _a(tuple, strides))


def _parameter(data: Any, *_: Any) -> Tensor:
    return _a(Tensor, data)


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in _a((list, tuple), pairs)):
        raise DamagedPickle("a mapping is made of what are no pairs")
    return _update({}, [item for pair in pairs for item in pair])


_CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
}


def _storage(identity: Any) -> Storage:
    """PyTorch's persistent id: ("storage", type, key, device, elements), and None once more in the older format."""
    if len(_a(tuple, identity)) not in (5, 6) or identity[5:] not in ((), (None,)):
        raise DamagedPickle("a storage is described in another way than PyTorch does")
    kind, dtype, key, _, size = identity[:5]
    if kind != "storage" or not is_count(size):
        raise DamagedPickle("a storage is described in another way than PyTorch does")
    name = _a(_Global, dtype).name
    if name not in _DTYPES:
        raise DamagedPickle(f"{name} is no type of storage")
    return Storage(_text(key), _DTYPES[name], size)


def _update(target: dict[Any, Any], items: list[Any]) -> dict[Any, Any]:
    """Sets alternating keys and values; keys are those of state dicts and optimizers, whose hashing recurses into nothing."""
    if len(items) % 2 or not all(isinstance(key, str) or (isinstance(key, int) and abs(key) < _MAX_KEY) for key in items[::2]):
        raise DamagedPickle("a mapping has a key that is neither text nor a whole number")
    target.update(zip(items[::2], items[1::2], strict=True))
    return target


def _text(value: Any) -> str:
    if len(_a(str, value)) > _MAX_NAME:
        raise DamagedPickle(f"a name has {len(value)} characters")
    return str(value)


def _a(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind):
        raise DamagedPickle(f"a {type(value).__name__} stands where another thing must")
    return value
