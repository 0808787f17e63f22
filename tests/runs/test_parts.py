"""Manifests of runs that write into one bucket at a time: no line is lost, whoever compacts what."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from code_jax.runs import parts
from code_jax.runs.held import Held
from code_jax.runs.lines import encoded, is_line
from code_jax.runs.manifest import Manifest, joined_lines, merge
from code_jax.storage.address import place

IDENTITY = {"settings": {"eta": 1}, "prior_hash": "p", "seed": 0, "samples": 1, "micro_batch": 1}


def line(name, **changes):
    whole = {"input": f"gs://in/{name}", "name": name, "sample": 0, "file_hash": "x", "status": "done", "output": f"{name}.png"}
    return whole | {"output_hash": "y", "output_version": "1"} | IDENTITY | changes


class Run:
    """One of several runs, as `Manifest` uses its parts."""

    def __init__(self, out):
        self.parts, self.held, self.told = parts.Parts(out), Held(), set()
        for each in self.parts.lines():
            self.held.hold(each)

    def add(self, name):
        self.parts.append(encoded(line(name)))
        self.held.hold(line(name))
        self.told.add(name)

    def close(self):
        self.parts.close(self.held, whole=True)


ORDERS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["open", "add", "close", "kill"])), max_size=30)


@given(ORDERS, st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_several_runs_do_every_line_that_was_written_is_found_once(tmp_path_factory, orders, hurried):
    """Lines that wait when a run is killed are those that it may lose."""
    out, runs, written, number = place(f"file://{tmp_path_factory.mktemp('out')}"), {}, set(), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "_MOST", 1 if hurried else 3)
        for which, what in orders:
            if what == "open":
                runs.setdefault(which, Run(out))
            elif which in runs and what == "add":
                runs[which].add(f"p{number}")
                number += 1
            elif which in runs:
                run = runs.pop(which)
                if what == "close":
                    run.close()
                    written |= run.told
        found = [each["name"] for each in joined_lines(out)]
        assert written <= {*found} and len(found) == len({*found})
        if hurried:  # none ever waited
            assert {*found} == {f"p{k}" for k in range(number)}
        Run(out).close()
        stored = [each["name"] for _, each in stored_lines(out)]
        assert sorted(stored) == sorted(found)  # compacted, each once


def stored_lines(out):
    """Lines with the parts that they are in."""
    for part, _ in (out / "manifest").entries():
        for text in part.get().data.splitlines():
            yield part.name, json.loads(text)


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return place(f"file://{tmp_path}/out")


def test_parts_are_numbered_and_few_are_left(out, monkeypatch):
    monkeypatch.setattr(parts, "_MOST", 4)
    with Manifest(out, IDENTITY) as manifest:
        for number in range(10):
            manifest.add(line(f"p{number}"))
        assert [part.name[:9] for part, _ in (out / "manifest").entries()] == ["00000001-", "00000002-"]
    stored = list(stored_lines(out))
    assert [part[:9] for part, _ in stored] == ["00000001-"] * 4 + ["00000002-"] * 4 + ["00000003-"] * 2
    assert all(is_line(each) for _, each in stored) and [each["name"] for _, each in stored] == [f"p{k}" for k in range(10)]
    before = {part.name for part, _ in (out / "manifest").entries()}
    with Manifest(out, IDENTITY) as manifest:
        assert manifest.done == 10
        assert {part.name for part, _ in (out / "manifest").entries()} == before  # nothing was to be done
        manifest.add(line("p3", file_hash="of another content"))
    stored = list(stored_lines(out))
    assert [part[:9] for part, _ in stored] == ["00000005-"] * 4 + ["00000006-"] * 4 + ["00000007-"] * 2
    assert [each["file_hash"] for _, each in stored if each["name"] == "p3"] == ["of another content"]


def test_a_part_that_another_run_compacts_while_it_is_read_is_found_again(out, monkeypatch):
    for number in range(4):
        with Manifest(out, IDENTITY) as manifest:
            monkeypatch.setattr(manifest._journal, "_compact", lambda held: None)
            manifest.add(line(f"p{number}"))
    reader = parts.Parts(out).lines()
    first = next(reader)
    assert merge(out) == (4, 0)
    held = Held()
    for each in [first, *reader]:
        held.hold(each)
    assert sorted(each["name"] for each in held) == ["p0", "p1", "p2", "p3"]


def test_lines_of_other_settings_are_left_behind_when_they_are_replaced(out):
    with Manifest(out, IDENTITY) as manifest:
        manifest.add(line("p0"))
    other = IDENTITY | {"seed": 1}
    with pytest.raises(ValueError, match="seed was 0, is 1; --overwrite replaces them"):
        Manifest(out, other)
    with Manifest(out, other, overwrite=True) as manifest:
        assert manifest.done == 0
        manifest.add(line("p1", **other))
    with pytest.raises(ValueError, match="seed was 1, is 0"):
        Manifest(out, IDENTITY)
    assert [each["name"] for _, each in stored_lines(out)] == ["p1"]
