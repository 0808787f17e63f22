"""Warps and blurs of ImageNet-C-bar (Mintun, Kirillov & Xie 2021): lenses, water, projections, split colours, blurs.

Every corruption takes (image float64 [H, W, 3] in [0, 1], severity 1 to 5, rng) and returns the same shape, perhaps out of range.
Severity s is the published level s of 10; lengths are fractions of `textures.side`, the square root of the area. A warp says
where each pixel is fetched from, in rows and columns; what lies outside the picture is black.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from code_jax.corruptions.family import family
from code_jax.corruptions.textures import caustics, side


def ripple(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Rows and columns each displaced by a sine of themselves: amplitude s/400 of the side, wavelength 0.1 to 0.3 of it."""
    length = side(image)
    y, x = (
        axis + severity / 400 * length * np.sin(2 * np.pi * axis / (rng.uniform(0.1, 0.3) * length) + rng.uniform(0, 2 * np.pi))
        for axis in _grid(image)
    )
    return _fetch(image, y, x)


def water_drop(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Circular waves to half a side from a point: displaced outward by s/40·λ·sin(2πr/λ − φ), λ 0.05 to 0.2 sides."""
    length = side(image)
    centre = rng.uniform(0.25, 0.75, 2) * image.shape[:2]
    wavelength, phase = rng.uniform(0.05, 0.2) * length, rng.uniform(0, 2 * np.pi)
    dy, dx, radius = _about(image, centre)
    wave = severity / 40 * wavelength * np.sin(2 * np.pi * radius / wavelength - phase)
    outward = np.where(radius <= length / 2, wave / np.maximum(radius, 1e-9), 0)
    return _fetch(image, centre[0] + dy * (1 + outward), centre[1] + dx * (1 + outward))


def pinch_and_twirl(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Cells of about a fifth of a side, each twisted by ±s·9 degrees at its centre, in which 0.1 + s/25 pinches the middle."""
    cells = [max(1, round(5 * n / side(image))) for n in image.shape[:2]]
    size = [n / count for n, count in zip(image.shape, cells, strict=False)]
    angle = rng.choice([-1, 1], cells) * severity * np.pi / 20
    row, column = _grid(image)
    i, j = (row / size[0]).astype(int), (column / size[1]).astype(int)
    centre = (i + 0.5) * size[0], (j + 0.5) * size[1]
    y, x = pinch(row - centre[0], column - centre[1], min(size) / 2, 0.1 + 0.04 * severity, angle[i, j])
    return _fetch(image, centre[0] + y, centre[1] + x, outside="nearest")


def pinch(
    dy: np.ndarray, dx: np.ndarray, radius: float, amount: float, angle: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """Where (dy, dx) from a centre is fetched from: outward by sin(πd/2)^−amount, turned by angle·(1 − d)², d = r/radius.

    The centre and everything at the radius or beyond stay.

    Example:
        >>> y, x = pinch(np.array([0.0, 8.0]), np.array([0.0, 0.0]), 8, 0.3, 1.0)
        >>> y.tolist(), x.tolist()
        ([0.0, 8.0], [0.0, 0.0])
    """
    d = np.minimum(np.hypot(dy, dx) / radius, 1)
    stretch = np.sin(np.pi / 2 * np.where(d > 0, d, 1)) ** -amount
    turn = angle * (1 - d) ** 2
    return stretch * (dy * np.cos(turn) - dx * np.sin(turn)), stretch * (dy * np.sin(turn) + dx * np.cos(turn))


def fish_eye(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Half-balls of glass of a twentieth of a side, refractive index 1 + s/5, in number to cover the picture five times."""
    height, width = image.shape[:2]
    radius = max(0.05 * side(image), 3.0)
    out = image.copy()
    for _ in range(round(0.01 * 256**2 * 0.05**2 * height * width / radius**2)):
        centre = rng.uniform(0, 1, 2) * (height, width)
        top, left = np.maximum(np.floor(centre - radius), 0).astype(int)
        bottom, right = np.minimum(np.ceil(centre + radius), (height, width)).astype(int)
        patch = out[top:bottom, left:right]
        dy, dx, _ = _about(patch, centre - (top, left))
        y, x = lens(dy, dx, radius, 1 + severity / 5)
        # What a ray meets lies nearer to the centre than the pixel, so that the patch is all that is needed.
        out[top:bottom, left:right] = _fetch(patch, centre[0] - top + y, centre[1] - left + x, outside="nearest")
    return out


def lens(dy: np.ndarray, dx: np.ndarray, radius: float, index: float) -> tuple[np.ndarray, np.ndarray]:
    """Where the ray that enters a half-ball at (dy, dx) from its centre meets the picture, by Snell's law along each axis.

    A ray at d meets glass z = √(radius² − r²) thick at the angle θ, tan θ = d/z, and comes out tan(θ − asin(sin θ/index))·z
    nearer to the centre. The centre and everything at the radius or beyond stay.
    """
    z = np.sqrt(np.maximum(radius**2 - dy**2 - dx**2, 0))

    def bent(d: np.ndarray) -> np.ndarray:
        theta = np.arctan2(d, z)
        return d - np.where(z > 0, np.tan(theta - np.arcsin(np.sin(theta) / index)), 0) * z

    return bent(dy), bent(dx)


def caustic_refraction(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """The picture through a surface as high as the light at the bottom of a pool, refractive index 4, lit by its slope.

    A slope of angle A displaces along the gradient by s/20 sides times sin(A − asin(sin A/4)).
    """
    length = side(image)
    pixel = length / 256  # what one pixel was of the published size
    height = ndimage.gaussian_filter(caustics(image, rng), pixel)
    gy, gx = (2 * pixel * slope for slope in np.gradient(height))
    steepness = np.hypot(gy, gx)
    angle = np.arctan(steepness)
    shift = severity / 20 * length * np.sin(angle - np.arcsin(np.sin(angle) / 4)) / np.maximum(steepness, 1e-12)
    row, column = _grid(image)
    return _fetch(image, row + shift * gy, column + shift * gx) + severity / 5 * (gy - gx)[..., None]


def perspective_no_bars(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """The plane seen aslant: scale 2^±0.015s, shear and shift ±s/100, vanishing s/50 a width; unmoved where it ends."""
    height, width = image.shape[:2]
    scale_x, scale_y, shear_x, shear_y, shift_x, shift_y = rng.choice([-1, 1], 6) * severity
    y, x = (axis + 0.5 for axis in _grid(image))
    w = 1 + severity / 50 * (x / width + y / height)
    return _fetch_inside(
        image,
        (shear_y / 100 * x + 2 ** (0.015 * scale_y) * y + shift_y / 100 * height) / w,
        (2 ** (0.015 * scale_x) * x + shear_x / 100 * y + shift_x / 100 * width) / w,
    )


def quadrilateral_no_bars(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Bilinear between four corners displaced by up to s/30 of the picture each; the picture itself where that leaves it."""
    height, width = image.shape[:2]
    v, u = ((axis + 0.5) / n for axis, n in zip(_grid(image), (height, width), strict=True))
    corner = np.mgrid[0:2, 0:2] + rng.uniform(-1, 1, (2, 2, 2)) * severity / 30
    y, x = ((1 - v) * ((1 - u) * c[0, 0] + u * c[0, 1]) + v * ((1 - u) * c[1, 0] + u * c[1, 1]) for c in corner)
    return _fetch_inside(image, y * height, x * width)


def chromatic_aberration(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Each channel shifted by s/100 of the side in a direction of its own."""
    row, column = _grid(image)
    distance = severity / 100 * side(image)
    return np.concatenate(
        [
            _fetch(image[..., c : c + 1], row - distance * np.sin(angle), column - distance * np.cos(angle))
            for c, angle in enumerate(rng.uniform(0, 2 * np.pi, 3))
        ],
        axis=-1,
    )


def transverse_chromatic_aberration(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """The channels, in random order, magnified by 1, 1 + s/40 and 1 + s/20 about the centre."""
    centre = (np.array(image.shape[:2]) - 1) / 2
    dy, dx, _ = _about(image, centre)
    return np.concatenate(
        [
            _fetch(image[..., c : c + 1], centre[0] + dy / scale, centre[1] + dx / scale)
            for c, scale in enumerate(1 + rng.permutation(3) * severity / 40)
        ],
        axis=-1,
    )


def circular_motion_blur(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """The mean of the picture turned by t·1.5·s degrees about its centre, t in [−1, 1] with weight exp(−2t²)."""
    centre = (np.array(image.shape[:2]) - 1) / 2
    dy, dx, _ = _about(image, centre)
    # As many turns that the outermost pixel moves as far between two as it does among the published 21 at 256 pixels.
    t = np.linspace(-1, 1, 2 * max(10, round(10 * side(image) / 256)) + 1)
    weights = np.exp(-2 * t**2)
    out = np.zeros_like(image)
    for angle, weight in zip(np.radians(1.5 * severity) * t, weights / weights.sum(), strict=True):
        sin, cos = np.sin(angle), np.cos(angle)
        out += weight * _fetch(image, centre[0] + dy * cos + dx * sin, centre[1] + dx * cos - dy * sin)
    return out


def scatter(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Every pixel fetched from a random place within s/100 of the side in each direction, kept inside the picture."""
    offset = rng.uniform(-1, 1, (2, *image.shape[:2])) * severity / 100 * side(image)
    y, x = (np.clip(axis + o, 0, n - 1) for axis, o, n in zip(_grid(image), offset, image.shape, strict=False))
    return _fetch(image, y, x)


def _grid(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.ogrid[: image.shape[0], : image.shape[1]]
    return y.astype(float), x.astype(float)


def _about(image: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every pixel's rows and columns from the centre, and its distance."""
    row, column = _grid(image)
    dy, dx = row - centre[0], column - centre[1]
    return dy, dx, np.hypot(dy, dx)


def _fetch(image: np.ndarray, y: np.ndarray, x: np.ndarray, outside: str = "grid-constant") -> np.ndarray:
    """Bilinear interpolation of every channel at rows y and columns x, which are broadcast."""
    where = np.broadcast_arrays(y, x)
    return np.stack(
        [ndimage.map_coordinates(image[..., c], where, order=1, mode=outside) for c in range(image.shape[2])], axis=-1
    )


def _fetch_inside(image: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The image at (y, x), in units in which pixel 0 reaches from 0 to 1, and the image unmoved where that is outside it."""
    inside = (y >= 0) & (y < image.shape[0]) & (x >= 0) & (x < image.shape[1])
    return np.where(inside[..., None], _fetch(image, y - 0.5, x - 0.5, outside="nearest"), image)


FAMILY = family(
    caustic_refraction,
    chromatic_aberration,
    circular_motion_blur,
    fish_eye,
    perspective_no_bars,
    pinch_and_twirl,
    quadrilateral_no_bars,
    ripple,
    scatter,
    transverse_chromatic_aberration,
    water_drop,
)
