"""What is cut, forged or hostile is refused before it is computed with; what is pickled is read as data."""

import copy
import dataclasses
import json
import shutil
import tracemalloc

import huggingface_hub
import jax
import numpy as np
import pytest
import safetensors.numpy
from huggingface_hub.utils import filter_repo_objects
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import code_jax
from checkpoints_convert.diffusers import PICKLED_WEIGHTS, WEIGHTS
from code_jax.diffusion.scaling import VariancePreserving
from code_jax.models.config import UNet2DConfig
from code_jax.models.unet import UNet2DModel
from code_jax.priors.hash import prior_hash
from code_jax.priors.prior import NetworkOutput
from code_jax.priors.read import read_network
from code_jax.priors.scheduler import read_scheduler
from code_jax.priors.weights import expected_params, to_state_dict
from tests.checkpoints_convert.test_convert import assert_same, edit_json
from tests.checkpoints_convert.test_pytorch import archive, pickled, storage, tensor
from tests.models.architectures import OPTIONS


@pytest.fixture
def folder(tiny, tmp_path):
    code_jax.save_prior(tiny, tmp_path / "prior")
    return tmp_path / "prior"


def write_pickled(path, state):
    """A PyTorch file of a state dict: each tensor transposed in its storage, so that strides matter."""
    tensors, contents = {}, {}
    for key, (name, values) in enumerate(state.items()):
        strides = tuple(int(np.prod(values.shape[:axis])) for axis in range(values.ndim))
        tensors[name] = tensor(values.shape, strides, kept=storage(str(key), values.size))
        contents[str(key)] = values.T.tobytes()
    archive(path, pickled(tensors), contents)


# PyTorch's pickles in diffusers' folders


def test_a_folder_of_pickled_weights_loads_and_safetensors_are_preferred(tiny, folder):
    weights = folder / "unet" / WEIGHTS
    write_pickled(folder / "unet" / PICKLED_WEIGHTS, to_state_dict(jax.tree.map(lambda leaf: leaf + 1, tiny.params)))
    assert_same(code_jax.load_prior(folder), tiny)
    weights.unlink()
    write_pickled(folder / "unet" / PICKLED_WEIGHTS, to_state_dict(tiny.params))
    assert_same(code_jax.load_prior(folder), tiny)


@pytest.mark.parametrize("weights", [WEIGHTS, PICKLED_WEIGHTS])
def test_numbered_parts_load(weights, tiny, folder):
    state = to_state_dict(tiny.params)
    stem, suffix = weights.rsplit(".", 1)
    names = [f"{stem}-{part:05}-of-00002.{suffix}" for part in (1, 2)]
    placed = {key: names[position % 2] for position, key in enumerate(state)}
    (folder / "unet" / WEIGHTS).unlink()
    for name in names:
        part = {key: state[key] for key in state if placed[key] == name}
        (safetensors.numpy.save_file if weights == WEIGHTS else lambda part, path: write_pickled(path, part))(
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
    write_pickled(unet / PICKLED_WEIGHTS, to_state_dict(tiny.params))
    (folder / "text_encoder").mkdir()
    for extra in ("unet/diffusion_pytorch_model.fp16.bin", "unet/x.ckpt", "text_encoder/pytorch_model.bin", "train.pt"):
        (folder / extra).write_bytes(b"never")
    if pickled_only:
        (unet / WEIGHTS).unlink()

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
    assert there == {PICKLED_WEIGHTS if pickled_only else WEIGHTS}


# Our checkpoint's hash


def test_a_checkpoint_that_is_cut_or_changed_anywhere_is_refused_before_it_is_read(tiny, tmp_path, monkeypatch):
    import orbax.checkpoint

    code_jax.save_prior(tiny, tmp_path / "ours", format="orbax")
    assert_same(code_jax.load_prior(tmp_path / "ours"), tiny)
    monkeypatch.setattr(orbax.checkpoint, "StandardCheckpointer", None)  # reading anything would fail
    files = [path for path in (tmp_path / "ours" / "params").rglob("*") if path.is_file()]
    assert len(files) > 3
    for path in files:
        whole = path.read_bytes()
        damages = [None, whole + b"\0"]
        damages += [whole[:-1], whole[: len(whole) // 2], bytes([whole[0] ^ 1]) + whole[1:]] if whole else []
        for damage in damages:
            path.unlink() if damage is None else path.write_bytes(damage)
            with pytest.raises(code_jax.UserError, match="does not have the hash"):
                code_jax.load_prior(tmp_path / "ours")
        path.write_bytes(whole)
    (tmp_path / "ours" / "params" / "more").write_bytes(b"")
    with pytest.raises(code_jax.UserError, match="does not have the hash"):
        code_jax.load_prior(tmp_path / "ours")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"scheduler": {"beta_schedule": "scaled_linear"}}, "does not have the hash"),
        ({"network": {}}, "does not have the hash"),
        ({"sha256": None}, "does not have the hash"),
        ({"sha256": ["a"]}, "does not have the hash"),
        ({"format": 1}, "convert it again"),
        ({"format": "x" * 10**5}, "has format"),
    ],
)
def test_a_changed_description_is_refused(change, named, tiny, tmp_path):
    code_jax.save_prior(tiny, tmp_path / "ours", format="orbax")
    edit_json(tmp_path / "ours" / "prior.json", **change)
    with pytest.raises(code_jax.UserError, match=named) as error:
        code_jax.load_prior(tmp_path / "ours")
    assert len(str(error.value)) < 500


