"""What is cut, forged or hostile is refused before it is computed with; what is pickled is read as data."""

import copy
import json
import tracemalloc

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import code_jax
from checkpoints_convert.weights import DIFFUSERS
from code_jax.models.config import UNet2DConfig
from code_jax.priors.read import read_network
from code_jax.priors.scheduler import read_scheduler
from code_jax.priors.weights import expected_params
from tests.checkpoints_convert.test_convert import assert_same, edit_json
from tests.models.architectures import OPTIONS

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
    path = folder / "unet" / DIFFUSERS[0]
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
        ({"block_out_channels": [10**9]}, "block_out_channels is 1000000000"),
        ({"block_out_channels": [-64]}, "block_out_channels is -64"),
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
    (folder / "unet" / DIFFUSERS[0]).unlink()  # the config is refused before weights are looked for
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
        ('{"sample_size": ' + "9" * 4000 + "}", "a number has 4000 digits"),
        ("[]", "no JSON object"),
        ("NaN", "no JSON object"),
        (" " * (1 << 22) + " {}", "larger than"),
        ("\xff", "cannot be read"),
    ],
)
def test_json_itself_is_bounded(text, named, folder):
    (folder / "unet" / "config.json").write_text(text, encoding="latin-1")
    (folder / "unet" / DIFFUSERS[0]).unlink()  # the config is refused before weights are looked for
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
