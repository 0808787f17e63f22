"""Every storage keeps the same rules: on a disk, by Google's interface and by Amazon's."""

import threading
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from code_jax.errors import UserError
from code_jax.storage import bucket
from code_jax.storage.address import place

NAMES = [
    "a.png",
    "a b.png",
    "a%20b.png",
    "ü.png",
    "日本語.png",
    "#?.png",
    "{}.png",
    "~",
    "'\".png",
    "x/a.png",
    "x-/a.png",
    "xy/z/a.png",
]


def test_what_was_put_is_read_found_listed_and_deleted(folder):
    for name in NAMES:
        data = name.encode() * 3
        version = (folder / name).put(b"before") and (folder / name).put(data)
        content, entry = (folder / name).get(), (folder / name).find()
        assert content.data == data and entry.size == len(data)
        assert version == content.version == entry.version is not None
    listed = list(folder.entries())
    assert [address.relative_to(folder).as_posix() for address, _ in listed] == sorted(NAMES, key=str.encode)
    assert all(entry == address.find() for address, entry in listed)
    assert [address.name for address, _ in (folder / "x").entries()] == ["a.png"]
    for name in NAMES:
        (folder / name).delete()
        (folder / name).delete()  # what is not there need not be
        assert (folder / name).find() is None
        with pytest.raises(FileNotFoundError) as failed:
            (folder / name).get()
        assert failed.value.filename == str(folder / name) and "\n" not in failed.value.strerror
    assert list(folder.entries()) == []


def test_a_version_changes_with_the_object_and_only_then(folder):
    (folder / "a").put(b"one")
    before = (folder / "a").find()
    assert (folder / "a").find() == (folder / "a").find() == before
    (folder / "a").put(b"two")
    assert (folder / "a").find().version != before.version


