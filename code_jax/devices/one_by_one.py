"""Batches that are computed image by image on CPUs, so that no image's rounding depends on its place among others.

A CPU's convolutions take the pixels of a batch as one row and cut it into pieces; the last pixels of the row are summed in
another order than the rest. An image by itself is always cut alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

_Denoiser = TypeVar("_Denoiser")


def apart(denoiser: _Denoiser, images: jax.Array) -> _Denoiser:
    """A denoiser for images that lie on devices: on CPUs its networks answer for one image of each device's at a time.

    Functions of one's own stay as they are, and so does everything where images are being traced.
    """
    if isinstance(images, jax.core.Tracer) or not images.size:
        return denoiser
    sharding = images.sharding
    device: Any = next(iter(sharding.device_set))
    if device.platform != "cpu":
        return denoiser
    return in_shards(denoiser, len(images) // sharding.shard_shape(images.shape)[0])


def in_shards(tree: _Denoiser, shards: int) -> _Denoiser:
    """A pytree in which whatever has a method ``apart(shards)`` is what that gives, however deep it lies."""
    has = lambda part: hasattr(part, "apart")  # noqa: E731
    return jax.tree.map(lambda part: part.apart(shards) if has(part) else part, tree, is_leaf=has)


def one_by_one(call: Callable[..., Any], shards: int, *batched: Any) -> Any:
    """``call(*batched)`` with one image of each of the shards at a time; as a whole where there are no more, or shards is 0.

    Args:
        call: of pytrees with a leading axis [B], each image by itself.
        shards: into which the batch is cut, in its order, each on a device of its own.
        batched: pytrees of arrays [B, ...].
    """
    count = len(jax.tree.leaves(batched)[0])
    if not shards or count % shards:
        return call(*batched)
    if count == shards:
        return _by_itself(call, batched)
    rows = jax.tree.map(lambda leaf: leaf.reshape(shards, -1, *leaf.shape[1:]).swapaxes(0, 1), batched)
    made = jax.lax.map(lambda row: _by_itself(call, row), rows)
    return jax.tree.map(lambda leaf: leaf.swapaxes(0, 1).reshape(count, *leaf.shape[2:]), made)


def _by_itself(call: Callable[..., Any], args: Any) -> Any:
    """A call that is a computation of its own, in a loop and outside of one: fused with others it would round otherwise."""
    call = jax.jit(call)  # whose trace is kept: once for the shapes and for the branch
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(call, *args))
    always = jax.lax.optimization_barrier(jnp.bool_(True))  # the compiler takes a branch that it knows for no branch
    return jax.lax.cond(always, call, lambda *_: nothing, *args)
