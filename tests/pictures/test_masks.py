"""A mask means what its file shows, by colour or by transparency, or is refused; it never means nothing."""

import io

import numpy as np
import pytest
from PIL import Image

from code_jax.pictures.files import read_mask
from code_jax.pictures.loading import PictureError

HALF = np.repeat(np.uint8([0, 1]), [5, 5])[None].repeat(8, 0)  # [8, 10]
SHAPE = (8, 10, 3)


def mask_of(picture, shape=SHAPE, fit="resize", kind="PNG"):
    file = io.BytesIO()
    picture.save(file, kind)
    return read_mask(file, shape, fit)


def clear(colours, alpha):
    picture = Image.fromarray(colours).convert("RGB")
    picture.putalpha(Image.fromarray(alpha))
    return picture


BLACK, WHITE = np.zeros_like(HALF), np.full_like(HALF, 255)


@pytest.mark.parametrize(
    "picture",
    [
        Image.fromarray(HALF * 255),
        Image.fromarray(HALF),  # 0 and 1 in 8 bits
        Image.fromarray(HALF * 255).convert("1"),
        Image.fromarray(HALF.astype(np.uint16)),
        Image.fromarray(HALF.astype(np.uint16) * 65535),
        Image.fromarray(HALF.astype(np.uint16) * 255),
        Image.fromarray(HALF * 100),
        Image.fromarray(np.stack([HALF * 255, BLACK, BLACK], axis=2)),
        clear(BLACK, HALF * 255),  # painted black on nothing
        clear(WHITE, HALF * 255),
        clear(HALF * 255, HALF * 255),  # white strokes on nothing
        clear(HALF * 255, WHITE),
        clear(HALF * 255, HALF * 100 + 155),
    ],
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_mask_is_read_as_it_is_meant(picture, channels):
    np.testing.assert_array_equal(mask_of(picture, (8, 10, channels)), HALF == 1)


def test_floats_take_their_own_range():
    np.testing.assert_array_equal(mask_of(Image.fromarray(HALF.astype(np.float32)), kind="TIFF"), HALF == 1)


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (Image.fromarray(BLACK), "black and marks nothing"),
        (Image.fromarray(BLACK + 1), "values, 1 to 1, are all below 128"),
        (Image.fromarray(HALF * 40 + 20), "values, 20 to 60, are all below 128"),
        (clear(BLACK, BLACK), "black and marks nothing"),
        (clear(WHITE - HALF * 255, HALF * 255), "its colours mark what its transparency hides"),
    ],
)
def test_a_mask_that_marks_nothing_is_refused_with_the_reason(picture, reason):
    with pytest.raises(PictureError, match=reason):
        mask_of(picture)


def test_all_white_is_everywhere_and_a_mark_that_vanishes_is_named():
    assert mask_of(Image.fromarray(WHITE)).all()
    point = np.zeros((800, 1000), np.uint8)
    point[300, 300] = 255
    with pytest.raises(PictureError, match="vanishes at the prior's size, 10x8"):
        mask_of(Image.fromarray(point))
