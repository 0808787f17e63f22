"""Shapes of arrays in signatures, by jaxtyping: a dimension's name stands for one size wherever a signature has it.

A program does not check them; the tests do, at every call (`tests/conftest.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Key, Real

AnyArray = Array | np.ndarray  # what is checked and converted where it comes in

Images = Float[Array, "batch height width channels"]
GivenImages = Float[AnyArray, "batch height width channels"]
GivenLatents = Float[AnyArray, "batch rows columns features"]
GivenImage = Float[AnyArray, "height width channels"]
GivenMask = Bool[AnyArray, "*images height width"] | Float[AnyArray, "*images height width"]
GivenFeatures = Float[AnyArray, "batch features"] | Sequence[Sequence[float]]
Latents = Float[Array, "batch rows columns features"]  # what z is of, where a codec stands between
Level = Float[Array, ""] | Float[Array, "#batch 1 1 1"]  # σ of all images, or of each
PerImage = Float[Array, " batch"]
Scalar = Float[Array, ""]
KeyPerImage = Key[Array, " batch"]
Keys = Key[Array, ""] | KeyPerImage
Numbers = Real[ArrayLike, "*batch"]  # one, or one an image; Python's among them
Values = Real[ArrayLike, "*shape"]
