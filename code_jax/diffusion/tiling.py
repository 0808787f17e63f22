"""Overlapping windows: a denoiser of one size as a denoiser of any larger one.

A window of a large picture's x_t is a small picture's x_t at the same noise level, so that the prior knows its score. The score
of the large x_t is taken to be the weighted average of the windows' scores, at every evaluation (Bar-Tal et al. 2023,
MultiDiffusion, equation 5, for ε instead of a denoised step): all windows move together, as one picture, and none has a border.
The weights are a window's sin² in each direction: they fall to nearly 0 at its border, so that none of it is seen.
"""

from __future__ import annotations

import math

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from code_jax.diffusion.denoiser import Condition, Denoiser, Wrapper
from code_jax.errors import UserError

Shape = tuple[int, int, int]


class Tiled(Wrapper):
    """A denoiser of pictures larger than the wrapped one's; `tiled` makes it.

    A picture lies in the canvas row after row, as in memory: pixel (i, j) at place i·width + j, whatever the canvas's own width.
    So a canvas holds every picture of no more pixels, a panorama as well as a square. Windows are computed `chunk` at a time, so
    that memory does not grow with their number beyond the canvas's own. Places are traced: pictures of different sizes in one
    canvas share a program, and no window is computed for what is empty of it.

    Attributes:
        denoiser: what is wrapped.
        corners: top and left of each window; those from `count` on are unused. int32 [K, 2].
        count: number of windows. int32 [].
        width: of the picture. int32 [].
        scale: reciprocal sum of the windows' weights at each place, 0 where the canvas is empty. [H, W, 1].
        canvas: (H, W, C) of the canvas, static.
        window: (h, w) of a window, static.
        chunk: windows computed at a time, static.
        sharding: how a chunk lies on devices, static; None leaves it to the compiler.
    """

    corners: jax.Array
    count: jax.Array
    width: jax.Array
    scale: jax.Array
    canvas: Shape = flax.struct.field(pytree_node=False)
    window: tuple[int, int] = flax.struct.field(pytree_node=False)
    chunk: int = flax.struct.field(pytree_node=False)
    sharding: NamedSharding | None = flax.struct.field(pytree_node=False, default=None)

    @property
    def image_shape(self) -> Shape:
        """(H, W, C) of the canvas."""
        return self.canvas

    def eps_at(self, z: jax.Array, sigma: jax.Array, condition: Condition = None) -> jax.Array:
        """ε [B, H, W, C] at z and σ, [] or [B, 1, 1, 1]; 0 where the canvas is empty. A window has its picture's condition."""
        batch, channels, (height, width) = z.shape[0], z.shape[3], self.window
        pixels = z.reshape(batch, -1, channels)
        weight = jnp.asarray(np.outer(window_weight(height), window_weight(width))[..., None], z.dtype)
        inside = jnp.arange(height)[:, None] * self.width + jnp.arange(width)
        of_windows = lambda leaf: jnp.repeat(leaf, self.chunk, axis=0)  # noqa: E731
        sigma, condition = of_windows(sigma) if jnp.ndim(sigma) else sigma, jax.tree.map(of_windows, condition)

        def add_chunk(number: jax.Array, total: jax.Array) -> jax.Array:
            first = number * self.chunk
            corners = jax.lax.dynamic_slice(self.corners, (first, jnp.zeros_like(first)), (self.chunk, 2))
            places = (corners[:, 0] * self.width + corners[:, 1])[:, None, None] + inside
            windows = pixels[:, places].reshape(-1, height, width, channels)
            if self.sharding is not None:
                windows = jax.lax.with_sharding_constraint(windows, self.sharding)
            eps = weight * self.denoiser.eps_at(windows, sigma, condition).reshape(batch, self.chunk, height, width, channels)
            eps = jnp.where((jnp.arange(self.chunk) < self.count - first)[:, None, None, None], eps, 0)

            def add(i: jax.Array, total: jax.Array) -> jax.Array:  # one after the other: the order of sums does not vary
                return total.at[:, places[i]].add(eps[:, i], unique_indices=True)

            return jax.lax.fori_loop(0, self.chunk, add, total)

        chunks = (self.count + self.chunk - 1) // self.chunk
        total = jax.lax.fori_loop(0, chunks, add_chunk, jnp.zeros_like(pixels))
        return total.reshape(z.shape) * self.scale.astype(z.dtype)


