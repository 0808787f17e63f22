"""Which setting, which pictures, and how sure: against values worked out by hand or another way."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import code_jax
from code_jax.corruptions.registry import ALL_NAMES, FAMILIES, NAMES
from code_jax.editing import methods
from code_jax.editing.methods.official import QUIRKS, plan_of
from code_jax.evaluation.columns import COLUMNS
from code_jax.evaluation.entry import entry_of, names, restored
from code_jax.evaluation.measures import clipping, nearest_is_own
from code_jax.evaluation.orders import ORDERS
from code_jax.evaluation.pool import Pool, picked
from code_jax.evaluation.protocol import blind, folds, oracle
from code_jax.evaluation.run import Cell, Plan
from code_jax.evaluation.statistics import floor_said, mean_and_deviation, moments_of, pooled_frechet
from code_jax.evaluation.tables import differences, family_accuracy, results_csv, row_of
from code_jax.metrics import frechet_distance
from tests.oracles import gaussian

PRIOR = gaussian(jnp.zeros((4, 4, 3)), jnp.ones((4, 4, 3)))


def test_the_oracle_takes_each_images_best_and_never_what_is_not_finite():
    scores = np.array([[20.0, 25.0, np.nan, np.nan], [21.0, 25.0, 3.0, np.nan], [np.nan, 24.0, 2.0, np.nan]])
    assert oracle(scores).tolist() == [1, 0, 1, 0]


def test_blind_takes_the_best_mean_over_corruptions_whatever_their_numbers_of_pictures():
    few, many = np.array([[10.0], [20.0]]), np.array([[30.0] * 9, [21.0] * 9])
    assert blind({"a": few, "b": many}) == 1  # means 20 and 20.5; over pictures the first would win with 28
    broken = np.array([[np.nan] + [90.0] * 8, [1.0] * 9])
    assert blind({"a": few, "b": broken}) == 1


def test_the_folds_share_out_every_corruption_once():
    first, second = folds(NAMES)
    assert len(first) == 24 and len(second) == 23 and sorted(first + second) == sorted(NAMES)


def test_what_a_corruption_gets_depends_on_its_own_name_alone():
    pool, chosen = Pool(np.zeros((40, 1, 1, 3), np.uint8), None), list(NAMES)[::3]
    fold_of = {name: name in folds(NAMES)[0] for name in NAMES}
    assert {name: name in folds(chosen)[0] for name in chosen} == {name: fold_of[name] for name in chosen}
    families = [[name for name in of if name in NAMES] for of in FAMILIES.values()]
    assert all(0 < sum(fold_of[name] for name in of) < len(of) for of in families if len(of) > 2)
    found = {name: tuple(picked(pool, name, 3, seed=4)) for name in NAMES}
    assert len(set(found.values())) == len(NAMES) and all(len(set(of)) == 3 for of in found.values())
    assert all(found[name] == tuple(picked(pool, name, 5, seed=4)[:3]) for name in NAMES)
    assert tuple(picked(pool, "fog", 3, seed=5)) != found["fog"]


def test_the_frechet_interval_is_the_bootstraps_by_hand():
    """In one dimension the distance is (m − m')² + (s − s')²."""
    rng = np.random.default_rng(0)
    reference, features = rng.normal(0, 1, (50, 1)), rng.normal(1, 2, (12, 1))
    mean, deviation = reference.mean(), reference.std(ddof=1)
    distance = lambda f: (f.mean() - mean) ** 2 + (f.std(ddof=1) - deviation) ** 2  # noqa: E731
    draws = np.random.default_rng(7)
    again = sorted(distance(features[draws.integers(0, 12, 12)]) for _ in range(41))  # quantiles fall on the 2nd and the 40th
    found = pooled_frechet(np.concatenate([features, [[np.nan]]]), moments_of(reference), 41, seed=7)
    assert found.estimate == pytest.approx(distance(features), rel=1e-9)
    assert found.low == pytest.approx(max(distance(features) + again[1] - np.mean(again), 0), rel=1e-9)
    assert found.high == pytest.approx(distance(features) + again[39] - np.mean(again), rel=1e-9)
    assert math.isnan(pooled_frechet(features, moments_of(reference), 0, seed=7).low)


def test_the_floor_is_told_with_its_counts_or_why_there_is_none():
    assert floor_said(np.zeros((5, 2))) == "0.00 between random halves of the clean pictures, 2 each"
    assert floor_said(np.zeros((3, 2))) == "not measured: 3 clean pictures are no two halves of two at least"


def cell(method, corruption, psnr, accuracy=np.nan, features=None):
    values = {name: np.full(len(psnr), np.nan, np.float32) for name in COLUMNS}
    values |= {"psnr_source": np.array(psnr), "psnr_input": np.full(len(psnr), np.inf)}
    values["accuracy"] = np.broadcast_to(accuracy, len(psnr))
    features = np.random.default_rng(len(psnr)).normal(size=(len(psnr), 2)) if features is None else features
    shown, which = np.zeros((1, 1, 1, 3), np.uint8), np.arange(len(psnr))
    return Cell("blind", method, 5, corruption, values, features, shown, "depth 0.4", 53, 0, 1.5, which)


def test_a_row_is_over_corruptions_and_says_what_is_missing():
    cells = [cell("code", "fog", [10.0, 20.0]), cell("code", "snow", [30.0, np.nan, 34.0])]
    row = row_of(cells, moments_of(np.random.default_rng(0).normal(size=(9, 2))), 0, 0)
    assert row.columns["psnr_source"] == pytest.approx((23.5, 17 / math.sqrt(2)))  # of 15 and 32
    assert (row.pictures, row.broken, row.settings) == (5, 1, ("depth 0.4",))
    assert all(math.isnan(row.columns[name][0]) for name in ("lpips_source", "psnr_input"))
    line = dict(zip(*(text.split(",") for text in results_csv(cells).decode().splitlines()[::2]), strict=True))
    assert (
        line["psnr_source"] == "32" and line["not_finite"] == "1" and line["lpips_source"] == "" and line["psnr_input"] == "inf"
    )
    assert mean_and_deviation([]) == pytest.approx((math.nan, math.nan), nan_ok=True)


def test_clipping_is_judged_by_the_pixels_that_the_corruption_changed():
    clean = np.full((2, 1, 4, 3), 100, np.uint8)
    given = clean.copy()
    given[0, 0, :2, 1] = 102  # two levels in one channel are corrupted, one level is not
    given[0, 0, 2] = 101
    found = np.array([[[[True, False, True, True]]] * 2, [[[False] * 4]] * 2])
    rates = clipping(found, 2, given, clean, "lines")
    assert rates["clipped"].tolist() == [[0.75, 0.75], [0, 0]] and rates["corrupted"].tolist() == [[0.5, 0], [0.5, 0]]
    np.testing.assert_allclose(rates["precision"], [[1 / 3, 0], [np.nan, np.nan]], rtol=1e-6)
    np.testing.assert_allclose(rates["recall"], [[0.5, np.nan], [0, np.nan]])
    whole = clipping(found, 2, given, clean, "fog")
    assert whole["clipped"].tolist() == rates["clipped"].tolist() and np.isnan(whole["precision"]).all()
    assert all(np.isnan(values).all() and values.shape == (3, 2) for values in clipping(None, 3, given, clean, "lines").values())


def test_accuracy_is_by_family_over_pictures():
    cells = [
        cell("code", "fog", [1.0], [1.0]),
        cell("code", "snow", [1.0] * 3, [0.0, 0.0, 1.0]),
        cell("code", "lines", [1.0], 0.0),
    ]
    found = family_accuracy(cells)
    assert found == {"weather": {"code": 0.5}, "bar_noise": {"code": 0.0}, "all": {"code": pytest.approx(0.4)}}


def test_entries_clip_or_not_and_grids_are_theirs_alone():
    values = {
        "sigma": [0.5, 1.0],
        "relative_step": [0.01, 0.02],
        "eta": 1.5,
        "sdedit.sigma": [0.3, 0.4, 0.5],
        "ddim.num_steps": 7,
    }
    entries = {name: entry_of(name, values, PRIOR) for name in ("ddim", "ddim+cbc", "sdedit", "code-cbc", "code")}
    counts = {name: len(of.choices) for name, of in entries.items()}
    assert counts == {"ddim": 2, "ddim+cbc": 2, "sdedit": 3, "code-cbc": 4, "code": 4}
    assert {name for name, of in entries.items() if of.clips} == {"ddim+cbc", "code"}
    assert entries["ddim"].nfe == 15 and entries["code"].nfe == 24
    assert entries["code"].said(3, PRIOR) == "sigma 1.0, relative step 0.02"
    published = {name: entry_of(name, {}, PRIOR) for name in ("official", "official+cbc", "official-silent_last_step")}
    assert [of.nfe for of in published.values()] == [902, 903, 902 - 8] and all(of.costly for of in published.values())


def test_every_quirk_is_left_out_once_where_it_matters():
    left_out = {name.partition("-")[2]: name for name in names() if name.startswith("official-")}
    assert set(QUIRKS) - set(left_out) == {"single_step_idle", "truncated_timesteps", "shallow_alone", "std_schedule"}
    for quirk, name in left_out.items():
        settings = [entry_of(each, {}, PRIOR).choices[0].settings for each in (methods.rows()[name][1].base, name)]
        assert settings[0].without(quirk) == settings[1] and settings[0] != settings[1]
        numbers = ("step_size_law", "noise_twice", "clip_by_index", "input_unscaled", "interpolated_quantile")
        if quirk not in numbers:  # but moves
            of, without = (jax.tree.leaves(plan_of(each)) for each in settings)
            assert any(np.shape(a) != np.shape(b) or np.any(a != b) for a, b in zip(of, without, strict=True)), quirk


@pytest.mark.parametrize("name", ["cod", "official-typo", "official+", ""])
def test_an_unknown_entry_is_named(name):
    with pytest.raises(code_jax.UserError, match="is unknown"):
        entry_of(name, {}, PRIOR)


def test_an_entry_has_several_programs_to_choose_from_and_doing_nothing():
    words = ("num_steps=5:sigma=0.3,0.5", "repeats=2:num_steps=2:sigma=0.4")
    entry = entry_of("sdedit", {"sigma": 0.9}, PRIOR, words, leave=True)
    assert [choice.nfe for choice in entry.choices] == [6, 6, 6, 0] and entry.nfe == 6
    assert [entry.said(k, PRIOR) for k in range(4)] == [
        "sigma 0.3, num steps 5, repeats 1",
        "sigma 0.5, num steps 5, repeats 1",
        "sigma 0.4, num steps 2, repeats 2",
        "left as it is",
    ]
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    shares = []
    found = restored(entry, PRIOR, pixels, 0, 2, shares.append)
    assert found.pictures.shape == (4, 2, 4, 4, 3) and found.nfe.tolist() == [[6, 6]] * 3 + [[0, 0]]
    np.testing.assert_array_equal(found.pictures[3], pixels)
    for k in range(3):  # each as it is alone
        alone = restored(entry.at(entry.choices[k]), PRIOR, pixels, 0, 2, shares.append)
        np.testing.assert_array_equal(alone.pictures[0], found.pictures[k])
    assert shares == sorted(shares[: shares.index(1.0) + 1]) + shares[shares.index(1.0) + 1 :]


def test_what_is_told_the_damage_is_told_each_corruption_and_no_other():
    entry = entry_of("dps", {"num_steps": 3}, PRIOR)
    assert entry.told("linear_mask").choices[0].settings.operator == "linear_mask"
    with pytest.raises(code_jax.UserError, match="operator of dps 'fog' is unknown"):
        entry.told("fog")
    assert entry_of("code", {}, PRIOR).told("fog") == entry_of("code", {}, PRIOR)


def test_equal_cost_is_equal_and_so_is_the_number_of_settings():
    order = ORDERS["equal-cost"]
    entries = [entry_of(name, {}, PRIOR, words) for name, words in order.rows.items() if name != "inputs"]
    costs = [choice.nfe for entry in entries for choice in entry.choices]
    assert min(costs) >= 0.9 * 25 and max(costs) <= 25 and {len(entry.choices) for entry in entries} == {12}


@pytest.mark.parametrize("name", ORDERS)
def test_a_named_table_can_be_ordered(name):
    order = ORDERS[name]
    assert order.against in order.rows and set(order.corruptions) <= set(ALL_NAMES)
    for row, words in order.rows.items():
        entry = entry_of(row, {}, PRIOR, words, leave=order.leave)
        assert all(entry.told(corruption) for corruption in order.corruptions)


def test_differences_are_paired_by_picture_with_the_bootstrap_by_hand():
    """Two rows of two corruptions and three pictures; a picture's results are drawn together."""
    rng = np.random.default_rng(0)
    one = {"fog": rng.normal(size=3), "snow": rng.normal(size=3)}
    other = {name: values + rng.normal(0.5, 0.1, 3) for name, values in one.items()}
    features = rng.normal(size=(2, 2, 3, 2))
    cells = [
        cell(method, name, of[name], features=features[k, m])
        for k, (method, of) in enumerate({"a": other, "b": one}.items())
        for m, name in enumerate(("fog", "snow"))
    ]
    reference = moments_of(rng.normal(size=(40, 2)))
    found = differences(cells, "a", "b", reference, 41, 7)
    gaps = np.array([other[name] - one[name] for name in ("fog", "snow")])
    draws = np.random.default_rng(7)
    weights = [np.bincount(draws.integers(0, 3, 3), minlength=3) for _ in range(41)]
    again = sorted(np.mean(gaps @ weight / 3) for weight in weights)
    expected = (gaps.mean(), again[1], again[39])  # quantiles fall on the 2nd and the 40th
    np.testing.assert_allclose(found["psnr_source"], expected, rtol=1e-5)
    distances = [frechet_distance(moments_of(features[k].reshape(-1, 2)), reference) for k in (0, 1)]
    assert found["frechet"].estimate == pytest.approx(distances[0] / distances[1] - 1)
    assert math.isnan(found["psnr_input"].estimate) or found["psnr_input"].estimate == 0


def test_rank_1_is_the_nearest_by_angle():
    gallery = np.array([[1.0, 0], [0, 1], [1, 1]])
    features = np.array([[[3.0, 0.1], [0.1, 9], [1, 0.1], [np.nan, 1]]])
    assert nearest_is_own(features, gallery, np.array([0, 1, 2, 0])).tolist()[0][:3] == [1, 1, 0]
    assert np.isnan(nearest_is_own(features, gallery, np.array([0, 1, 2, 0]))[0, 3])


def test_one_corruption_alone_cannot_be_tuned_blindly():
    grid = entry_of("code", {"sigma": [0.5, 1.0]}, PRIOR)
    with pytest.raises(code_jax.UserError, match="all of one; add one, such as"):
        Plan((grid,), ("fog",))
    assert Plan((grid,), ("fog",), protocols=("oracle",)).tunes == ()
