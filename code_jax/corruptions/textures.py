"""Procedural textures: filtered noise, Perlin turbulence, cells, plasma and caustics, at any size from a Generator."""

from __future__ import annotations

import numpy as np


def side(image: np.ndarray) -> float:
    """Side in pixels of the square with the image's area, the length that published parameters are fractions of.

    Example:
        >>> side(np.zeros((128, 512, 3)))
        256.0
    """
    return float(np.sqrt(image.shape[0] * image.shape[1]))


def filtered_noise(shape: tuple[int, int], exponent: float, offset: float, rng: np.random.Generator) -> np.ndarray:
    """White Gaussian noise whose amplitudes are weighted by |k|^exponent + offset, scaled to a standard deviation of 1.

    Args:
        shape: (H, W).
        exponent: 1 for blue noise (power ∝ |k|²), −2 for brown (power ∝ |k|⁻⁴).
        offset: added to |k|^|exponent| before inverting, so that 1/(|k|² + 1) keeps the mean finite; 0 for blue noise.
        rng: where the noise comes from.

    Returns:
        float64 [H, W]. Its mean is 0 where the weight of k = 0 is, and random otherwise.
    """
    cycles = np.sqrt(shape[0] * shape[1])
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1]), indexing="ij")) * cycles
    weight = (k ** abs(exponent) + offset) ** np.sign(exponent)
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * weight, s=shape)
    return noise / noise.std()


def perlin(shape: tuple[int, int], period: float, rng: np.random.Generator) -> np.ndarray:
    """Gradient noise (Perlin 1985): unit gradients on a lattice, their planes blended by 3t² − 2t³; 0 at lattice points.

    Args:
        shape: (H, W).
        period: distance of lattice points in pixels.
        rng: where the gradients come from.

    Returns:
        float64 [H, W], within ±√½.
    """
    row, column = (np.arange(n) / period for n in shape)
    i, j = row.astype(int), column.astype(int)
    v, u = (row - i)[:, None], (column - j)[None]
    angle = rng.uniform(0, 2 * np.pi, (i[-1] + 2, j[-1] + 2))

    def plane(di: int, dj: int) -> np.ndarray:
        a = angle[np.ix_(i + di, j + dj)]
        return np.sin(a) * (v - di) + np.cos(a) * (u - dj)

    sv, su = v * v * (3 - 2 * v), u * u * (3 - 2 * u)
    return (1 - sv) * ((1 - su) * plane(0, 0) + su * plane(0, 1)) + sv * ((1 - su) * plane(1, 0) + su * plane(1, 1))


def turbulence(shape: tuple[int, int], period: float, rng: np.random.Generator) -> np.ndarray:
    """Σ_o |3/2·perlin(period/2^o)|/2^o over at most five octaves, as long as their period is 2 pixels or more.

    Args are those of `perlin`. Returns float64 [H, W], 0 or more.
    """
    periods = [period / 2**octave for octave in range(5)]
    return sum(
        (1.5 * np.abs(perlin(shape, p, rng)) * p / period for p in periods if p >= 2 or p == period),
        start=np.zeros(shape),
    )


def cell_distance(shape: tuple[int, int], size: float, jitter: float, rng: np.random.Generator) -> np.ndarray:
    """Distance to the nearest of one feature point a cell (Worley 1996), in cells.

    A cell's point lies at jitter·sin(φ) mod 1 in each coordinate, φ uniform: near the corners for a small jitter.

    Args:
        shape: (H, W).
        size: side of a cell in pixels.
        jitter: from 0 (a square lattice) up.
        rng: where φ comes from.

    Returns:
        float64 [H, W] from 0 to 1, where it is cut.
    """
    row, column = (np.arange(n) / size for n in shape)
    i, j = row.astype(int), column.astype(int)
    v, u = (row - i)[:, None], (column - j)[None]
    phase = rng.uniform(0, 2 * np.pi, (2, i[-1] + 3, j[-1] + 3))
    y, x = (jitter * np.sin(phase)) % 1
    distance = np.ones(shape)
    for di in (-1, 0, 1):
        for dj in (-1, 0, 1):
            cell = np.ix_(i + di + 1, j + dj + 1)
            np.minimum(distance, np.hypot(y[cell] + di - v, x[cell] + dj - u), out=distance)
    return distance


def plasma(shape: tuple[int, int], scale: float, rng: np.random.Generator) -> np.ndarray:
    """Coloured clouds: the plane folded four to six times by sines of growing frequency, then sines of where it went.

    Args:
        shape: (H, W).
        scale: pixels a radian of the first fold.
        rng: draws the time in [0, 6π], the number of folds and their sharpness in [0.5, 1].

    Returns:
        float64 [H, W, 3] in [−1, 1].
    """
    time, folds, sharpness = rng.uniform(0, 6 * np.pi), int(rng.integers(4, 7)), rng.uniform(0.5, 1)
    x, y = np.broadcast_arrays(np.arange(shape[1])[None] / scale, np.arange(shape[0])[:, None] / scale)
    for fold in range(folds):
        frequency, lag, weight = 1.93**fold, time / 1.15**fold, (2.25 - sharpness) ** -fold
        across, along = weight * np.cos(y * frequency + lag), weight * np.sin(x * frequency + lag)
        x, y = x + across - 0.3 * along, y + along + 0.3 * across
    return np.stack([np.sin(x - time), np.sin((x + y + np.sin(time)) / 2), np.sin(y + time)], axis=-1)


def caustics(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light at the bottom of a pool: the sum of five inverse gradients of warped sines, raised to a power that leaves filaments.

    Args:
        image: [H, W, …]; a tile is 0.75 to 1.25 of its side.
        rng: draws the time in [0.5, 2] and the tile's size.

    Returns:
        float64 [H, W] in [0, 1].
    """
    time, size = rng.uniform(0.5, 2), rng.uniform(0.75, 1.25) * side(image)
    # A phase near −250 radians makes the two coordinates nearly equal weights of the gradient.
    p, q = np.broadcast_arrays(*(2 * np.pi * (axis / size % 1) - 250 for axis in np.ogrid[: image.shape[0], : image.shape[1]]))
    a, b = p, q
    brightness = np.ones(image.shape[:2])
    for n in range(1, 6):
        t = time * (1 - 3.5 / n)
        a, b = p + np.cos(t - a) + np.sin(t + b), q + np.sin(t - b) + np.cos(t + a)
        s, c = np.sin(a + t), np.cos(b + t)
        brightness += np.abs(s * c) / (0.005 * np.hypot(p * c, q * s))
    return np.clip(np.abs(1.17 - (brightness / 5) ** 1.4) ** 8, 0, 1)
