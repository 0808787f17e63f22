"""Names of results as a listing streams, against those that are given when all inputs are known."""

import itertools
from collections import Counter
from pathlib import PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from code_jax.errors import UserError
from code_jax.runs.listing import Listing
from code_jax.runs.sources import find_sources, sources_of
from code_jax.storage.address import place
from code_jax.storage.storage import Entry

ENDINGS = (".png", ".jpg", ".TIFF")


STEMS = st.text("ab.-_", min_size=1, max_size=4).filter(lambda stem: not stem.startswith("."))
NAMES = st.builds("{}{}{}".format, st.sampled_from(["", "a/", "a.b/"]), STEMS, st.sampled_from(ENDINGS))


@given(st.sets(NAMES, min_size=1, max_size=9))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_listing_names_results_as_if_all_inputs_were_known(tmp_path_factory, inputs):
    """All but those whose whole name is another's stem, which get a name of their own in either way."""
    folder = tmp_path_factory.mktemp("in")
    for name in inputs:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    known = {source.path.relative_to(folder).as_posix(): source.name for source in find_sources([folder], folder / "out")}
    streamed = {
        source.path.key.removeprefix(f"{folder}/"[1:]): source.name for source in Listing(place(f"file://{folder}"), folder)
    }
    assert streamed.keys() == known.keys() == inputs
    assert max(Counter(streamed.values()).values()) == 1
    stem = {name: PurePosixPath(name).with_suffix("").as_posix() for name in inputs}
    plain = {name for name in inputs if name not in stem.values() and stem[name] not in inputs}
    assert {name: streamed[name] for name in plain} == {name: known[name] for name in plain}


class Made:
    """A storage whose listing is made up, and counted as it is taken."""

    def __init__(self, names):
        self.names, self.taken = names, 0

    def list(self, prefix):
        for name in self.names if prefix.startswith("in") else ():
            self.taken += 1
            yield Entry(f"{prefix}/{name}", 1, "v")

    def find(self, name):
        return None


@pytest.fixture
def made(monkeypatch):
    """Lets a bucket hold what a test makes up."""

    def hold(*names, endless=None):
        storage = Made(endless or names)
        monkeypatch.setattr("code_jax.storage.address._opened", lambda scheme, root: storage)
        return storage

    return hold


def test_pictures_are_given_as_they_are_listed(made):
    """With no more than one ahead, whatever their number: what one waits for are the neighbours that may share its name."""
    storage = made(endless=map("{:09}.png".format, itertools.count()))
    sources = iter(Listing(place("gs://bucket/in"), place("gs://bucket/out")))
    for number in range(100):
        assert next(sources).name == f"{number:09}" and storage.taken <= number + 2
    nested = made("a.avif", *(f"a.b{number}.jpg" for number in range(100, 400)), "a.png")
    found = [(source.name, nested.taken) for source in Listing(place("gs://bucket/in"), place("gs://bucket/out"))]
    assert found[0] == ("a.b100", 3) and [name for name, _ in found[-2:]] == ["a.avif", "a.png"]


def test_what_is_no_picture_and_the_results_below_are_passed_over(made):
    made(".hidden.png", "notes.txt", "out/b.png", "out/manifest/1.jsonl", "outer.png", "x/.y.png", "x/a.png")
    found = list(Listing(place("gs://bucket/in"), place("gs://bucket/in/out")))
    assert [(str(source.path), source.name, source.version) for source in found] == [
        ("gs://bucket/in/outer.png", "outer", "v"),
        ("gs://bucket/in/x/a.png", "x/a", "v"),
    ]
    (first, *_) = Listing(place("gs://bucket/in"), place("gs://bucket/in/out"), place("s3://clean/all"), "_x")
    assert str(first.reference) == "s3://clean/all/outer.png" and first.name == "outer_x"


def test_results_are_never_taken_for_contact_sheets_and_names_fit_file_systems(made):
    long = "l" * 500
    made("contact_sheet.png", f"{long}1.png", f"{long}2.png", "x/contact_sheet.png")
    found = [source.name for source in Listing(place("gs://bucket/in"), place("gs://bucket/out"))]
    assert found[0] == "contact_sheet.png" and found[-1] == "x/contact_sheet"
    assert len({*found}) == 4 and all(len(name) <= 240 for name in found)


def test_names_of_a_listing_in_no_order_cannot_be_given(made):
    made("b.png", "a.png")
    with pytest.raises(UserError, match="'gs://bucket/in' is not listed in the order of its names"):
        list(Listing(place("gs://bucket/in"), place("gs://bucket/out")))


def test_of_several_addresses_all_names_are_known(made):
    made("a.png", "b.jpg")
    found = sources_of(["gs://bucket/in", "gs://bucket/inner"], place("gs://bucket/out"))
    assert sorted(source.name for source in found) == ["a.png", "a.png_2", "b.jpg", "b.jpg_2"]


def test_where_there_is_no_picture_one_line_says_so(made):
    made("a.txt")
    with pytest.raises(UserError, match=r"no picture in 'gs://bucket/in': pictures end in \.apng"):
        sources_of(["gs://bucket/in"], place("gs://bucket/out"))
