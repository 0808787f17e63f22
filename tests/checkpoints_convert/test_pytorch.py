"""The reader of PyTorch's files: real files (zip.pt, legacy.pt by ``torch.save``), hostile ones, damaged ones."""

import collections
import os
import pickle
import shutil
import subprocess
import sys
import tracemalloc
import zipfile

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import code_jax
from checkpoints_convert.pytorch import SUFFIXES, read_state_dict
from checkpoints_convert.tensors import read_tensors
from tests.checkpoints_convert.torch_files import Kept, Stub, archive, pickled, storage, tensor

FILES = ("zip.pt", "legacy.pt")
BASE = np.arange(24, dtype=np.float32).reshape(4, 6)
EXPECTED = {
    **{name: np.array([0, 1, 3], name) for name in ("float64", "float32", "float16", "uint8", "int8", "int16", "int32", "int64")},
    "bfloat16": np.array([0, 1, 3], ml_dtypes.bfloat16),
    "bool": np.array([False, True, True]),
    "base": BASE,
    "transposed": BASE.T,
    "sliced": BASE[1:, ::2],
    "expanded": np.full((2, 3), 7, np.float32),
    "scalar": np.float32(2.5),
    "empty": np.zeros((0, 3), np.float32),
    "parameter": np.array([1, -1], np.float32),
}


@pytest.fixture(scope="module")
def saved(request):
    folder = request.config.rootpath / "tests" / "checkpoints_convert"
    return {name: folder / name for name in FILES}


@pytest.mark.parametrize("name", FILES)
def test_every_dtype_and_view_of_a_real_file(name, saved):
    state = read_state_dict(saved[name])
    assert state.keys() == EXPECTED.keys()
    for key, expected in EXPECTED.items():
        assert state[key].dtype == expected.dtype and state[key].shape == expected.shape
        np.testing.assert_array_equal(state[key], expected)
    assert np.shares_memory(state["base"], state["transposed"]) and np.shares_memory(state["base"], state["sliced"])
    assert not state["base"].flags.writeable


def test_reading_imports_neither_pytorch_nor_pickle_s_machine(saved):
    program = (
        "import sys; from checkpoints_convert.pytorch import read_state_dict\n"
        "import pickle; pickle.load = pickle.loads = pickle.Unpickler = None\n"
        f"state = read_state_dict({str(saved['zip.pt'])!r}); assert len(state) == {len(EXPECTED)}, state\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'torch']"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    "name",
    ["os.system", "posix.system", "builtins.eval", "__builtin__.exec", "subprocess.Popen", "builtins.getattr", "torch.load",
     "torch._utils._rebuild_sparse_tensor", "numpy.core.multiarray._reconstruct", "collections.OrderedDict.fromkeys"],
)  # fmt: skip
@pytest.mark.parametrize("protocol", [2, 4])
def test_what_a_pickle_asks_for_is_refused_by_its_name(name, protocol, tmp_path):
    module, attribute = name.rsplit(".", 1)
    if protocol == 2:
        content = pickled({"weight": Stub(name, "touch hacked")})
    else:
        texts = b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, attribute, "touch hacked"))
        content = b"\x80\x04" + texts[: len(module) + len(attribute) + 4] + b"\x93" + texts[len(module) + len(attribute) + 4 :]
        content += b"\x85R."
    with pytest.raises(code_jax.UserError, match=f"asks for '{name}'"):
        read_state_dict(archive(tmp_path / "model.pt", content))


class Exploit:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("layout", ["zip", "legacy", "bare"])
def test_an_exploit_never_runs(layout, tmp_path):
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        content = pickle.dumps({"weight": Exploit(tmp_path / "hacked")}, protocol)
        path = tmp_path / "model.bin"
        if layout == "zip":
            archive(path, content)
        elif layout == "bare":
            path.write_bytes(content)
        else:
            start = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
            path.write_bytes(b"".join(pickle.dumps(part, 2) for part in start) + content)
        with pytest.raises(code_jax.UserError, match=r"asks for '(posix|nt).mkdir'"):
            read_state_dict(path)
    assert not (tmp_path / "hacked").exists()
    pickle.loads(content)
    assert (tmp_path / "hacked").exists()  # what was refused works where it is let


