"""Coarse to fine: a picture larger than a prior's is restored as a whole at the prior's size, and what changed is carried up.

Fog, contrast, colours and what is in a picture are seen where all of it fits into the prior's own size; grain and edges are seen
at full size alone. The damaged picture y_K is reduced by factors of about two, y_{k−1} = D y_k, to y_0, which has the prior's
size. That is edited as it is, and every finer level begins with

    x_k = U(a_k) y_k + U(b_k),    r_{k−1} ≈ a_k y_{k−1} + b_k,

the local regression of the result of the level below, r_{k−1}, on what it was made of (the fast guided filter of He & Sun 2015,
with the slope drawn towards 1, and places `_REACH` pixels apart). So what is carried up is what fog, contrast, colours and light
are: a gain and an offset that vary slowly, in which all octaves agree. What the edit drew anew at the lower size is not carried:
where nothing but texture was changed, x_k = y_k, and the finer level sees the picture's own detail. Within a mask the rest is
carried as well, x_k + U(r_{k−1} − a_k y_{k−1} − b_k): what is to be in it, the picture does not say.

Finer levels have `SHARE` of the coarsest one's σ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from code_jax.diffusion.denoiser import Denoiser
from code_jax.diffusion.tiling import tiled
from code_jax.editing.edit import edit
from code_jax.editing.images import check_images
from code_jax.editing.keys import image_keys
from code_jax.editing.masks import RIM, check_mask
from code_jax.editing.presets import preset
from code_jax.editing.result import EditResult
from code_jax.editing.settings import Settings
from code_jax.errors import UserError
from code_jax.shapes import GivenImage, GivenImages, GivenMask, KeyPerImage, Keys

SHARE = 0.4  # of the coarsest level's σ, at every finer one (`tests.benchmarks.coarse_to_fine`)
_REACH = 16  # pixels of a coarser level between the places of a regression
_RIDGE = 0.001  # variance that the regression has a slope of 1 for
_MOST_SLOPE = 4.0

Size = tuple[int, int]


def level_sizes(size: Size, window: Size) -> list[Size]:
    """(H, W) of each level, coarsest first: from where one side is the prior's, it grows to its own by factors of about two.

    A picture with a side that is less than a fifth larger than the prior's has one level.

    Example:
        >>> level_sizes((512, 768), (64, 64))
        [(64, 96), (128, 192), (256, 384), (512, 768)]
        >>> level_sizes((150, 200), (64, 64)), level_sizes((70, 300), (64, 64))
        ([(64, 85), (150, 200)], [(70, 300)])
    """
    ratio = min(own / least for own, least in zip(size, window, strict=True))
    count = max(math.ceil(math.log2(ratio) - 0.25), 0)
    scales = [ratio ** (k / count - 1) for k in range(count)]
    return [*((max(round(size[0] * s), window[0]), max(round(size[1] * s), window[1])) for s in scales), size]


class Pyramid(NamedTuple):
    """A damaged picture at every level, coarsest first, on the host.

    Attributes:
        images: y_k, float32 [..., H_k, W_k, C] in [−1, 1].
        shares: of the edit in the result, float32 [..., H_k, W_k] in [0, 1]: a mask's at the finest level, and at the others 1
            wherever it reaches. None is everywhere.
    """

    images: tuple[np.ndarray, ...]
    shares: tuple[np.ndarray, ...] | None = None

    @classmethod
    def of(cls, images: np.ndarray, sizes: Sequence[Size], share: np.ndarray | None = None) -> Pyramid:
        """The pyramid of images [..., H, W, C] with levels of these sizes, and of a mask's share of the result, [..., H, W]."""
        made, shares = [images.astype(np.float32)], [] if share is None else [share]
        for size in sizes[-2::-1]:
            made.append(resampled(made[-1], size))
            shares += [(resampled(each[..., None], size, "triangle")[..., 0] > 0).astype(np.float32) for each in shares[-1:]]
        return cls(tuple(made[::-1]), tuple(shares[::-1]) or None)

    @property
    def sizes(self) -> list[Size]:
        """(H, W) of each level."""
        return [(image.shape[-3], image.shape[-2]) for image in self.images]

    def start(self, level: int, below: np.ndarray | None) -> np.ndarray:
        """x_k, what the edit of a level begins with, of the result of the level below, r_{k−1}; [..., H_k, W_k, C]."""
        damaged = self.images[level]
        if below is None:
            return damaged
        coarser, size = self.images[level - 1], (damaged.shape[-3], damaged.shape[-2])
        slope, offset = regression(coarser, below)
        raised = resampled(slope, size, "triangle") * damaged + resampled(offset, size, "triangle")
        if self.shares is None:
            return np.clip(raised, -1, 1)
        explained = (resampled(each, self.sizes[level - 1], "triangle") for each in (slope, offset))
        rest = below - next(explained) * coarser - next(explained)
        share = self.shares[level][..., None]
        return np.clip(damaged + share * (raised + resampled(rest, size) - damaged), -1, 1)

    def keys(self, level: int, keys: KeyPerImage) -> KeyPerImage:
        """Keys [B] of a level's edit; of a picture with one level, the picture's own."""
        return keys if len(self.images) == 1 else jax.vmap(jax.random.fold_in, (0, None))(keys, level)


def settings_at(level: int, settings: Settings, denoiser: Denoiser) -> Any:
    """A level's settings: at the coarsest as they are, at the others with `SHARE` of their noise levels."""
    method = settings.method
    if level == 0:
        return settings
    if method.finer is None:
        raise UserError(f"the method {method.name} has no noise level to lower for finer levels; choose another method")
    return method.finer(method.canonical(settings, denoiser), denoiser, SHARE)