def test_a_safetensors_header_that_promises_more_than_the_file_is_refused(folder):
    path = folder / "unet" / WEIGHTS
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    for change in ({"shape": [10**12]}, {"shape": [-1]}, {"data_offsets": [0, 10**12]}, {"dtype": "F8_E4M3"}, {"dtype": "exec"}):
        forged = json.dumps(header | {"conv_in.bias": header["conv_in.bias"] | change}).encode()
        path.write_bytes(len(forged).to_bytes(8, "little") + forged + whole[8 + length :])
        with pytest.raises(code_jax.UserError, match="not a whole safetensors file"):
            code_jax.load_prior(folder)
    for damaged in (whole[:-1], whole[:100], b"", b"\xff" * 8 + whole[8:]):
        path.write_bytes(damaged)
        with pytest.raises(code_jax.UserError, match="not a whole safetensors file"):
            code_jax.load_prior(folder)


# Hostile configs

HOSTILE = st.one_of(
    st.sampled_from([None, True, False, "", "nan", [], {}, [[]], 0, -1, 1, 3, 10**9, 2**63, 10**400, -(10**9), 1e308, 0.5]),
    st.sampled_from([float("nan"), float("inf"), float("-inf")]),
    st.integers(),
    st.text(max_size=5),
    st.sampled_from(["DownBlock2D", "AttnUpBlock2D", "resnet", "scale_shift", "sample", "scaled_linear", "squaredcos_cap_v2"]),
)


def mutated(data, config):
    """A config with one to three places, at any depth, given a hostile value, dropped or doubled."""
    config = copy.deepcopy(config)
    for _ in range(data.draw(st.integers(1, 3))):
        place, key = config, data.draw(st.sampled_from(sorted(config)))
        if isinstance(place[key], list) and place[key] and data.draw(st.booleans()):
            place, key = place[key], data.draw(st.integers(0, len(place[key]) - 1))
        action = data.draw(st.sampled_from(["set", "set", "set", "nest", "repeat", "drop"]))
        if action == "drop":
            del place[key]
            if not config:
                return config
        elif action == "repeat":
            place[key] = [place[key]] * data.draw(st.sampled_from([1, 2, 13, 5000]))
        elif action == "nest":
            value = place[key]
            for _ in range(data.draw(st.integers(1, 12))):
                value = [value]
            place[key] = value
        else:
            place[key] = data.draw(HOSTILE)
    return config


