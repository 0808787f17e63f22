"""PyTorch's pickles in diffusers' folders and on the hub, read as data."""

import json
import shutil

import huggingface_hub
import jax
import numpy as np
import pytest
import safetensors.numpy
from huggingface_hub.utils import filter_repo_objects

import code_jax
from checkpoints_convert.weights import DIFFUSERS
from code_jax.priors.weights import to_state_dict
from tests.checkpoints_convert.test_convert import assert_same
from tests.checkpoints_convert.torch_files import archive, pickled, storage, tensor


def write_pickled(path, state):
    """A PyTorch file of a state dict: each tensor transposed in its storage, so that strides matter."""
    tensors, contents = {}, {}
    for key, (name, values) in enumerate(state.items()):
        strides = tuple(int(np.prod(values.shape[:axis])) for axis in range(values.ndim))
        tensors[name] = tensor(values.shape, strides, kept=storage(str(key), values.size))
        contents[str(key)] = values.T.tobytes()
    archive(path, pickled(tensors), contents)


def test_a_folder_of_pickled_weights_loads_and_safetensors_are_preferred(tiny, folder):
    weights = folder / "unet" / DIFFUSERS[0]
    write_pickled(folder / "unet" / DIFFUSERS[1], to_state_dict(jax.tree.map(lambda leaf: leaf + 1, tiny.params)))
    assert_same(code_jax.load_prior(folder), tiny)
    weights.unlink()
    write_pickled(folder / "unet" / DIFFUSERS[1], to_state_dict(tiny.params))
    assert_same(code_jax.load_prior(folder), tiny)


@pytest.mark.parametrize("weights", [DIFFUSERS[0], DIFFUSERS[1]])
def test_numbered_parts_load(weights, tiny, folder):
    state = to_state_dict(tiny.params)
    stem, suffix = weights.rsplit(".", 1)
    names = [f"{stem}-{part:05}-of-00002.{suffix}" for part in (1, 2)]
    placed = {key: names[position % 2] for position, key in enumerate(state)}
    (folder / "unet" / DIFFUSERS[0]).unlink()
    for name in names:
        part = {key: state[key] for key in state if placed[key] == name}
        (safetensors.numpy.save_file if weights == DIFFUSERS[0] else lambda part, path: write_pickled(path, part))(
            part, folder / "unet" / name
        )
    index = folder / "unet" / f"{weights}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    assert_same(code_jax.load_prior(folder), tiny)
    for hostile in ("../secret.bin", "/etc/passwd", "x/y.safetensors", "", 3, ["a"]):
        index.write_text(json.dumps({"weight_map": placed | {"conv_in.bias": hostile}}))
        with pytest.raises(code_jax.UserError) as error:
            code_jax.load_prior(folder)
        assert "\n" not in str(error.value)
    index.write_text(json.dumps({"weight_map": ["a"]}))
    with pytest.raises(code_jax.UserError, match="missing"):
        code_jax.load_prior(folder)


@pytest.mark.parametrize("pickled_only", [True, False])
def test_the_hub_s_pickles_are_fetched_only_where_there_are_no_safetensors(pickled_only, tiny, folder, tmp_path, monkeypatch):
    """The hub is a folder here, and its patterns are applied by the hub's own function."""
    unet = folder / "unet"
    write_pickled(unet / DIFFUSERS[1], to_state_dict(tiny.params))
    (folder / "safety_checker").mkdir()
    for extra in ("unet/diffusion_pytorch_model.fp16.bin", "unet/x.ckpt", "safety_checker/pytorch_model.bin", "train.pt"):
        (folder / extra).write_bytes(b"never")
    if pickled_only:
        (unet / DIFFUSERS[0]).unlink()

    def download(name, revision, allow_patterns, ignore_patterns):
        snapshot = tmp_path / "0123456789"
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        for name in filter_repo_objects(names, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns):
            (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / name, snapshot / name)
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert_same(code_jax.load_prior("org/tiny"), tiny)
    there = {path.name for path in (tmp_path / "0123456789").rglob("*") if path.suffix not in (".json", "")}
    assert there == {DIFFUSERS[1] if pickled_only else DIFFUSERS[0]}