def tiled(
    denoiser: Denoiser, size: tuple[int, int], *, canvas: int | None = None, chunk: int = 8,
    sharding: NamedSharding | None = None,
) -> Tiled:  # fmt: skip
    """A prior of one size for pictures of size (H, W), each at least its own.

    Windows overlap by half or more: 4 evaluations of the network cover a pixel on average.

    Args:
        denoiser: a `code_jax.Prior`.
        size: (H, W) of the picture.
        canvas: side of a square that holds the picture's pixels row after row, and then nothing, where ε is 0: the images are
            [B, canvas, canvas, C]. None is the picture's own shape. Sizes that share a canvas share a compiled program.
        chunk: windows computed at a time.
        sharding: how the windows of a chunk lie on devices.

    Returns:
        A `Tiled` denoiser, which `code_jax.edit` takes as a prior.

    Raises:
        UserError: if the size is smaller than the prior's or has more pixels than the canvas.

    Example:
        >>> import code_jax, jax.numpy as jnp
        >>> prior = code_jax.Prior.from_denoiser(lambda params, z, sigma: 0.5 * z, (), (8, 8, 3), (0.01, 80.0))
        >>> wide = tiled(prior, (10, 31))
        >>> wide.eps_at(jnp.ones((1, 10, 31, 3)), jnp.float32(1)).round(6).tolist()[0][0][0]
        [0.5, 0.5, 0.5]
    """
    window, channels = denoiser.image_shape[:2], denoiser.image_shape[2]
    canvas_size = size if canvas is None else (canvas, canvas)
    if size[0] < window[0] or size[1] < window[1] or math.prod(size) > math.prod(canvas_size):
        raise UserError(f"a picture of {size[0]}x{size[1]} is not tiled by windows of {window[0]}x{window[1]} on this canvas")
    starts = [window_starts(length, side) for length, side in zip(size, window, strict=True)]
    corners = np.stack(np.meshgrid(*starts, indexing="ij"), axis=-1).reshape(-1, 2)
    most = len(corners) if canvas is None else 4 * canvas**2 // math.prod(window)  # along a length L there are less than 2 L/side
    room = np.zeros((-(-most // chunk) * chunk, 2), np.int32)
    room[: len(corners)] = corners
    rows, columns = (1 / _sums(*each) for each in zip(starts, window, size, strict=True))
    scale = np.zeros(math.prod(canvas_size))
    scale[: math.prod(size)] = np.outer(rows, columns).ravel()
    arrays = {
        "corners": room,
        "count": np.int32(len(corners)),
        "width": np.int32(size[1]),
        "scale": scale.reshape(*canvas_size, 1),
    }
    return Tiled(
        denoiser, **jax.device_put(arrays), canvas=(*canvas_size, channels), window=window, chunk=chunk, sharding=sharding
    )


def window_starts(length: int, side: int) -> np.ndarray:
    """Where windows of a side begin along a length: evenly, overlapping by half or a little more.

    Example:
        >>> window_starts(20, 8).tolist()
        [0, 4, 8, 12]
    """
    steps = -(-2 * (length - side) // side)
    return np.rint(np.linspace(0, length - side, steps + 1)).astype(np.int32)


def window_weight(side: int) -> np.ndarray:
    """sin²(π(i + ½)/side), positive everywhere. [side]."""
    return np.asarray(np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2)


def _sums(starts: np.ndarray, side: int, length: int) -> np.ndarray:
    """The sum of the windows' weights at each place of a length."""
    total = np.zeros(length)
    for start in starts:
        total[start : start + side] += window_weight(side)
    return total
