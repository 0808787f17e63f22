import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import code_jax
from checkpoints_convert.checkpoint import _content_hash
from checkpoints_convert.weights import DIFFUSERS
from code_jax.cli.main import main
from code_jax.priors.weights import to_state_dict
from tests.conftest import tiny_prior


@pytest.fixture
def folder(tiny, tmp_path):
    code_jax.save_prior(tiny, tmp_path / "prior")
    return tmp_path / "prior"


def assert_same(got, expected):
    assert got.prediction_type == expected.prediction_type and got.image_shape == expected.image_shape
    np.testing.assert_allclose(got.schedule.log_sigma, expected.schedule.log_sigma, rtol=1e-5, atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, got.params, expected.params)


def edit_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def header(tensors):
    """A file of safetensors that holds no more than what it says of its tensors."""
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text


def seal(folder):
    """Gives a changed checkpoint the hash of what it holds now, as a forger would."""
    content = json.loads((folder / "prior.json").read_text())
    del content["sha256"]
    edit_json(folder / "prior.json", sha256=_content_hash(folder, content))


def test_diffusers_and_our_checkpoint_keep_every_bit(tiny, folder, tmp_path):
    assert_same(code_jax.load_prior(folder), tiny)
    code_jax.save_prior(tiny, tmp_path / "ours", format="orbax")
    assert_same(code_jax.load_prior(tmp_path / "ours"), tiny)
    assert main(["convert", str(folder), str(tmp_path / "converted")]) == 0
    assert_same(code_jax.load_prior(tmp_path / "converted"), tiny)
    assert main(["convert", str(tmp_path / "converted"), str(tmp_path / "back"), "--to", "diffusers"]) == 0
    assert_same(code_jax.load_prior(tmp_path / "back"), tiny)


def test_a_forgers_checkpoint_is_a_line_and_no_traceback_of_what_was_still_being_read(tiny, tmp_path, capfd):
    code_jax.save_prior(tiny, tmp_path / "ours", format="orbax")
    for path in (tmp_path / "ours" / "params").rglob("*"):
        if path.is_file() and path.parent.name == "d":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    seal(tmp_path / "ours")
    assert main(["convert", str(tmp_path / "ours"), str(tmp_path / "converted")]) == 2
    said = capfd.readouterr().err
    assert said.startswith("code-jax: error: the parameters in") and said.count("\n") == 1


def test_the_flat_layout_loads(tiny, folder, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in [*(folder / "unet").iterdir(), *(folder / "scheduler").iterdir()]:
        shutil.copy(path, flat)
    assert_same(code_jax.load_prior(flat), tiny)


def test_old_attention_names_load(tiny, folder):
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = to_state_dict(tiny.params)
    for new, name in old.items():
        state = {key.replace(f".{new}.", f".{name}."): tensor for key, tensor in state.items()}
    assert any(".proj_attn." in key for key in state) and not any(".to_q." in key for key in state)
    safetensors.numpy.save_file(state, folder / "unet" / DIFFUSERS[0])
    assert_same(code_jax.load_prior(folder), tiny)


def test_missing_extra_and_misshaped_tensors_are_listed(tiny, folder):
    state = to_state_dict(tiny.params)
    del state["conv_in.bias"]
    state["surprise.weight"] = np.zeros(3, np.float32)
    state["conv_out.weight"] = np.zeros((3, 8, 5, 5), np.float32)
    safetensors.numpy.save_file(state, folder / "unet" / DIFFUSERS[0])
    with pytest.raises(code_jax.UserError) as error:
        code_jax.load_prior(folder)
    for named in ("missing conv_in.bias", "unexpected surprise.weight", "conv_out.weight is [3, 8, 5, 5]"):
        assert named in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["v_prediction", "sample"])
def test_the_schedulers_prediction_type_is_honoured(kind, folder, tiny):
    edit_json(folder / "scheduler" / "scheduler_config.json", prediction_type=kind)
    prior = code_jax.load_prior(folder)
    x, t = jax.random.normal(jax.random.key(0), (2, 8, 8, 3)), jnp.array([100.0, 600.0])
    output = tiny.function(tiny.params, x, t)
    bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[[100, 600]].reshape(2, 1, 1, 1)
    signal, noise = np.sqrt(bar), np.sqrt(1 - bar)
    expected = {"v_prediction": signal * output + noise * x, "sample": (x - signal * output) / noise}
    np.testing.assert_allclose(prior.eps(x, t), expected[kind], atol=1e-4)


@pytest.mark.parametrize(
    ("break_it", "named"),
    [
        (lambda f: (f / "unet" / DIFFUSERS[0]).unlink(), "safetensors"),
        (
            lambda f: (f / "unet" / DIFFUSERS[0]).write_bytes((f / "unet" / DIFFUSERS[0]).read_bytes()[:1000]),
            "not a whole safetensors",
        ),
        (lambda f: (f / "scheduler" / "scheduler_config.json").unlink(), "scheduler_config.json"),
        (lambda f: (f / "unet" / "config.json").write_text("[" * 100_000), "cannot be read"),
        (lambda f: edit_json(f / "unet" / "config.json", block_out_channels=[10**9]), "1000000000"),
        (lambda f: edit_json(f / "unet" / "config.json", down_block_types=[["DownBlock2D"]]), "down_block_types"),
        (lambda f: (f / "unet" / DIFFUSERS[0]).write_bytes(header({"a": {"dtype": "x" * 100_000}})), "not a whole safetensors"),
        (lambda f: edit_json(f / "scheduler" / "scheduler_config.json", prediction_type="flow"), "flow"),
    ],
)
def test_a_broken_folder_is_one_clear_line(break_it, named, folder):
    break_it(folder)
    with pytest.raises(code_jax.UserError, match=named) as error:
        code_jax.load_prior(folder)
    assert "\n" not in str(error.value) and len(str(error.value)) <= 1000


