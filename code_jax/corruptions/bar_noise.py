"""Noise and cover of ImageNet-C-bar (Mintun, Kirillov & Xie 2021): filtered noise, waves, lights, cells, lines.

Every corruption takes (image float64 [H, W, 3] in [0, 1], severity 1 to 5, rng) and returns the same shape, perhaps out of range.
Severity s is the published level s of 10; lengths are fractions of `textures.side`, the square root of the area.
"""

from __future__ import annotations

import numpy as np

from code_jax.corruptions.family import family
from code_jax.corruptions.textures import caustics, cell_distance, filtered_noise, plasma, side, turbulence

GREY = 128 / 255  # of what covers


def blue_noise(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of amplitude ∝ |k| in each channel, standard deviation s·19.6/255."""
    return image + severity * 19.6 / 255 * _coloured(image, 1, 0, rng)


def brownish_noise(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of amplitude ∝ 1/(|k|² + 1) in each channel, k in cycles a side; standard deviation s·6.4/255 about a random mean."""
    return image + severity * 6.4 / 255 * _coloured(image, -2, 1, rng)


def blue_noise_sample(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Black pixels where blue noise is under 0.3·s − 2.5 of its standard deviation: 1.4 % at severity 1, 16 % at 5."""
    return image * (filtered_noise(image.shape[:2], 1, 0, rng) > 0.3 * severity - 2.5)[..., None]


def single_frequency_greyscale(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """One sine of amplitude s·19.6/255; its larger frequency is uniform up to ±π a pixel, the other up to the larger."""
    larger = rng.uniform(-np.pi, np.pi)
    fy, fx = rng.permutation([larger, rng.uniform(-abs(larger), abs(larger))])
    y, x = _grid(image)
    return image + severity * 19.6 / 255 * np.sin(x * fx + y * fy + rng.uniform(0, 2 * np.pi))[..., None]


def concentric_sine_waves(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Rings about a random point, a saw-tooth of the radius of height s·12.8/255, their edge a sine of the angle."""
    height, width = image.shape[:2]
    y, x = _grid(image)
    dy, dx = y - rng.uniform(0, height), x - rng.uniform(0, width)
    waves, amplitude = rng.uniform(0, 10), rng.uniform(0, 0.1) * side(image)
    ring = rng.uniform(2 / 256, 0.1) * side(image)
    radius = np.hypot(dx, dy) + amplitude * np.sin(waves * np.arctan2(dx, dy))
    return image + severity * 12.8 / 255 * (radius / ring % 1 - 0.5)[..., None]


def plasma_noise(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """s·6.4/255 of coloured clouds in [−1, 1] in exchange for as much of the picture."""
    share = severity * 6.4 / 255
    return (1 - share) * image + share * plasma(image.shape[:2], rng.uniform(0.075, 0.2) * side(image), rng)


def perlin_noise(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """s/20 of Perlin's turbulence, ½ + ½·turbulence of a seventh of the side, in exchange for as much of the picture."""
    noise = np.clip(0.5 + 0.5 * turbulence(image.shape[:2], side(image) / 7, rng), 0, 1)
    return image + severity / 20 * (noise[..., None] - image)


def voronoi_noise(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """±s/10 of a smooth step of the distance to the nearest point of a jittered lattice, less ½."""
    density, size = rng.uniform(0.5, 0.9), rng.uniform(0.05, 0.2) * side(image)
    sign = rng.choice([-1, 1])
    d = density * cell_distance(image.shape[:2], size, rng.uniform(0, 0.75), rng)
    return image + sign * severity / 10 * (d * d * (3 - 2 * d) - 0.5)[..., None]


def caustic_noise(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """s/10 of the light at the bottom of a pool."""
    return image + severity / 10 * caustics(image, rng)[..., None]


def sparkles(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Five white stars of s/100 of the side, their light falling with the square of the distance."""
    for _ in range(5):
        centre = rng.uniform(0, 1, 2) * image.shape[:2]
        light = _rays(image, centre, severity / 100 * side(image), 1.0, rng)
        image = image + light * (1 - image)
    return image


def inverse_sparkles(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """White rays about a clear centre of a quarter of the side; the picture fades with the distance to the power −0.26·s."""
    centre = rng.uniform(0.25, 0.75, 2) * image.shape[:2]
    clear = _rays(image, centre, 0.25 * side(image), 0.13 * severity, rng)
    return 1 - clear * (1 - image)


def checkerboard_cutout(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """s/10 of the dark squares of a turned chessboard in grey; a square is 0.1 to 0.25 of the side."""
    angle, size = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.25) * side(image)
    y, x = _grid(image)
    u = np.floor((np.cos(angle) * y + np.sin(angle) * x) / size).astype(int)
    v = np.floor((np.cos(angle) * x - np.sin(angle) * y) / size).astype(int)
    u, v = u - u.min(), v - v.min()
    covered = rng.uniform(size=(u.max() + 1, v.max() + 1)) < severity / 10
    return np.where(((u + v) % 2 == 0)[..., None] & covered[u, v][..., None], GREY, image)


def lines(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """s/10 grey lines a pixel of the side, each a pixel wide and twice the side long, about a common angle."""
    length = side(image)
    angle, spread = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 1)
    out = image.copy()
    for _ in range(round(severity / 10 * length)):
        centre = rng.uniform(0, 1, 2) * image.shape[:2]
        turned = angle + 2 * np.pi * spread * rng.uniform(-0.5, 0.5)
        draw_line(out, centre, length * np.array([np.sin(turned), np.cos(turned)]))
    return out


def draw_line(image: np.ndarray, centre: np.ndarray, half: np.ndarray) -> None:
    """Blends the grey line from centre − half to centre + half (row, column) into `image`, in place.

    A pixel is covered by max(0, 1 − its distance to the line). Where the line is steep, rows and columns change roles.
    """
    if abs(half[0]) > abs(half[1]):
        image, centre, half = image.swapaxes(0, 1), centre[::-1], half[::-1]
    height, width = image.shape[:2]
    reach = abs(half[1])
    column = np.arange(max(0, np.ceil(centre[1] - reach)), min(width - 1, np.floor(centre[1] + reach)) + 1).astype(int)
    row = centre[0] + half[0] / half[1] * (column - centre[1])
    for offset in (-1, 0, 1, 2):
        near = np.floor(row).astype(int) + offset
        inside = (near >= 0) & (near < height)
        cover = np.maximum(0, 1 - np.abs(near - row) * reach / np.hypot(*half))[inside, None]
        at = near[inside], column[inside]
        image[at] += cover * (GREY - image[at])


def _coloured(image: np.ndarray, exponent: float, offset: float, rng: np.random.Generator) -> np.ndarray:
    return np.stack([filtered_noise(image.shape[:2], exponent, offset, rng) for _ in range(3)], axis=-1)


def _grid(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.ogrid[: image.shape[0], : image.shape[1]]
    return y.astype(float), x.astype(float)


def _rays(image: np.ndarray, centre: np.ndarray, radius: float, power: float, rng: np.random.Generator) -> np.ndarray:
    """Weights [H, W, 1] in [0, 1], (length/distance)^(2·power) of 50 to 199 rays, lengths `radius` ± a quarter."""
    count = int(rng.integers(50, 200))
    length = radius * (1 + 0.25 * rng.standard_normal(count))
    y, x = _grid(image)
    dy, dx = y - centre[0], x - centre[1]
    ray = (np.arctan2(dx, dy) / (2 * np.pi) + 0.5) * count
    i = ray.astype(int)
    f = ray - i
    reach = length[i % count] * (1 - f) + length[(i + 1) % count] * f
    weight = (1 - (f - 0.5) ** 2) * (reach**2 / (dy**2 + dx**2 + 1e-4)) ** power
    return np.clip(weight, 0, 1)[..., None]


FAMILY = family(
    blue_noise,
    blue_noise_sample,
    brownish_noise,
    caustic_noise,
    checkerboard_cutout,
    concentric_sine_waves,
    inverse_sparkles,
    lines,
    perlin_noise,
    plasma_noise,
    single_frequency_greyscale,
    sparkles,
    voronoi_noise,
)
