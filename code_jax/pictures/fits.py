"""How a picture meets a prior of one size, by name."""

from __future__ import annotations

FITS = {
    "auto": "its own size, where the prior knows patches and it is larger; else resize",
    "resize": "the prior's size, whatever its proportions",
    "crop": "the largest centre of the prior's proportions, resized",
    "tile": "its own size, in overlapping windows",
    "pyramid": "its own size, coarse to fine",
}
OWN_SIZE = ("tile", "pyramid")  # a picture is restored at its own size


def chosen_fit(fit: str, shape: tuple[int, ...], image_shape: tuple[int, ...], larger: str) -> str:
    """What a fit is for a picture [H, W, ...]: "auto" is `larger` where a side is larger than the prior's, and else "resize".

    Example:
        >>> [chosen_fit("auto", (64, width, 3), (64, 64, 3), "pyramid") for width in (64, 96)]
        ['resize', 'pyramid']
    """
    if fit != "auto":
        return fit
    return larger if any(own > least for own, least in zip(shape[:2], image_shape[:2], strict=True)) else "resize"


def size_within(size: tuple[int, ...], most: int | None) -> tuple[int, int]:
    """(H, W), in its proportions, of which no side has more than so many pixels; None is as it is.

    Example:
        >>> size_within((300, 40), 100), size_within((300, 40), None)
        ((100, 13), (300, 40))
    """
    scale = 1 if most is None else min(most / max(size), 1)
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)
