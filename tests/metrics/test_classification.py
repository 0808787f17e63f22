import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import code_jax
from code_jax.metrics import accuracy, corrupted_pixels, precision_recall
from tests.metrics.networks import images

MASKS = arrays.arrays(bool, (2, 3, 4, 5))


@settings(deadline=None)  # the first example compiles
@given(MASKS)
def test_precision_and_recall_count_pixels(masks):
    for precision, recall, found, truth in zip(*precision_recall(*masks), *masks, strict=True):
        claims = {(y, x) for y, x in np.ndindex(found.shape) if found[y, x]}
        cases = {(y, x) for y, x in np.ndindex(truth.shape) if truth[y, x]}
        hits = len(claims & cases)
        assert np.isnan(precision) if not claims else precision == pytest.approx(hits / len(claims))
        assert np.isnan(recall) if not cases else recall == pytest.approx(hits / len(cases))


def test_a_pixel_is_found_if_any_channel_is():
    found = np.zeros((1, 4, 4, 3), bool)
    found[0, 1, 2, 1] = found[0, 3, 3, :] = True
    truth = np.zeros((1, 4, 4), bool)
    truth[0, 1, 2] = True
    precision, recall = precision_recall(found, truth)
    assert precision.tolist() == [0.5] and recall.tolist() == [1.0]


def test_a_masks_pixels_are_the_corrupted_ones():
    clean = images(16, 16)
    truth = np.zeros((2, 16, 16), bool)
    truth[0, 3:7, 2:9] = truth[1, :, 5] = True
    corrupted = np.where(truth[..., None], -np.sign(clean), clean + 0.004)  # the rest is half an 8-bit level off
    corrupted = np.clip(corrupted, -1, 1)
    np.testing.assert_array_equal(corrupted_pixels(clean, corrupted), truth)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=6, max_size=6))
def test_accuracy_counts_the_right_answers(answers):
    given_labels, labels = np.array(answers).T
    np.testing.assert_array_equal(accuracy(np.eye(4)[given_labels], labels), given_labels == labels)


@pytest.mark.parametrize(
    ("found", "truth", "named"),
    [
        (np.zeros((1, 4, 4)), np.zeros((1, 4, 4), bool), "float"),
        (np.zeros((4, 4), bool), np.zeros((4, 4), bool), r"\(4, 4\)"),
        (np.zeros((1, 4, 4), bool), np.zeros((1, 4, 5), bool), r"\(1, 4, 5\)"),
    ],
)
def test_bad_masks_are_refused(found, truth, named):
    with pytest.raises(code_jax.UserError, match=named):
        precision_recall(found, truth)


@pytest.mark.parametrize("labels", [np.zeros(3, int), np.zeros(2), np.zeros((2, 1), int)])
def test_bad_labels_are_refused(labels):
    with pytest.raises(code_jax.UserError, match="labels"):
        accuracy(np.zeros((2, 4)), labels)
