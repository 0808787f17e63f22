import threading
import time

import pytest

from code_jax import progress
from code_jax.progress import PREPARING, Estimate, Progress


@pytest.fixture
def shortly(monkeypatch):
    """Patience of a moment, and a wait for whatever is still to be said."""
    monkeypatch.setattr(progress, "_PATIENCE", 0.05)

    def wait():
        for thread in threading.enumerate():
            if isinstance(thread, threading.Timer):
                thread.join(5)

    return wait


def test_a_first_advance_that_takes_long_is_explained_once(shortly, capsys):
    work = Progress(4)
    shortly()
    assert capsys.readouterr().err == f"{PREPARING}\n"
    work.advance(1)
    shortly()
    assert capsys.readouterr().err == ""


def test_work_that_advances_or_was_given_up_is_not_explained(shortly, capsys):
    quick = Progress(4)
    quick.advance(1)
    Progress(4)
    shortly()
    assert capsys.readouterr().err == ""


def test_no_thread_waits_for_work_that_has_begun_or_was_given_up():
    before, begun = set(threading.enumerate()), Progress(4)
    Progress(4)
    assert set(threading.enumerate()) - before
    begun.advance(1)
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer) and thread.finished.is_set():
            thread.join(5)
    assert not set(threading.enumerate()) - before


def test_nothing_to_do_is_not_explained(shortly, capsys):
    nothing = Progress(0)
    shortly()
    assert capsys.readouterr().err == ""
    nothing.advance(1)  # what was told as done was not there after all
    nothing.advance(1)
    assert "Traceback" not in capsys.readouterr().err


def test_the_time_left_is_that_of_the_advances_after_the_first(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setitem(progress._PAUSES, "plain", 10.0)
    work = Progress(100)
    for now[0], units in ((50.0, 10), (60.0, 10), (75.0, 10)):  # the first compiles
        work.advance(units)
    assert capsys.readouterr().err.splitlines() == [
        "about 1 min 20 s to go (100 evaluations in all)",
        " 20 %, 20/100 evaluations, 1 evaluations/s, 1 min 20 s left",
        " 30 %, 30/100 evaluations, 0.8 evaluations/s, 1 min 28 s left",
    ]


def test_time_left_goes_by_the_rate_after_the_first_advance():
    """By a made-up clock: a minute to compile, ten units at one a second, then ten at two a second."""
    now = 0.0
    estimate = Estimate(21, lambda: now)
    assert estimate.left(0) is None
    now = 60.0
    assert estimate.left(1) is None and estimate.left(1) is None  # no rate yet
    for done in range(2, 12):
        now += 1.0
        assert estimate.left(done) == pytest.approx(21 - done)
    now += 1e-5
    assert estimate.left(12) is not None  # what ends at the same moment changes a rate that there is, and makes none:
    errors, moments = [], iter([60.0, 60.0 + 1e-5, 61.0])
    several = Estimate(21, lambda: next(moments))
    assert [several.left(done) for done in (1, 2, 3)] == [None, None, 9.0]
    now -= 1e-5
    for done in range(12, 22):
        errors.append(abs(estimate.left(done - 1) / ((22 - done) / 2) - 1))
        now += 0.5
        assert estimate.left(done) == pytest.approx((21 - done) * (now - 60) / (done - 1))
    assert errors == sorted(errors, reverse=True)  # it learns of the change