def test_opcodes_beyond_data_are_refused_by_name(tmp_path):
    for opcode, content in {
        "INST": b"(ios\nsystem\n.",
        "OBJ": b"(cposix\nsystem\no.",
        "NEWOBJ": b"ccollections\nOrderedDict\n)\x81.",
        "NEWOBJ_EX": b"\x80\x04ccollections\nOrderedDict\n)}\x92.",
        "EXT1": b"\x82\x01.",
        "EXT4": b"\x84\x01\x00\x00\x00.",
        "PERSID": b"P0\n.",
        "NEXT_BUFFER": b"\x97.",
    }.items():
        with pytest.raises(code_jax.UserError, match=f"opcode {opcode};|asks for 'posix.system'"):
            read_state_dict(archive(tmp_path / "model.pt", content))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"a": tensor(shape=(5,))}, "reaches element 4 of a storage of 4"),
        ({"a": tensor(offset=1)}, "reaches element 4"),
        ({"a": tensor(offset=-1)}, "whole numbers"),
        ({"a": tensor(shape=(2, 2), strides=(-1, 1))}, "whole numbers"),
        ({"a": tensor(shape=(2, 2), strides=(1,))}, "whole numbers"),
        ({"a": tensor(shape=(2.0,))}, "whole numbers"),
        ({"a": tensor(shape=(10**9, 10**9), strides=(0, 0))}, "shows 1000000000000000000 numbers while it stores 4"),
        ({"a": tensor(shape=(10**30,), strides=(0,))}, "whole numbers"),
        ({"a": tensor(kept=storage(size=10**12))}, "another size than stated"),
        ({"a": tensor(kept=storage(key="1"))}, "'1' is missing"),
        ({"a": tensor(kept=storage(key="../../data.pkl"))}, "is missing"),
        ({"a": tensor(), "b": tensor(kept=storage(name="torch.IntStorage"))}, "described twice"),
        ({"a": tensor(kept=Kept("module", Stub("torch.FloatStorage"), "0", "cpu", 4))}, "another way"),
        ({"a": tensor(kept=Kept("storage", Stub("collections.OrderedDict"), "0", "cpu", 4))}, "no type of storage"),
        ({"a": Stub("torch.FloatStorage", 10**12)}, r"asks to call torch.FloatStorage"),
        ({"a": Stub("torch._utils._rebuild_tensor_v2", "no storage", 0, (1,), (1,))}, "stands where another"),
        ({"a": Stub("torch._utils._rebuild_tensor_v2", 1)}, "missing"),
        ({"a": 3}, "'a' is no tensor"),
        ({1: tensor()}, "'?1'? is no tensor"),
        ({(): tensor()}, "neither text nor a whole number"),
        ([tensor()], "holds no state dict"),
        ({}, "holds no state dict"),
    ],
)
def test_nonsense_is_one_clear_line(content, named, tmp_path):
    path = archive(tmp_path / "model.pt", pickled(content), {"0": bytes(16)})
    with pytest.raises(code_jax.UserError, match=named) as error:
        read_state_dict(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_the_hand_made_file_is_otherwise_read(tmp_path):
    content = {"a": tensor(), "b": tensor((2, 2), (2, 1), kept=storage())}
    content = collections.OrderedDict(content)
    values = np.arange(4, dtype=np.float32)
    state = read_state_dict(archive(tmp_path / "model.pt", pickled(content), {"0": values.tobytes()}))
    np.testing.assert_array_equal(state["a"], values)
    np.testing.assert_array_equal(state["b"], values.reshape(2, 2))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", FILES)
def test_every_ending_of_pytorch_s_files_is_read(name, suffix, saved, tmp_path):
    shutil.copy(saved[name], tmp_path / f"model{suffix}")
    state = read_tensors(tmp_path / f"model{suffix}")
    assert state.keys() == EXPECTED.keys()
    np.testing.assert_array_equal(state["transposed"], BASE.T)
    shutil.copy(saved[name], tmp_path / "model.weights")
    with pytest.raises(code_jax.UserError, match="of no kind that holds weights"):
        read_tensors(tmp_path / "model.weights")


def test_a_training_checkpoint_s_state_dict_is_found_among_its_plain_values(tmp_path):
    content = {"epoch": 3, "lr": [0.1, None], "state_dict": {"a": tensor()}, "optimizer": {0: {"step": 1, "exp_avg": tensor()}}}
    values = np.arange(4, dtype=np.float32)
    state = read_state_dict(archive(tmp_path / "model.ckpt", pickled(content), {"0": values.tobytes()}))
    assert list(state) == ["a"]
    np.testing.assert_array_equal(state["a"], values)
    content["callbacks"] = Stub("pytorch_lightning.callbacks.ModelCheckpoint")
    with pytest.raises(code_jax.UserError, match="ModelCheckpoint"):
        read_state_dict(archive(tmp_path / "model.ckpt", pickled(content), {"0": values.tobytes()}))


def test_archives_that_multiply_are_refused(tmp_path):
    content = pickled({"a": tensor(kept=storage(size=1 << 22))})
    compressed = archive(tmp_path / "bomb.pt", content, {"0": bytes(1 << 24)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(code_jax.UserError, match="compressed"):
        read_state_dict(compressed)
    # Two entries of the directory that point at the same bytes.
    path = archive(tmp_path / "overlap.pt", content, {"0": bytes(1 << 12)})
    with zipfile.ZipFile(path, "a") as file:
        for key in range(1, 50):
            twin = zipfile.ZipInfo(f"archive/data/{key}")
            first = file.getinfo("archive/data/0")
            twin.header_offset, twin.file_size, twin.compress_size, twin.CRC = first.header_offset, 1 << 12, 1 << 12, first.CRC
            file.filelist.append(twin)
            file._didModify = True
    with pytest.raises(code_jax.UserError, match="larger than the whole"):
        read_state_dict(path)


@pytest.mark.parametrize(
    "number", [b"r\xff\xff\xff\x7f", b"\x8e" + b"\xff" * 7 + b"\x3f", b"\x8b\xff\xff\xff\x7f", b"T\xff\xff\xff\x7f"]
)
@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_a_stated_length_allocates_nothing(number, layout, tmp_path):
    """A memo index, bytes, a long number and a string of 2³¹ to 2⁶² by their opcodes."""
    content = b"\x80\x02}" + number + b"."
    path = tmp_path / "model.pt"
    if layout == "zip":
        archive(path, content)
    else:
        path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(code_jax.UserError):
        read_state_dict(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_depth_and_length_of_a_pickle_are_bounded(tmp_path):
    for content, named in ((b"\x80\x02" + b")" + b"\x85" * 10**5 + b".", "no state dict"), (b"]" * 10**6 + b".", "opcodes")):
        with pytest.raises(code_jax.UserError, match=named):
            read_state_dict(archive(tmp_path / "model.pt", content))


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_anywhere_is_refused(name, saved, tmp_path):
    whole = saved[name].read_bytes()
    for length in [*range(0, len(whole), 37), len(whole) - 1]:
        (tmp_path / "cut.pt").write_bytes(whole[:length])
        with pytest.raises(code_jax.UserError, match=r"cut\.pt"):
            read_state_dict(tmp_path / "cut.pt")


def test_a_changed_bit_in_a_storage_is_noticed(saved, tmp_path):
    with zipfile.ZipFile(saved["zip.pt"]) as file:
        entries = [entry for entry in file.infolist() if "/data/" in entry.filename and entry.file_size]
    for entry in entries:
        content = bytearray(saved["zip.pt"].read_bytes())
        name_length, extra_length = (
            content[entry.header_offset + 26],
            int.from_bytes(content[entry.header_offset + 28 :][:2], "little"),
        )
        content[entry.header_offset + 30 + name_length + extra_length] ^= 1
        (tmp_path / "changed.pt").write_bytes(content)
        with pytest.raises(code_jax.UserError, match="CRC"):
            read_state_dict(tmp_path / "changed.pt")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mutated_file_gives_arrays_or_one_line(data, saved, tmp_path):
    """Bytes changed anywhere: no other error, and no memory beyond the file's."""
    content = bytearray(saved[data.draw(st.sampled_from(FILES))].read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "mutated.pt"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        state = read_state_dict(path)
    except code_jax.UserError as error:
        assert "\n" not in str(error) and len(str(error)) < 500
    else:
        assert all(isinstance(values, np.ndarray) for values in state.values())
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 1 << 20


def test_older_and_other_formats_are_refused_by_name(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"hello")
    with pytest.raises(code_jax.UserError, match="not a whole PyTorch file"):
        read_state_dict(tmp_path / "a.pt")
    shutil.make_archive(str(tmp_path / "b"), "tar", tmp_path, "a.pt")
    with pytest.raises(code_jax.UserError, match="tar format"):
        read_state_dict(tmp_path / "b.tar")
    with pytest.raises(code_jax.UserError, match="it has no data"):
        with zipfile.ZipFile(tmp_path / "c.zip", "w") as file:
            file.writestr("a", "b")
        read_state_dict(tmp_path / "c.zip")
    with pytest.raises(code_jax.UserError, match="a pickle, but not one of"):
        (tmp_path / "d.pt").write_bytes(pickle.dumps({"a": 1}) * 3)
        read_state_dict(tmp_path / "d.pt")