def test_a_checkpoint_that_does_not_fit_its_description_is_refused(tiny, tmp_path):
    code_jax.save_prior(tiny, tmp_path / "ours", format="orbax")
    other = json.loads((tmp_path / "ours" / "prior.json").read_text())
    other["network"]["block_out_channels"] = [16]
    (tmp_path / "ours" / "prior.json").write_text(json.dumps(other))
    with pytest.raises(code_jax.UserError, match="does not have the hash"):
        code_jax.load_prior(tmp_path / "ours")
    seal(tmp_path / "ours")
    with pytest.raises(code_jax.UserError, match="do not fit the config"):
        code_jax.load_prior(tmp_path / "ours")
    with pytest.raises(code_jax.UserError, match="already"):
        code_jax.save_prior(tiny, tmp_path / "ours", format="orbax")


# The hub


@pytest.fixture
def hub(tiny, tmp_path, monkeypatch):
    """A hub cache as huggingface_hub lays it out, holding org/tiny in the flat layout; nothing else can be reached."""
    import huggingface_hub.constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--org--tiny"
    snapshot = repository / "snapshots" / commit
    code_jax.save_prior(tiny, tmp_path / "source")
    snapshot.mkdir(parents=True)
    for path in (*(tmp_path / "source" / "unet").iterdir(), *(tmp_path / "source" / "scheduler").iterdir()):
        shutil.copy(path, snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return snapshot


def test_a_hub_prior_is_converted_once_and_can_be_pinned(hub, tiny, monkeypatch):
    assert_same(code_jax.load_prior("org/tiny"), tiny)
    import checkpoints_convert.diffusers

    monkeypatch.setattr(checkpoints_convert.diffusers, "FOLDER", None)  # a second conversion would fail
    assert_same(code_jax.load_prior("org/tiny"), tiny)
    assert_same(code_jax.load_prior("org/tiny", revision=hub.name), tiny)


def test_offline_and_absent_says_what_to_do(hub):
    with pytest.raises(code_jax.UserError, match=r"org/other is not in the hub's cache .* go online once"):
        code_jax.load_prior("org/other")


def test_no_such_prior_lists_the_bundled_ones():
    with pytest.raises(code_jax.UserError, match="eurosat-64"):
        code_jax.load_prior("no such prior")
    with pytest.raises(code_jax.UserError, match="float8"):
        code_jax.load_prior("eurosat-64", precision="float8")


@pytest.mark.parity
def test_diffusers_reads_and_samples_what_was_exported(tmp_path):
    import torch
    from diffusers import DDPMPipeline

    prior = tiny_prior("v_prediction")
    code_jax.save_prior(prior, tmp_path / "prior")
    pipeline = DDPMPipeline.from_pretrained(tmp_path / "prior", use_safetensors=True)
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 3), np.float32)
    with torch.no_grad():
        theirs = pipeline.unet(torch.from_numpy(x).permute(0, 3, 1, 2), torch.tensor([3.0, 700.0])).sample
    ours = prior.function(prior.params, jnp.asarray(x), jnp.array([3.0, 700.0]))
    np.testing.assert_allclose(ours, theirs.permute(0, 2, 3, 1).numpy(), atol=1e-5)
    np.testing.assert_allclose(pipeline.scheduler.alphas_cumprod.numpy(), prior.schedule.alpha_bar(jnp.arange(1000.0)), rtol=2e-5)
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline(batch_size=2, num_inference_steps=5, output_type="np").images
    assert images.shape == (2, 8, 8, 3) and np.isfinite(images).all() and images.std() > 0


@pytest.mark.parametrize("there", ["params", "prior.json", "unet", "thesis.txt", ".hidden"])
@pytest.mark.parametrize("to", ["orbax", "diffusers"])
def test_convert_writes_to_no_folder_that_holds_something(there, to, tiny_folder, tmp_path, capsys):
    place = tmp_path / "dest" / there
    place.parent.mkdir()
    if "." in there:
        place.write_text("mine")
    else:
        place.mkdir()
        (place / "thesis.txt").write_text("mine")
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    assert main(["convert", tiny_folder, str(tmp_path / "dest"), "--to", to]) == 2
    assert there in capsys.readouterr().err
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("target", ["file", "dangling", "device"])
def test_convert_writes_to_nothing_that_is_no_folder(target, tiny_folder, tmp_path, capsys):
    place = tmp_path / "dest"
    if target == "file":
        place.write_text("mine")
    else:
        place.symlink_to("/dev/null" if target == "device" else tmp_path / "nowhere")
    assert main(["convert", tiny_folder, str(place)]) == 2
    assert "choose another name" in capsys.readouterr().err and not (tmp_path / "nowhere").exists()