def test_of_many_who_create_one_object_one_does(folder):
    """Each with its own token, at the same moment."""
    tokens = [f"{number:064}".encode() for number in range(8)]
    made, start = {}, threading.Barrier(len(tokens))

    def create(token):
        start.wait()
        made[token] = (folder / "claim").create(token)

    threads = [threading.Thread(target=create, args=(token,)) for token in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [token for token, mine in made.items() if mine]
    assert (folder / "claim").get().data == winner
    assert (folder / "claim").create(winner)  # as the same try, repeated


def test_more_bytes_than_one_wants_are_not_read(folder):
    (folder / "a").put(b"12345")
    assert (folder / "a").get(5).data == b"12345"
    with pytest.raises(OSError, match="File too large") as failed:
        (folder / "a").get(4)
    assert failed.value.filename == str(folder / "a")


@given(st.sets(st.text("ab./-", min_size=1, max_size=6), max_size=8))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_listing_is_in_order_and_of_what_is_below(tmp_path_factory, names):
    names = {name for name in names if _is_possible(name) and not any(_is_below(other, name) for other in names - {name})}
    folder = place(f"file://{tmp_path_factory.mktemp('folder')}")
    for name in names:
        (folder / name).put(name.encode())
    assert [address.relative_to(folder).as_posix() for address, _ in folder.entries()] == sorted(names)
    for prefix in {name.split("/")[0] for name in names if "/" in name}:
        found = [address.relative_to(folder).as_posix() for address, _ in (folder / prefix).entries()]
        assert found == sorted(name for name in names if _is_below(name, prefix))


def _is_possible(name):
    return all(part not in ("", ".", "..") for part in name.split("/"))


def _is_below(name, prefix):
    return name.startswith(f"{prefix}/")


def test_pages_follow_each_other(google):
    google.page = 3
    google.objects |= {f"pictures/in/{number:03}": b"x" for number in range(20)}
    google.objects |= {"pictures/in": b"beside", "pictures/inside": b"beside"}
    found = [address.name for address, _ in place("gs://pictures/in").entries()]
    assert found == [f"{number:03}" for number in range(20)] and google.requests == {"LIST": 7}


def test_a_name_that_is_no_path_ends_a_listing_in_one_line(google):
    google.objects |= {"pictures/in/a.png": b"", "pictures/in/../b.png": b""}
    with pytest.raises(OSError, match="is no path") as failed:
        list(place("gs://pictures/in").entries())
    assert "in/../b.png" in failed.value.strerror and "\n" not in failed.value.strerror


class Once:
    """A fault that the first requests of a method meet."""

    def __init__(self, method, *faults):
        self.method, self.left = method, list(faults)

    def __call__(self, method, key):
        return self.left.pop(0) if method == self.method and self.left else None


@pytest.mark.parametrize("fault", ["503", "429", "lost", "silent"])
def test_what_goes_wrong_for_a_moment_is_tried_again(fault, google, hurried):
    google.silence = 1.0
    address = place("gs://pictures/a")
    google.fault = Once("PUT", fault, fault)
    assert address.put(b"data") == address.find().version
    google.fault = Once("GET", fault, fault)
    assert address.get().data == b"data"
    google.fault = Once("LIST", fault, fault)
    assert len(list(place("gs://pictures").entries())) == 1
    google.fault = Once("PUT", fault)
    assert place("gs://pictures/claim").create(b"token 1")  # where the answer got lost, by what is there
    assert not place("gs://pictures/claim").create(b"token 2")
    assert google.objects == {"pictures/a": b"data", "pictures/claim": b"token 1"}


def test_an_outage_is_outlived_however_many_answers_it_gives(google, monkeypatch):
    quick = {"init_backoff": timedelta(milliseconds=1), "max_backoff": timedelta(milliseconds=2), "base": 2}
    monkeypatch.setattr(bucket, "RETRY", bucket.RETRY | {"backoff": quick})
    google.fault = Once("PUT", *["503"] * 60)
    place("gs://pictures/a").put(b"data")
    assert google.objects == {"pictures/a": b"data"}


def test_of_two_claims_whose_answers_get_lost_one_holds(google, hurried):
    google.fault = Once("PUT", "lost", "lost", "lost")
    mine = [place("gs://pictures/claim").create(token) for token in (b"token 1", b"token 2")]
    assert mine == [True, False] and google.objects == {"pictures/claim": b"token 1"}


@pytest.mark.parametrize(
    ("fault", "said"), [("503", "503 Service Unavailable"), ("403", "403 Forbidden"), ("lost", "not answer")]
)
def test_what_stays_wrong_is_one_line_without_what_the_storage_said(fault, said, google, hurried):
    google.fault = lambda method, key: fault
    address = place("gs://pictures/a.png")
    for call in (
        lambda: address.put(b""),
        address.get,
        address.find,
        lambda: address.create(b""),
        lambda: list(address.entries()),
    ):
        with pytest.raises(OSError, match=said) as failed:
            call()
        assert failed.value.filename == "gs://pictures/a.png"
        assert "\n" not in failed.value.strerror and "secret" not in str(failed.value)


def test_a_file_of_the_web_is_read_and_its_signature_never_shown(google):
    google.objects["host/a b.png"] = b"data"
    address = place(f"{google.url}/host/a%20b.png?X-Amz-Signature=SECRET&X-Amz-Credential=WHO")
    assert address.get().data == b"data" and address.name == "a%20b.png"
    gone = place(f"{google.url}/host/gone.png?X-Amz-Signature=SECRET")
    with pytest.raises(FileNotFoundError) as failed:
        gone.get()
    shown = f"{address} {address!r} {gone.parent} {failed.value} {failed.value.__cause__}"
    assert "SECRET" not in shown and "WHO" not in shown and "gone.png" in shown
    for call in (lambda: gone.put(b""), lambda: gone.create(b""), gone.delete, lambda: list(gone.entries())):
        with pytest.raises(UserError) as refused:
            call()
        assert "SECRET" not in str(refused.value)


def test_the_hub_is_read_by_names(monkeypatch):
    """By a file system of fsspec's own in place of the hub's, which has the same methods."""
    import fsspec

    from code_jax.storage import address

    files = fsspec.filesystem("memory", skip_instance_cache=True)
    files.store = {}
    for name in ("b/c.png", "b.png", "a.png"):
        files.pipe(f"/datasets/owner/name/{name}", name.encode())
    monkeypatch.setattr("huggingface_hub.HfFileSystem", lambda: _Rootless(files))
    address._opened.cache_clear()
    folder = place("hf://datasets/owner/name")
    assert [each.key for each, _ in folder.entries()] == ["a.png", "b.png", "b/c.png"]
    assert [each.key for each, _ in (folder / "b").entries()] == ["b/c.png"]
    assert (folder / "b" / "c.png").get().data == b"b/c.png" and (folder / "b").find() is None
    with pytest.raises(FileNotFoundError):
        (folder / "none.png").get()
    with pytest.raises(UserError, match="to be read from"):
        (folder / "d.png").put(b"")
    address._opened.cache_clear()


class _Rootless:
    """Paths without a slash at their beginning, as the hub's are."""

    def __init__(self, files):
        self.files = files

    def info(self, path):
        return self.files.info(f"/{path}")

    def cat_file(self, path):
        return self.files.cat_file(f"/{path}")

    def find(self, path, detail):
        return {name.lstrip("/"): meta for name, meta in self.files.find(f"/{path}", detail=detail).items()}