PLAIN = (
    UNet2DConfig.from_diffusers(OPTIONS["plain"] | {"sample_size": 8}).to_diffusers(),
    {"num_train_timesteps": 1000, "beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02, "prediction_type": "epsilon"}
    | {"trained_betas": None, "variance_type": "fixed_small"},
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_mutated_config_is_refused_in_one_line_or_describes_a_network(data):
    """Whatever is let through has shapes, found by tracing, which allocates nothing."""
    network, scheduler = PLAIN
    if data.draw(st.booleans()):
        network = mutated(data, network)
    else:
        scheduler = mutated(data, scheduler)
    network, scheduler = json.loads(json.dumps(network)), json.loads(json.dumps(scheduler))
    tracemalloc.start()
    try:
        (described, _), (schedule, _) = read_network(network), read_scheduler(scheduler)
    except code_jax.UserError as error:
        assert "\n" not in str(error) and len(str(error)) < 500
    else:
        assert np.all(np.isfinite(schedule.log_sigma)) and schedule.last > 0
        if network != PLAIN[0]:
            assert jax.tree.leaves(expected_params(described))
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 1 << 26


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ({"block_out_channels": [10**9, 10**9]}, "block_out_channels is 1000000000"),
        ({"block_out_channels": [32, -64]}, "block_out_channels is -64"),
        ({"in_channels": 10**9}, "in_channels is 1000000000"),
        ({"out_channels": -3}, "out_channels is -3"),
        ({"layers_per_block": 10**9}, "layers_per_block is 1000000000"),
        ({"sample_size": 10**9}, "sample_size is 1000000000"),
        ({"sample_size": [8, -8]}, "sample_size is -8"),
        ({"norm_num_groups": 0}, "norm_num_groups is 0"),
        ({"down_block_types": ["DownBlock2D"] * 10**5}, "down_block_types has 100000 entries"),
    ],
)
def test_hostile_sizes_are_named_before_anything_is_allocated(option, named, folder):
    edit_json(folder / "unet" / "config.json", **option)
    (folder / "unet" / WEIGHTS).unlink()  # the config is refused before weights are looked for
    tracemalloc.start()
    with pytest.raises(code_jax.UserError, match=named):
        code_jax.load_prior(folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 23


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"a":' * 10**5 + "1" + "}" * 10**5, "cannot be read"),
        ('{"a":' * 100 + "1" + "}" * 100, "nested deeper"),
        ('{"sample_size": ' + "9" * 5000 + "}", "cannot be read"),
        ('{"sample_size": ' + "9" * 4000 + "}", "sample_size"),
        ("[]", "no JSON object"),
        ("NaN", "no JSON object"),
        (" " * (1 << 22) + " {}", "larger than"),
        ("\xff", "cannot be read"),
    ],
)
def test_json_itself_is_bounded(text, named, folder):
    (folder / "unet" / "config.json").write_text(text, encoding="latin-1")
    (folder / "unet" / WEIGHTS).unlink()  # the config is refused before weights are looked for
    with pytest.raises(code_jax.UserError, match=named) as error:
        code_jax.load_prior(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ({"sample_size": 9}, "sample_size 9 cannot be halved"),
        ({"sample_size": [8, 8, 8]}, "sample_size"),
        ({"attention_head_dim": 32}, "attention_head_dim 32"),
        ({"attn_norm_num_groups": 5}, "attn_norm_num_groups 5"),
        ({"norm_eps": float("nan")}, "norm_eps"),
        ({"norm_eps": -1e-5}, "norm_eps"),
        ({"mid_block_scale_factor": 0}, "mid_block_scale_factor"),
        ({"mid_block_scale_factor": float("inf")}, "mid_block_scale_factor"),
        ({"freq_shift": 4}, "freq_shift 4|freq_shift is 4"),
        ({"dropout": float("nan")}, "dropout"),
        ({"layers_per_block": 32, "block_out_channels": [8] * 12}, "12 levels|down_block_types"),
    ],
)
def test_numbers_that_no_network_can_have_are_named(option, named):
    with pytest.raises(code_jax.UserError, match=named):
        read_network(PLAIN[0] | option)


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ({"beta_start": "tiny"}, "beta_start"),
        ({"beta_end": float("nan")}, "beta_end"),
        ({"beta_start": -1e-4, "beta_schedule": "scaled_linear"}, "beta_start"),
        ({"trained_betas": [0.1, None]}, "outside"),
        ({"trained_betas": [[0.1], [0.1, 0.2]]}, "betas"),
        ({"trained_betas": [0.1, 10**400]}, "betas"),
        ({"trained_betas": {"a": 1}}, "betas"),
        ({"trained_betas": [0.1, float("nan")]}, "outside"),
        ({"prediction_type": ["epsilon"] * 10**5}, "prediction_type"),
        ({"num_train_timesteps": 10**9}, "1000000000"),
    ],
)
def test_schedules_that_are_none_are_named(option, named):
    with pytest.raises(code_jax.UserError, match=named):
        read_scheduler(PLAIN[1] | option)


# The hash of a prior


def test_the_hash_is_that_of_the_content(tiny, folder, tmp_path):
    same = prior_hash(tiny)
    assert len(same) == 64 and int(same, 16)
    code_jax.save_prior(tiny, tmp_path / "ours", format="orbax")
    loaded = code_jax.load_prior(folder), code_jax.load_prior(tmp_path / "ours"), tiny.with_precision("bfloat16")
    assert {prior_hash(prior) for prior in loaded} == {same}

    flat, tree = jax.tree.flatten(tiny.params)
    flat[0] = flat[0].at[(0,) * flat[0].ndim].add(1e-6)
    other_weight = tiny.replace(params=jax.tree.unflatten(tree, flat))
    other_schedule = tiny.replace(scaling=VariancePreserving(code_jax.cosine_schedule()))
    config = dataclasses.replace(tiny.function.network.config, norm_eps=1e-4)
    other_config = tiny.replace(function=NetworkOutput(UNet2DModel(config)))
    other_type = tiny.replace(scaling=VariancePreserving(tiny.schedule, "v_prediction"))
    others = [other_weight, other_schedule, other_config, other_type, tiny.replace(data_range=2.0)]
    assert len({same, *map(prior_hash, others)}) == 6


def test_the_hash_of_a_function_of_one_s_own():
    schedule = code_jax.linear_schedule()
    make = lambda scale: code_jax.Prior.from_function(_own, (np.float32(scale),), schedule, (8, 8, 3))  # noqa: E731
    assert prior_hash(make(1)) == prior_hash(make(1)) != prior_hash(make(2))


def _own(params, x, t):
    return x * params[0]
