"""Where a training's pictures come from: folders and zips with shares, whole pictures or patches, cut as they are needed."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from code_jax.errors import UserError
from code_jax.pictures.collection import read_one
from code_jax.pictures.fitting import eight_bits, fitted, resized, with_alpha
from code_jax.pictures.loading import PictureError
from code_jax.training.data import draws, held_out, readable

MEMORY = 1 << 31
_SPEC = re.compile(r"(?P<path>.+?)(:(?P<share>[0-9.]+(e-?\d+)?))?(:(margin=(?P<margin>\d+)|patches=(?P<patches>[0-9.*,]+)))?")
_MOST_MARGIN, _MOST_SCALE = 4096, 64.0


@dataclasses.dataclass(frozen=True)
class Source:
    """A folder or zip of pictures, and how one of the training's pictures is made of them.

    Attributes:
        path: of the folder or zip.
        share: of each batch, relative to that of the other sources.
        margin: whole pictures (their largest square, or what has the prior's proportions) are resized to the prior's size
            and so many pixels more, and cropped at random.
        scales: (scale, share) of patches: pictures are reduced by one of the scales and cropped at random. None: whole pictures.

    Raises:
        UserError: names the value that is out of its range.
    """

    path: str
    share: float = 1.0
    margin: int = 0
    scales: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        for name, value in [("share", self.share), *(("share of a scale", share) for _, share in self.scales)]:
            if not 0 < value < float("inf"):
                raise UserError(f"the {name} of {self.path} is {value}; it must be a positive number")
        if not 0 <= self.margin <= _MOST_MARGIN:
            raise UserError(f"the margin of {self.path} is {self.margin}; it must be 0 to {_MOST_MARGIN} pixels")
        for scale, _ in self.scales:
            if not 1 <= scale <= _MOST_SCALE:
                raise UserError(f"a scale of {self.path} is {scale}; it must be 1 (full size) to {_MOST_SCALE:g}")


def parse_source(text: str) -> Source:
    """A source as the command line states it: ``PATH[:SHARE][:margin=PIXELS | :patches=SCALE[*SHARE],…]``.

    Example:
        >>> parse_source("portraits.zip:0.5:margin=6")
        Source(path='portraits.zip', share=0.5, margin=6, scales=())
        >>> parse_source("photos:patches=1*0.4,2*0.35,4*0.25").scales
        ((1.0, 0.4), (2.0, 0.35), (4.0, 0.25))
    """
    match = _SPEC.fullmatch(text)
    if match is None:
        raise UserError(f"no source {text!r}: give PATH[:SHARE][:margin=PIXELS] or PATH[:SHARE][:patches=SCALE*SHARE,…]")
    try:
        parts = [part.split("*") for part in match["patches"].split(",")] if match["patches"] else []
        scales = tuple((float(scale), float(*share) if share else 1.0) for scale, *share in parts)
        return Source(match["path"], float(match["share"] or 1), int(match["margin"] or 0), scales)
    except (TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"no source {text!r}: its numbers cannot be read") from None


class Dataset:
    """The pictures of several sources, some of each held out; batches of them are a function of seed and step alone.

    Args:
        sources: where they come from.
        shape: (H, W, C) of the prior's pictures.
        held: pictures of each source that are held out, by the hash of their names; a fifth at most.
        memory: decoded pictures are kept while they take no more bytes than this, all sources together; others are decoded each
            time that they are drawn.

    Raises:
        UserError: for a source with fewer than two readable pictures.
    """

    def __init__(self, sources: Sequence[Source], shape: tuple[int, int, int], held: int, memory: int = MEMORY) -> None:
        kept = Kept(memory)
        self._pictures = [Pictures(source, shape, kept) for source in sources]
        total = sum(source.share for source in sources)
        self._shares = [source.share / total for source in sources]
        masks = [held_out(each.names, min(held, max(len(each.names) // 5, 1))) for each in self._pictures]
        self.trained, self.held = ([np.flatnonzero(mask == side) for mask in masks] for side in (False, True))

    @property
    def scales(self) -> list[float]:
        """Of all sources' patches; none where all pictures are whole ones."""
        return sorted({scale for each in self._pictures for scale, _ in each.source.scales})

    def describe(self) -> list[dict[str, object]]:
        """What decides the batches, as plain data: each source's shares and sizes, and a digest of its names and pixels."""
        stated = [dataclasses.asdict(each.source) | {"digest": each.digest} for each in self._pictures]
        return [{name: value for name, value in each.items() if name != "path"} for each in stated]

    def batches(self, seed: int, size: int, start: int = 0, *, held: bool = False) -> Iterator[np.ndarray]:
        """The batches uint8 [size, H, W, C] of each step from `start` on, of the pictures trained on or of those held out."""
        sides = self.held if held else self.trained
        steps = draws(seed, self._shares, [len(side) for side in sides], size, start)
        for step, (chosen, positions) in enumerate(steps, start):
            rng = np.random.default_rng([seed, step])
            yield np.stack([self._pictures[k].cut(int(sides[k][i]), rng) for k, i in zip(chosen, positions, strict=True)])


class Kept:
    """What was made of files, by key, as long as all of it takes no more than `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._left, self._arrays = limit, dict[object, np.ndarray]()

    def get(self, key: object, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of a key, made if it is not there."""
        array = self._arrays.get(key)
        if array is None:
            array = make()
            if array.nbytes <= self._left:
                self._left -= array.nbytes
                self._arrays[key] = array
        return array


class Pictures:
    """The readable pictures of a source, each read once at the start; those that cannot be read are named and left out."""

    def __init__(self, source: Source, shape: tuple[int, int, int], kept: Kept) -> None:
        self.source, self._shape, self._kept = source, shape, kept
        shares = [share for _, share in source.scales] or [1.0]
        self._scales, self._shares = [scale for scale, _ in source.scales] or [1.0], np.divide(shares, sum(shares))
        self.names: list[str] = []
        digest = hashlib.sha256()
        for name, pixels in readable(source.path, shape[2]):
            for scale in self._scales:
                self._kept.get((self, name, scale), functools.partial(self._scaled, pixels, scale))
            digest.update(f"{name!r} {pixels.shape}".encode())
            digest.update(pixels.tobytes())
            self.names.append(name)
        self.digest = digest.hexdigest()
        if len(self.names) < 2:
            count = f"{len(self.names)} readable picture"
            raise UserError(
                f"{source.path} holds {count}; a training needs at least 2 of each source, one of them to validate on"
            )

    def cut(self, index: int, rng: np.random.Generator) -> np.ndarray:
        """A picture uint8 [H, W, C] of a file: its scale and place are random."""
        name, scale = self.names[index], self._scales[rng.choice(len(self._scales), p=self._shares)]
        pixels = self._kept.get((self, name, scale), lambda: self._scaled(self._read(name), scale))
        top, left = (rng.integers(0, have - want + 1) for have, want in zip(pixels.shape[:2], self._shape[:2], strict=True))
        return pixels[top : top + self._shape[0], left : left + self._shape[1]]

    def _scaled(self, pixels: np.ndarray, scale: float) -> np.ndarray:
        """What `cut` crops: a whole picture of the prior's size and the margin, or one reduced, no smaller than a patch."""
        height, width, channels = self._shape
        if not self.source.scales:
            shape = (height + self.source.margin, width + self.source.margin, channels)
            return eight_bits(fitted(pixels, shape, "crop"), channels)
        scale = min(scale, pixels.shape[0] / height, pixels.shape[1] / width)
        size = (max(int(pixels.shape[0] / scale), height), max(int(pixels.shape[1] / scale), width))
        return eight_bits(resized(pixels, size), channels)

    def _read(self, name: str) -> np.ndarray:
        try:
            picture = read_one(Path(self.source.path), name)
            return with_alpha(picture.pixels, picture.alpha, self._shape[2])
        except PictureError as error:
            raise UserError(f"{name} of {self.source.path} cannot be read any more: {error}") from None