def coarse_to_fine(
    key: Keys, prior: Denoiser, images: GivenImages | GivenImage, config: Settings | None = None,
    mask: GivenMask | None = None, *, chunk: int = 8,
) -> EditResult:  # fmt: skip
    """`edit` of images larger than a prior's, coarse to fine (`code_jax.editing.pyramid` has the formulae).

    Of its own, a tiled edit sees no more of a picture than a window holds: here fog or contrast are undone where all of the
    picture is seen. Each level is an `edit` in overlapping windows (`code_jax.tiled`), which costs 4/3 of the finest one in all.
    Levels meet on the host, where pictures are resampled: it cannot be traced, as the edits that it makes can.

    Args:
        key: as of `edit`; a level takes its number folded into an image's key, where there are several levels.
        prior: of patches at several scales, such as "pictures-64"; at least as small as the images, in both directions.
        images: [B, H, W, C] floating, in [−1, 1]; or one image [H, W, C].
        config: of the coarsest level; the finer ones have `SHARE` of its noise levels.
        mask: as of `edit`; a bool mask's rim fades over 1/16 of the prior's height.
        chunk: windows of an image computed at a time.

    Returns:
        An `EditResult`; `nfe` is of all levels together, the other facts are the finest one's.

    Raises:
        UserError: as `edit` does, or for a method whose noise level cannot be lowered.

    Example:
        >>> import code_jax, jax.numpy as jnp
        >>> prior = code_jax.Prior.from_denoiser(lambda params, z, sigma: 0.5 * z, (), (8, 8, 3), (0.01, 80.0))
        >>> result = code_jax.coarse_to_fine(jax.random.key(0), prior, jnp.zeros((1, 16, 24, 3)))
        >>> result.images.shape, result.info.nfe.tolist()  # two levels
        ((1, 16, 24, 3), [48])
    """
    if jnp.ndim(images) == 3:
        return jax.tree.map(
            lambda leaf: leaf[0], coarse_to_fine(key, prior, jnp.asarray(images)[None], config, mask, chunk=chunk)
        )
    settings, window = preset() if config is None else config, prior.image_shape[:2]
    images = check_images(tiled(prior, (jnp.shape(images)[1], jnp.shape(images)[2])), images)
    keys = image_keys(key, images)
    share = None if mask is None else np.asarray(check_mask(mask, images, max(window[0] // RIM, 1))[..., 0])
    pyramid = Pyramid.of(np.asarray(images), level_sizes((images.shape[1], images.shape[2]), window), share)
    below, evaluations = None, []
    for level, size in enumerate(pyramid.sizes):
        start, shares = jnp.asarray(pyramid.start(level, below)), None if pyramid.shares is None else pyramid.shares[level]
        wide, own = tiled(prior, size, chunk=chunk), settings_at(level, settings, prior)
        result = edit(pyramid.keys(level, keys), wide, start, own, shares)
        below = np.asarray(result.images)
        evaluations.append(result.info.nfe)
    return EditResult(result.images, result.info._replace(nfe=jnp.stack(evaluations).sum(axis=0)))


def regression(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope [..., h, w, 1] and offset [..., h, w, C] of `after` on `before`, [..., H, W, C], at places `_REACH` pixels apart.

    By least squares with the weights of a triangle about each place, one slope for all channels, drawn towards 1.
    """
    height, width = before.shape[-3:-1]
    grid = max(height // _REACH, 1), max(width // _REACH, 1)
    mean = lambda values: resampled(values, grid, "triangle")  # noqa: E731
    x, y = mean(before), mean(after)
    covariance, variance = ((mean(before * other) - x * of).mean(-1, keepdims=True) for other, of in ((after, y), (before, x)))
    slope = np.clip((covariance + _RIDGE) / (variance + _RIDGE), 1 / _MOST_SLOPE, _MOST_SLOPE)
    return slope, y - slope * x


def resampled(images: np.ndarray, size: Size, kernel: str = "lanczos") -> np.ndarray:
    """Images float32 [..., H, W, C] at a size (H, W), by a kernel that is widened where they shrink: what Pillow's resize gives.

    Example:
        >>> resampled(np.float32([0, 0, 7, 7]).reshape(4, 1, 1), (2, 1), "triangle").ravel().round(3).tolist()
        [1.0, 6.0]
    """
    rows = _along(np.moveaxis(images, -3, 0), size[0], kernel)
    columns = _along(np.moveaxis(rows, -2, 0), size[1], kernel)  # [W, H, ..., C]
    return np.ascontiguousarray(np.moveaxis(columns, (1, 0), (-3, -2)))


_KERNELS = {
    "lanczos": (3, lambda x: np.sinc(x) * np.sinc(x / 3)),
    "triangle": (1, lambda x: 1 - np.abs(x)),
}


def _along(values: np.ndarray, length: int, kernel: str) -> np.ndarray:
    """Values [n, ...] resampled along their first axis, tap by tap: sums have one order, whatever the number of threads."""
    count, (reach, shape) = len(values), _KERNELS[kernel]
    if count == length:
        return values
    scale = count / length
    wide = max(scale, 1)
    centres = (np.arange(length) + 0.5) * scale - 0.5
    taps = np.ceil(centres - reach * wide)[:, None] + np.arange(math.ceil(2 * reach * wide))
    offsets = (taps - centres[:, None]) / wide
    weights = np.where((np.abs(offsets) < reach) & (taps >= 0) & (taps < count), shape(offsets), 0)
    weights = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    places, total = np.clip(taps, 0, count - 1).astype(int), np.zeros((length, *values.shape[1:]), np.float32)
    for tap in range(places.shape[1]):
        total += weights[:, tap].reshape(-1, *[1] * (values.ndim - 1)) * values[places[:, tap]]
    return total
