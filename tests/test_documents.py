"""JSON of strangers: what is read of it fits into numbers, a stack and memory."""

import json

import pytest

from code_jax.documents import parse, read_document
from code_jax.errors import UserError


def test_whole_numbers_are_read_as_far_as_a_float_holds_them():
    assert parse(json.dumps([10**299, -(10**298), 0])) == [10**299, -(10**298), 0]
    for digits in ("1" + "0" * 400, "-1" + "0" * 400, "9" * 5000):
        with pytest.raises(ValueError, match=rf"^a number has {len(digits)} digits$"):
            parse(f'{{"a": [{digits}]}}')


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[" * 16 + "]" * 16, None),
        ("[" * 17 + "]" * 17, "is nested deeper than 16 levels"),
        ("[" * 100_000, "cannot be read"),
        ('{"a": ', "cannot be read"),
        ("[1" + "0" * 400 + "]", "a number has 401 digits"),
        ('"' + "x" * (1 << 22) + '"', "is larger than 4194304 bytes"),
    ],
)
def test_a_document_is_read_or_named(text, named, tmp_path):
    (tmp_path / "document.json").write_text(text)
    if named is None:
        assert read_document(tmp_path / "document.json") == json.loads(text)
        return
    with pytest.raises(UserError, match=named) as caught:
        read_document(tmp_path / "document.json")
    assert str(caught.value).startswith(str(tmp_path / "document.json")) and "\n" not in str(caught.value)
    assert str(caught.value).count("document.json") == 1
