"""Where a training's pictures come from, and how they are cut."""

import itertools
import os
import re
import zipfile

import numpy as np
import pytest
from PIL import Image

import code_jax
from code_jax.pictures.fitting import resized
from code_jax.training.sources import Dataset, Kept, Source, parse_source

SHAPE = (8, 8, 3)


@pytest.fixture
def photos(tmp_path):
    """Twelve pictures of 40×24 whose every pixel tells its column, row and picture."""
    for i in range(12):
        y, x = np.mgrid[:24, :40]
        Image.fromarray(np.stack([6 * x, 10 * y, np.full_like(x, 20 * i)], axis=-1).astype(np.uint8)).save(tmp_path / f"{i}.png")
    return str(tmp_path)


def drawn(source, count=40, seed=0, **options):
    (pictures,) = itertools.islice(Dataset([source], SHAPE, 0, **options).batches(seed, count), 1)
    return pictures


def test_patches_are_windows_of_the_pictures_at_every_scale(photos):
    found = set()
    for patch in drawn(Source(photos, scales=((1, 0.5), (2, 0.5)))).astype(int):
        step = patch[0, 1, 0] - patch[0, 0, 0]
        scale = 1 if step <= 8 else 2
        picture = np.asarray(Image.open(f"{photos}/{round(patch[0, 0, 2] / 20)}.png"))
        windows = np.lib.stride_tricks.sliding_window_view(resized(picture, (24 // scale, 40 // scale)), SHAPE)[:, :, 0]
        assert (windows == patch).all((2, 3, 4)).any()
        found.add(scale)
    assert found == {1, 2}


def test_scales_have_their_shares(photos):
    steps = [patch[0, 4, 0].astype(int) - patch[0, 3, 0] for patch in drawn(Source(photos, scales=((1, 0.8), (2, 0.2))), 400)]
    assert np.mean(np.array(steps) <= 8) == pytest.approx(0.8, abs=4.5 * (0.16 / 400) ** 0.5)


def test_a_picture_smaller_than_a_patch_is_enlarged(tmp_path):
    for i in range(2):
        Image.new("RGB", (5, 30), (90, 60, 30)).save(tmp_path / f"{i}.png")
    assert np.all(drawn(Source(str(tmp_path), scales=((4, 1.0),))) == [90, 60, 30])


def test_whole_pictures_keep_to_their_margin(photos):
    """The largest centred square, resized to 8 + 3, is cropped at each of 4×4 places."""
    places = set()
    for crop in drawn(Source(photos, margin=3), 400).astype(int):
        whole = resized(np.asarray(Image.open(f"{photos}/{round(crop[0, 0, 2] / 20)}.png"))[:, 8:32], (11, 11))
        windows = np.lib.stride_tricks.sliding_window_view(whole, SHAPE)[:, :, 0]
        places |= set(zip(*np.nonzero((windows == crop).all((2, 3, 4))), strict=True))
    assert places == set(itertools.product(range(4), range(4)))


def test_batches_do_not_depend_on_what_is_kept_in_memory_nor_on_where_they_start(photos):
    source = Source(photos, scales=((1, 0.5), (2, 0.5)))
    few = 24 * 40 * 3 + 100  # bytes: one picture at full size
    everything, some, nothing = (Dataset([source], SHAPE, 3, memory=memory) for memory in (1 << 30, few, 0))
    straight = list(itertools.islice(everything.batches(5, 4), 6))
    for other in (some, nothing):
        np.testing.assert_array_equal(straight, list(itertools.islice(other.batches(5, 4), 6)))
    np.testing.assert_array_equal(straight[4:], list(itertools.islice(some.batches(5, 4, start=4), 2)))
    assert everything.describe() == nothing.describe()


def test_what_is_kept_is_bounded():
    kept, made = Kept(100), []

    def make(k):
        made.append(k)
        return np.full(40, k, np.uint8)

    for k in (0, 1, 2, 0, 1, 2):
        assert np.all(kept.get(k, lambda k=k: make(k)) == k)
    assert made == [0, 1, 2, 2]  # two fit


def test_held_out_pictures_are_never_trained_on(photos):
    data = Dataset([Source(photos), Source(photos, share=3)], SHAPE, 2)
    sides = [
        {round(value / 20) for pictures in itertools.islice(data.batches(0, 8, held=held), 20) for value in pictures[:, 0, 0, 2]}
        for held in (False, True)
    ]
    assert not sides[0] & sides[1] and len(sides[0]) == 10 and len(sides[1]) == 2


def test_a_file_that_vanishes_is_named(photos):
    data = Dataset([Source(photos)], SHAPE, 0, memory=0)
    for i in range(12):
        os.unlink(f"{photos}/{i}.png")
    with pytest.raises(code_jax.UserError, match=r"\.png of .* cannot be read any more"):
        next(data.batches(0, 1))


def test_sources_are_read_as_they_are_written():
    assert parse_source("a.zip") == Source("a.zip")
    assert parse_source("a:b.zip:0.5") == Source("a:b.zip", 0.5)
    assert parse_source("C:/a.zip:margin=6") == Source("C:/a.zip", margin=6)
    assert parse_source("a:2:patches=1,2*0.5") == Source("a", 2.0, scales=((1.0, 1.0), (2.0, 0.5)))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a:0", "the share of a is 0"),
        ("a:1:margin=9999", "margin of a is 9999"),
        ("a:patches=0.5", "a scale of a is 0.5"),
        ("a:patches=2*0", "the share of a scale of a is 0"),
        ("a:patches=1,,2", "numbers cannot be read"),
        ("a:1.2.3", "numbers cannot be read"),
        ("a:patches=1*2*3", "numbers cannot be read"),
        ("", "no source ''"),
    ],
)
def test_a_source_that_is_none_is_refused_by_name(text, named):
    with pytest.raises(code_jax.UserError, match=re.escape(named)):
        parse_source(text)


def test_an_archive_gives_what_its_folder_gives(photos, tmp_path_factory):
    path = tmp_path_factory.mktemp("zip") / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(os.listdir(photos)):
            archive.write(f"{photos}/{name}", name)
    of_folder = drawn(Source(photos, scales=((1, 1.0),)))
    np.testing.assert_array_equal(of_folder, drawn(Source(str(path), scales=((1, 1.0),)), memory=0))
