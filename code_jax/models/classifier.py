"""A small residual classifier of tiles, whose penultimate features measure how alike two sets of pictures are."""

from __future__ import annotations

import flax.linen as nn
import jax


class TileClassifier(nn.Module):
    """Residual network (He et al. 2016) with GroupNorm: a strided convolution and a residual block a level, then the mean.

    Attributes:
        channels: of each level; the last is the number of features.
        classes: number of classes.
    """

    channels: tuple[int, ...] = (16, 32, 64)
    classes: int = 10

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Logits [B, classes] and features [B, channels[-1]] of images [B, H, W, 3] in [−1, 1]."""
        for width in self.channels:
            x = nn.Conv(width, (3, 3), strides=2)(x)
            h = x
            for _ in range(2):
                h = nn.Conv(width, (3, 3))(nn.silu(nn.GroupNorm(8)(h)))
            x = x + h
        features = nn.silu(nn.GroupNorm(8)(x)).mean((1, 2))
        return nn.Dense(self.classes)(features), features
