"""Tensors as a pickle describes them: views of runs of numbers, which the file keeps elsewhere."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from code_jax.documents import is_whole

_MAX_RANK = 16


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
        fits = len(self.shape) == len(self.strides) <= _MAX_RANK
        if not fits or not all(map(is_count, (self.offset, *self.shape, *self.strides))):
            raise DamagedPickle("a tensor's shape and strides are no two short lists of whole numbers")
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        if self.elements and last >= self.storage.size:
            raise DamagedPickle(f"a tensor reaches element {last} of a storage of {self.storage.size}")

    @property
    def elements(self) -> int:
        """How many numbers the view shows."""
        return math.prod(self.shape)


def is_count(value: Any) -> bool:
    """Whether it is a whole number that a count or an offset may be."""
    return is_whole(value, most=(1 << 62) - 1)
