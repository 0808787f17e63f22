"""What is an address, and that none leads out of another."""

import pickle
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from code_jax.errors import UserError
from code_jax.storage.address import Address, place


def test_what_begins_with_a_scheme_is_an_address_and_all_else_a_path():
    for text in ("gs://bucket/a/b.png", "s3://bucket", "https://host/a.png", "hf://datasets/owner/name/a", "file:///a/b"):
        assert str(place(text)) == text.rstrip("/") + ("/" if text == "s3://bucket" else "") and isinstance(place(text), Address)
    for text in ("a/b.png", "C:/a.png", "a:b", "gs:/bucket", ".", "://a"):
        assert place(text) == Path(text)
    assert place("GS://bucket/a/") == place("gs://bucket/a")
    assert (
        place("hf://owner/name@v1/sub/a.png").key == "sub/a.png"
        and place("hf://datasets/o/n@v1/a").root == "hf://datasets/o/n@v1"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("azure://bucket/a", "address 'azure' is unknown; choose from gs, s3, https"),
        ("gs://", "'gs://' is no address: write gs://bucket/folder"),
        ("gs:///a", "is no address"),
        ("gs://bucket/a//b", "a part of its name is ''"),
        ("gs://bucket/../other", "a part of its name is '..'"),
        ("s3://bucket/a/./b", "a part of its name is '.'"),
        ("gs://bucket/a\nb", "a part of its name is 'a\\nb'"),
        ("http://host/a.png", "write https://"),
        ("http://localhost.evil/a.png", "write https://"),
        ("file://a/b", "write file:///folder"),
        ("hf://owner", "write hf://datasets/owner/name/folder"),
        ("s3://bucket/a?X-Amz-Signature=SECRET", "which only https:// takes"),
        ("https://user:SECRET@host/a.png", "name or password"),
        ("s3://id:SECRET@bucket/a", "name or password"),
    ],
)
def test_what_cannot_be_an_address_is_one_line(text, said):
    with pytest.raises(UserError) as refused:
        place(text)
    assert said in str(refused.value) and "\n" not in str(refused.value) and "SECRET" not in str(refused.value)


@given(st.text(max_size=20))
def test_no_name_leads_out_of_an_address(name):
    folder = place("gs://bucket/folder")
    try:
        below = folder / name
    except UserError:
        return
    assert below == folder or (below.is_relative_to(folder) and below.key.startswith("folder/"))
    assert not {"", ".", ".."} & set(below.key.split("/"))
    assert below == folder or folder / below.relative_to(folder).as_posix() == below


def test_it_has_the_names_that_a_path_has():
    for name in ("a.png", "a.tar.gz", "x/y/a", "x/.hidden"):
        address, path = place("s3://bucket/folder") / name, Path("/folder") / name
        assert (address.name, address.stem, address.suffix) == (path.name, path.stem, path.suffix)
        assert (
            str(address.parent) == f"s3://bucket{path.parent}"
            and str(address.with_name("b")) == f"s3://bucket{path.with_name('b')}"
        )
        assert address.relative_to(place("s3://bucket/folder")).as_posix() == name
    assert not place("gs://bucket/inside").is_relative_to(place("gs://bucket/in"))
    with pytest.raises(ValueError, match="not below"):
        place("gs://bucket/inside").relative_to(place("gs://bucket/in"))


def test_it_goes_to_other_processes_whole():
    address = place("https://host/a.png?X-Goog-Signature=SECRET")
    again = pickle.loads(pickle.dumps(address))
    assert again == address and again.query == "?X-Goog-Signature=SECRET" and "SECRET" not in repr(again)


def test_without_the_extra_one_line_names_it(monkeypatch):
    from code_jax.storage import address

    address._opened.cache_clear()
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    for text in ("gs://bucket/a", "s3://bucket/a", "https://host/a.png"):
        with pytest.raises(UserError, match=r"needs obstore: pip install 'code-jax\[cloud\]'"):
            place(text).get()
