"""What XLA is told where it compiles for a CPU, and its own choice is the slower one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

# XLA's default gives convolutions to YNNPACK: on processors of AVX2 alone a network takes 1.4 to 1.5 times as long.
_BY_EIGEN = {"xla_cpu_experimental_ynn_fusion_type": ""}


@functools.cache
def compiler_options() -> dict[str, str] | None:
    """Options for `jax.jit` on this process's devices; None where there is nothing to say, or this XLA knows no such option."""
    if _by_itself():
        return None
    try:
        jax.jit(lambda: jnp.zeros(()), compiler_options=_BY_EIGEN).lower().compile()
    except jax.errors.JaxRuntimeError:
        return None
    return _BY_EIGEN


def _by_itself() -> bool:
    """Whether this process's devices are others than CPUs of AVX2 alone, for which XLA chooses well."""
    described = Path("/proc/cpuinfo")
    flags = described.read_text().split() if described.is_file() else []
    return jax.default_backend() != "cpu" or "avx2" not in flags or "avx512f" in flags


class _Program:
    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        functools.update_wrapper(self, function)
        self._function, self._options = function, options
        self._plain: Any = jax.jit(function, **options)

    @functools.cached_property
    def _told(self) -> Any:
        return jax.jit(self._function, compiler_options=compiler_options(), **self._options)

    def _here(self, operands: Any) -> Any:
        """The program with the compiler's options, but within another program, which is compiled with its own."""
        if compiler_options() is None:
            return self._plain
        traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((operands, jnp.zeros(()))))
        return self._plain if traced else self._told

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._here((args, kwargs))(*args, **kwargs)

    def lower(self, *args: Any, **kwargs: Any) -> Any:
        return self._here((args, kwargs)).lower(*args, **kwargs)

    def trace(self, *args: Any, **kwargs: Any) -> Any:
        return self._here((args, kwargs)).trace(*args, **kwargs)

    def _cache_size(self) -> int:
        return int(self._plain._cache_size() + self._told._cache_size())


def jit(function: Callable[..., Any], **options: Any) -> Any:
    """`jax.jit` with `compiler_options`, except where it is called within another program.

    Args:
        function: what is compiled.
        options: of `jax.jit`.
    """
    return _Program(function, options)
