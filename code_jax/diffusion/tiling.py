"""Overlapping windows: a denoiser of one size as a denoiser of any larger one.

A window of a large picture's x_t is a small picture's x_t at the same noise level, so that the prior knows its score. The score
of the large x_t is taken to be the weighted average of the windows' scores, at every evaluation (Bar-Tal et al. 2023,
MultiDiffusion, equation 5, for ε instead of a denoised step): all windows move together, as one picture, and none has a border.
The weights are a window's sin² in each direction: they fall to nearly 0 at its border, so that none of it is seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jaxtyping import Array, Float, Int

from code_jax.diffusion.codec import latent_shape
from code_jax.diffusion.denoiser import Condition, Denoiser, Wrapper
from code_jax.errors import UserError
from code_jax.shapes import Images, Latents, Level, Numbers

Shape = tuple[int, int, int]


class Tiled(Wrapper):
    """A denoiser of pictures larger than the wrapped one's; `tiled` makes it.

    A picture lies in the canvas row after row, as in memory: pixel (i, j) at place i·width + j, whatever the canvas's own width.
    So a canvas holds every picture of no more pixels, a panorama as well as a square. Windows are computed `chunk` at a time, so
    that memory does not grow with their number beyond the canvas's own. Places are traced: pictures of different sizes in one
    canvas share a program, and no window is computed for what is empty of it. Latents lie likewise in a canvas of their own.

    Attributes:
        denoiser: what is wrapped.
        corners: top and left of each window, of what z is of; those from `count` on are unused. int32 [K, 2].
        count: number of windows. int32 [].
        size: (H, W) of the picture, in pixels. int32 [2].
        scale: reciprocal sum of the windows' weights at each place of z's canvas, 0 where it is empty. [h, w, 1].
        canvas: (H, W, C) of the pictures' canvas, static.
        window: (h, w) of a window, of what z is of, static.
        factor: pixels along one of what z is of, static.
        chunk: windows computed at a time, static.
        sharding: how a chunk lies on devices, static; None leaves it to the compiler.
    """

    corners: Int[Array, "windows 2"]
    count: Int[Array, ""]
    size: Int[Array, " 2"]
    scale: Float[Array, "height width 1"]
    canvas: Shape = flax.struct.field(pytree_node=False)
    window: tuple[int, int] = flax.struct.field(pytree_node=False)
    factor: int = flax.struct.field(pytree_node=False)
    chunk: int = flax.struct.field(pytree_node=False)
    sharding: NamedSharding | None = flax.struct.field(pytree_node=False, default=None)

    @property
    def image_shape(self) -> Shape:
        """(H, W, C) of the canvas."""
        return self.canvas

    @property
    def codec(self) -> TiledCodec | None:
        """The wrapped denoiser's, window by window."""
        return None if self.denoiser.codec is None else TiledCodec(self)

    def apart(self, shards: int) -> Tiled:
        """The same, whose denoiser answers for one window of each shard, or of each device of a chunk, at a time."""
        if not hasattr(self.denoiser, "apart"):
            return self
        shards = shards if self.sharding is None else len(self.sharding.device_set)
        return self.replace(denoiser=self.denoiser.apart(shards))

    def eps_at(self, z: Images, sigma: Level, condition: Condition = None) -> Images:
        """ε [B, H, W, C] at z and σ, [] or [B, 1, 1, 1]; 0 where the canvas is empty. A window has its picture's condition."""
        of_windows = lambda leaf: jnp.repeat(leaf, self.chunk, axis=0)  # noqa: E731
        sigma, condition = of_windows(sigma) if jnp.ndim(sigma) else sigma, jax.tree.map(of_windows, condition)
        total = self.sums(lambda windows: self.denoiser.eps_at(windows, sigma, condition), z, jnp.zeros_like(z))
        return total * self.scale.astype(z.dtype)

    def sums(self, call: Callable[[Images], Images], canvas: Images, total: Latents, enter: int = 1, leave: int = 1) -> Latents:
        """Adds weight·call(window) of every window of a canvas to another canvas.

        enter, leave: pixels along one of what z is of, for each of the two: 1, or `factor` for pictures.
        """
        shape, batch = total.shape, len(canvas)
        pixels, total = (each.reshape(batch, -1, each.shape[3]) for each in (canvas, total))
        height, width = (side * leave for side in self.window)
        weight = jnp.asarray(np.outer(window_weight(height), window_weight(width))[..., None], canvas.dtype)

        def add_chunk(number: jax.Array, total: jax.Array) -> jax.Array:
            first = number * self.chunk
            corners = jax.lax.dynamic_slice(self.corners, (first, jnp.zeros_like(first)), (self.chunk, 2))
            windows = pixels[:, self._places(corners, enter)]
            windows = windows.reshape(-1, *windows.shape[2:])
            if self.sharding is not None:
                windows = jax.lax.with_sharding_constraint(windows, self.sharding)
            made = weight * call(windows).reshape(batch, self.chunk, height, width, -1)
            made = jnp.where((jnp.arange(self.chunk) < self.count - first)[:, None, None, None], made, 0)
            places = self._places(corners, leave, total.shape[1])

            def add(i: jax.Array, total: jax.Array) -> jax.Array:  # one after the other: the order of sums does not vary
                return total.at[:, places[i]].add(made[:, i], unique_indices=leave == 1)

            return jax.lax.fori_loop(0, self.chunk, add, total)

        chunks = (self.count + self.chunk - 1) // self.chunk
        return jax.lax.fori_loop(0, chunks, add_chunk, total).reshape(shape)

    def _places(self, corners: jax.Array, unit: int, beyond: int | None = None) -> jax.Array:
        """Where in a canvas the pixels of windows lie, [K, h, w]; those beyond the picture at its edge, or where it is said."""
        height, width = self.extent(unit)
        rows, columns = (corners[:, axis, None] * unit + jnp.arange(side * unit) for axis, side in enumerate(self.window))
        rows, columns = rows[:, :, None], columns[:, None]
        places = jnp.minimum(rows, height - 1) * width + jnp.minimum(columns, width - 1)
        outside = (rows >= height) | (columns >= width)
        return places if beyond is None or unit == 1 else jnp.where(outside, beyond, places)

    def extent(self, unit: int) -> tuple[Int[Array, ""], Int[Array, ""]]:
        """Height and width of the picture in pixels (unit `factor`), or in what z is of (unit 1)."""
        height, width = -(-self.size * unit // self.factor)
        return height, width


class TiledCodec(flax.struct.PyTreeNode):
    """The codec of `Tiled` pictures: each window's, whose results are averaged as those of the score are.

    A picture whose sides are no multiples of the factor has the last row and column of its latents in part from its edge.

    Attributes:
        tiles: whose.
    """

    tiles: Tiled

    @property
    def latent_shape(self) -> Shape:
        """(h, w, c) of the latents' canvas."""
        height, width, _ = self.tiles.scale.shape
        return height, width, self.tiles.denoiser.codec.latent_shape[2]

    def encode(self, images: Images) -> Latents:
        """Latents on their canvas, [B, h, w, c]; 0 where it is empty."""
        tiles, empty = self.tiles, jnp.zeros((len(images), *self.latent_shape), images.dtype)
        return tiles.sums(tiles.denoiser.codec.encode, images, empty, enter=tiles.factor) * tiles.scale.astype(images.dtype)

    def decode(self, latents: Latents) -> Images:
        """Pictures on their canvas, [B, H, W, C]; 0 where it is empty."""
        tiles, (height, width, channels) = self.tiles, self.tiles.canvas

        def weighed(windows: jax.Array) -> jax.Array:
            pictures = tiles.denoiser.codec.decode(windows)
            return jnp.concatenate([pictures, jnp.ones_like(pictures[..., :1])], axis=-1)

        empty = jnp.zeros((len(latents), height, width, channels + 1), latents.dtype)
        total = tiles.sums(weighed, latents, empty, leave=tiles.factor)
        return total[..., :-1] / jnp.maximum(total[..., -1:], jnp.finfo(latents.dtype).tiny)

    def shrink(self, mask: Float[Array, "batch height width 1"]) -> Float[Array, "batch rows columns 1"]:
        """The greatest share within each latent's pixels, [B, h, w, 1], of shares [B, H, W, 1]."""
        tiles, (rows, columns, _) = self.tiles, self.latent_shape
        height, width = tiles.extent(tiles.factor)
        places, inner = jnp.arange(rows * columns), jnp.arange(tiles.factor)
        along = tiles.extent(1)[1]
        down = jnp.minimum((places // along)[:, None] * tiles.factor + inner, height - 1)
        right = jnp.minimum((places % along)[:, None] * tiles.factor + inner, width - 1)
        shares = mask.reshape(len(mask), -1)[:, down[:, :, None] * width + right[:, None]]
        return shares.max((2, 3)).reshape(len(mask), rows, columns, 1)


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
    (height, width, channels), window = denoiser.image_shape, latent_shape(denoiser)[:2]
    canvas_size = size if canvas is None else (canvas, canvas)
    if size[0] < height or size[1] < width or math.prod(size) > math.prod(canvas_size):
        raise UserError(f"a picture of {size[0]}x{size[1]} is not tiled by windows of {height}x{width} on this canvas")
    factor = height // window[0]
    grid = -(-size[0] // factor), -(-size[1] // factor)
    places = grid if canvas is None else _latent_canvas(canvas, min(height, width), factor)
    starts = [window_starts(length, side) for length, side in zip(grid, window, strict=True)]
    corners = np.stack(np.meshgrid(*starts, indexing="ij"), axis=-1).reshape(-1, 2)
    # Along a length L there are less than 2 L/side.
    most = len(corners) if canvas is None else 4 * math.prod(places) // math.prod(window)
    room = np.zeros((-(-most // chunk) * chunk, 2), np.int32)
    room[: len(corners)] = corners
    rows, columns = (1 / _sums(*each) for each in zip(starts, window, grid, strict=True))
    scale = np.zeros(math.prod(places))
    scale[: math.prod(grid)] = np.outer(rows, columns).ravel()
    arrays = {
        "corners": room,
        "count": np.int32(len(corners)),
        "size": np.array(size, np.int32),
        "scale": scale.reshape(*places, 1),
    }
    return Tiled(
        denoiser, **jax.device_put(arrays),
        canvas=(*canvas_size, channels), window=window, factor=factor, chunk=chunk, sharding=sharding,
    )  # fmt: skip


def inside(denoiser: Denoiser, wrapper: Callable[..., Denoiser], *numbers: Numbers) -> Denoiser:
    """A denoiser in a wrapper with numbers, [] or [B].

    Of tiles each window has its own, since a window is what the prior knows; numbers of several images go with their windows.
    """
    if not isinstance(denoiser, Tiled):
        return wrapper(denoiser, *numbers)
    of_windows = (jnp.repeat(number, denoiser.chunk) if jnp.ndim(number) else number for number in numbers)
    return denoiser.replace(denoiser=wrapper(denoiser.denoiser, *of_windows))


def _latent_canvas(side: int, least: int, factor: int) -> tuple[int, int]:
    """(h, w) of the canvas for the latents of every picture of sides of at least so many pixels in a canvas of pictures.

    ⌈H/f⌉⌈W/f⌉ ≤ (HW + (f − 1)(H + W) + (f − 1)²)/f², and H + W is greatest for the longest panorama.
    """
    width, more = side // factor, factor - 1
    most = (side**2 + more * (least + side**2 / least) + more**2) / factor**2
    return math.ceil(most / width), width


def window_starts(length: int, side: int) -> Int[np.ndarray, " windows"]:
    """Where windows of a side begin along a length: evenly, overlapping by half or a little more.

    Example:
        >>> window_starts(20, 8).tolist()
        [0, 4, 8, 12]
    """
    steps = -(-2 * (length - side) // side)
    return np.rint(np.linspace(0, length - side, steps + 1)).astype(np.int32)


def window_weight(side: int) -> Float[np.ndarray, " side"]:
    """sin²(π(i + ½)/side), positive everywhere. [side]."""
    return np.asarray(np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2)


def _sums(starts: np.ndarray, side: int, length: int) -> np.ndarray:
    """The sum of the windows' weights at each place of a length."""
    total = np.zeros(length)
    for start in starts:
        total[start : start + side] += window_weight(side)
    return total
