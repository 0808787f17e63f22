import numpy as np
import pytest

from code_jax.pictures.contact_sheet import contact_sheet, contact_sheets

TOP, LEFT = 8 + 18 + 18, 8  # of the first picture: a gap, the columns' names and the row's


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


@pytest.mark.parametrize("shape", [(30, 90), (90, 30), (200, 161)])
def test_a_small_picture_is_enlarged_by_the_least_whole_factor_that_is_enough_at_its_own_proportions(shape):
    picture, factor = noise(*shape), -(-160 // max(shape))
    sheet = np.asarray(contact_sheet(["input"], [("a", [picture], [""])]))
    enlarged = picture.repeat(factor, 0).repeat(factor, 1)
    np.testing.assert_array_equal(sheet[TOP : TOP + shape[0] * factor, LEFT : LEFT + shape[1] * factor], enlarged)


def test_a_large_picture_is_shrunk_and_the_most_changed_place_shown_pixel_by_pixel():
    before = np.full((480, 960, 3), 128, np.uint8)
    after = before.copy()
    after[300:340, 700:760] = noise(40, 60)
    sheet = np.asarray(contact_sheet(["input", "result"], [("a", [before, after], ["", ""])]))
    height, width = 160, 320
    top, left = TOP + height + 18, LEFT + width + 8  # below the picture and its caption, in the second column
    crop = sheet[top : top + 192, left : left + 192]
    found = [
        np.array_equal(crop, after[y : y + 192, x : x + 192]) for y in range(148, 301) for x in range(568, 701) if y + 192 <= 480
    ]
    assert any(found)  # one of the squares that hold all of it
    ys, xs = np.nonzero(np.all(sheet[TOP : TOP + height, LEFT : LEFT + width] == (255, 0, 0), axis=2))
    assert ys.min() <= 100 and ys.max() >= 113 and xs.min() <= 234 and xs.max() >= 253  # the frame in the first column


def test_rows_of_several_proportions_stand_in_one_sheet_and_what_is_missing_stays_white():
    lines = [("wide", [noise(20, 80), None], ["", ""]), ("high", [noise(80, 20, seed=1), noise(80, 20, seed=2)], ["", ""])]
    sheet = np.asarray(contact_sheet(["input", "result"], lines))
    assert np.all(sheet[TOP : TOP + 40, LEFT + 168 : LEFT + 328] == 255)
    top = TOP + 40 + 18 + 8 + 18
    np.testing.assert_array_equal(
        sheet[top : top + 160, LEFT + 168 : LEFT + 208], noise(80, 20, seed=2).repeat(2, 0).repeat(2, 1)
    )


def test_every_row_is_on_one_of_the_pages_and_few_are_held_at_a_time():
    taken = []

    def lines():
        for k in range(130):
            taken.append(k)
            yield f"{k}", [np.full((160, 160, 3), k, np.uint8)], [""]

    levels = []
    for number, page in enumerate(contact_sheets(["input"], lines(), "the settings"), 1):
        assert len(taken) <= 60 * number + 1
        bands = np.asarray(page)[:, LEFT + 80 :: 160 + 2 * LEFT, 0].T
        assert len(bands) > 1 and page.height < 1600 + 204 and page.width < 1600  # 204: a row
        levels += [k for column in bands for k in range(130) if np.sum(column == k) >= 160]
    assert levels == list(range(130)) and number == 3
