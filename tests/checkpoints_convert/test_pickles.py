"""What a pickle can ask for is bounded before it is asked for: each of these would fill gigabytes, or take hours."""

import io
import struct
import time
import tracemalloc

import pytest

import code_jax
from checkpoints_convert.pickles import read_pickle
from checkpoints_convert.pytorch import read_state_dict
from checkpoints_convert.storages import DamagedPickle
from tests.checkpoints_convert.torch_files import archive, pickled, storage, tensor

MANY = 200_000
COUNT = range(1, 60_000)
ORDERED_DICT, REBUILD = b"ccollections\nOrderedDict\n", b"ctorch._utils\n_rebuild_tensor_v2\n"


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def put(number):
    return b"r" + struct.pack("<I", number)


def get(number):
    return b"j" + struct.pack("<I", number)


def items(content, count=MANY):
    """A list of so many of the same."""
    return b"](" + content * count + b"e"


PAIR = text("a") + b"N\x86"
BOMBS = {
    # OrderedDict of a list of lists: every item of every inner list, with all of them one list.
    "product": ORDERED_DICT + items(b"K\x00") + put(1) + b"0" + items(get(1)) + b"\x85R.",
    "cyclic product": ORDERED_DICT + b"]" + put(1) + b"(" + get(1) * MANY + b"e\x85R.",
    # Each call reads one long list again.
    "repeated calls": items(PAIR, 50_000) + put(1) + ORDERED_DICT + put(2) + (get(2) + get(1) + b"\x85R0") * 10_000 + b".",
    "repeated shapes": b"(" + b"K\x01" * 50_000 + b"t" + put(1) + REBUILD + put(2)
    + (get(2) + b"N" + b"K\x00" + get(1) + get(1) + b"(t\x85R0") * 10_000 + b".",
    "repeated identities": b"(" + b"N" * MANY + b"t" + put(1) + (get(1) + b"Q0") * MANY + b".",
    # A global's name that is the repr of a list of one long text.
    "name of lists": text("x" * 100_000) + put(1) + b"0" + items(get(1)) + text("y") + b"\x93.",
    "long name": text("x" * (1 << 24)) + text("y") + b"\x93.",
    "long key": b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("k" * (1 << 20)) + text("cpu") + b"K\x04tQ.",
    # Whole numbers that hash alike: a dict of them is quadratic.
    "collisions": b"}(" + b"".join(b"\x8a\x0b" + (k * (2**61 - 1)).to_bytes(11, "little") + b"N" for k in COUNT) + b"u.",
    "stack": b"(" * (1 << 20) + b".",
    "duplicates": items(b"N") + b"2" * (1 << 19) + b".",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_ends_in_a_line_quickly_and_in_little_memory(name):
    content = b"\x80\x02" + BOMBS[name]
    tracemalloc.start()
    begun = time.process_time()
    with pytest.raises((code_jax.UserError, DamagedPickle)) as error:
        read_pickle(io.BytesIO(content))
    seconds, peak = time.process_time() - begun, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    assert seconds < 10 and peak < 1 << 28


@pytest.mark.parametrize(
    "content", [b"S'\\400'\n.", b"S'\\d'\n.", b"V\\ud800\n.", b"I5\n.", b"L5L\n.", b"F0.5\n.", b"p0\n.", b"g0\n."]
)
def test_opcodes_of_the_text_protocol_are_refused_before_their_argument_is_decoded(content):
    """Decoding an escape that is none warns, and a warning is an error here."""
    with pytest.raises(code_jax.UserError, match=r"asks for the pickle opcode [A-Z]+;"):
        read_pickle(io.BytesIO(b"\x80\x02" + content))


@pytest.mark.parametrize("size", [10**12, 1 << 61])
def test_a_huge_storage_that_is_declared_is_not_allocated(size, tmp_path):
    content = {"a": tensor((size,), (1,), kept=storage(size=size))}
    legacy = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, content, ["0"]]
    archive(tmp_path / "zip.pt", pickled(content), {"0": bytes(16)})
    (tmp_path / "legacy.pt").write_bytes(b"".join(map(pickled, legacy)) + struct.pack("<q", size) + bytes(16))
    for name in ("zip.pt", "legacy.pt"):
        tracemalloc.start()
        with pytest.raises(code_jax.UserError, match="another size than stated"):
            read_state_dict(tmp_path / name)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1 << 20


def test_a_list_of_storages_must_be_that_of_the_weights(tmp_path):
    content = {"a": tensor()}
    for keys in (["0", "0"], ["1"], [], [0], "0", [["0"]]):
        parts = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, content, keys]
        (tmp_path / "legacy.pt").write_bytes(b"".join(map(pickled, parts)) + struct.pack("<q", 4) + bytes(16))
        with pytest.raises(code_jax.UserError, match="list of storages"):
            read_state_dict(tmp_path / "legacy.pt")


def test_the_name_of_a_weight_is_bounded(tmp_path):
    archive(tmp_path / "model.pt", pickled({"a." * 10**6: tensor()}), {"0": bytes(16)})
    with pytest.raises(code_jax.UserError, match="no state dict"):
        read_state_dict(tmp_path / "model.pt")
