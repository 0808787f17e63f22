"""Work that is handed to workers who die: all of it is done, but what kills, which is found and given up."""

import itertools
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from code_jax.cluster.assignments import SLOTS, Assignments


def run(plan, poison, sizes, draw, deaths):
    """Lets workers work in a drawn order, and die of poison, or for no reason as often as `deaths` says.

    Returns what was done, what was given up, and how many workers died of each item."""
    done, given_up, killed = Counter(), [], Counter()
    for _ in range(10_000):
        for worker, size in enumerate(sizes):
            while plan.next(worker, size) is not None:
                assert len(plan.held(worker)) <= SLOTS
        if plan.finished:
            return done, given_up, killed
        busy = [worker for worker in range(len(sizes)) if plan.held(worker)]
        worker = draw(busy)
        call = draw(plan.held(worker))
        deadly = [item for item in call.items if item in poison]
        if deadly or deaths:
            deaths -= not deadly
            killed.update(deadly[:1])
            given_up += plan.lost(worker)
        else:
            done.update(call.items)
            plan.done(worker, call)
    raise AssertionError("it never ends")


@given(st.integers(0, 40), st.sets(st.integers(0, 40), max_size=4), st.integers(1, 4), st.integers(1, 6), st.randoms())
@settings(max_examples=60, deadline=None)
def test_all_is_done_but_what_kills(count, poison, workers, size, chance):
    done, given_up, killed = run(Assignments(range(count)), poison, [size] * workers, chance.choice, deaths=0)
    poison &= {*range(count)}
    assert set(given_up) == poison and len(given_up) == len(poison)
    assert done == Counter(set(range(count)) - poison)  # each once
    assert all(killed[item] <= 3 for item in poison)


@given(st.integers(1, 30), st.randoms())
@settings(max_examples=30, deadline=None)
def test_workers_that_die_for_no_reason_cost_nothing_but_time(deaths, chance):
    """None is given up but by its third death, which it died alone."""
    done, given_up, _ = run(Assignments(range(60)), set(), [3, 3, 3], chance.choice, deaths)
    assert done + Counter(given_up) == Counter(range(60))
    assert len(given_up) <= max(deaths - 2, 0)


def test_a_stream_is_taken_no_faster_than_it_is_done():
    taken = itertools.count()
    plan = Assignments(next(taken) for _ in itertools.count())
    for worker in range(5):
        while plan.next(worker, 4) is not None:
            pass
    assert next(taken) == 5 * SLOTS * 4


def test_a_suspect_has_a_worker_of_its_own_while_others_go_on():
    plan = Assignments(range(100))
    first = [plan.next(0, 2) for _ in range(SLOTS)]
    plan.next(1, 2)
    assert plan.lost(0) == []
    assert plan.next(1, 2).deaths == 0  # it is busy, and gets what is fresh
    assert plan.next(0, 2) is first[0] and plan.next(0, 2) is None
    assert plan.lost(0) == []
    alone = plan.next(0, 2)
    assert alone is first[1] and plan.next(0, 2) is None
    plan.done(0, alone)
    assert plan.next(0, 2) is first[2]
    plan.done(0, first[2])
    singles = []
    for _ in range(2):
        singles.append(plan.next(0, 2))
        assert plan.next(0, 2) is None
        plan.done(0, singles[-1])
    assert [call.items for call in singles] == [[0], [1]]


def test_what_is_stopped_hands_out_nothing_and_ends_with_what_is_held():
    plan = Assignments(range(100))
    held = plan.next(0, 5)
    plan.stop()
    assert plan.next(1, 5) is None and not plan.finished
    plan.done(0, held)
    assert plan.finished
