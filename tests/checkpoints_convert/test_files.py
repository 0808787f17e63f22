"""Files that the reference code wrote: recognized, read without running anything, and answering as the reference did."""

import pickle

import jax
import numpy as np
import pytest
import safetensors.numpy

import code_jax
from checkpoints_convert.recognize import read_file
from code_jax.models.networks import network_of
from code_jax.priors.scaling import read_scaling
from code_jax.priors.weights import from_state_dict
from tests.checkpoints_convert.layouts import LABELS, SIGMAS, images
from tests.recorded import EITHER, is_live


@pytest.fixture(scope="module", params=EITHER)
def folder(request, tmp_path_factory):
    """With the files as they lie here, or as the reference code writes them now."""
    if not is_live(request):
        return request.config.rootpath / "tests" / "checkpoints_convert"
    from tests.checkpoints_convert.make_files import write

    folder = tmp_path_factory.mktemp("files")
    write(folder)
    return folder


def eps(contents, z, sigma, labels=None):
    """ε of what a file holds."""
    network, scaling = network_of(contents.network), read_scaling(contents.scheduler)

    @jax.jit
    def answer(params, z, sigma):
        def call(x, noise, condition):
            return network.apply({"params": params}, x, noise, condition=condition)

        return scaling.eps(call, z, sigma, labels)

    return answer(from_state_dict(network, contents.state()), z, sigma)


@pytest.mark.parametrize("name", ["edm", "edm2"])
def test_a_pickle_of_nvlabs_denoises_as_its_code_does(name, folder):
    contents = read_file(folder / f"{name}.pkl")
    sigmas = SIGMAS[:, None, None, None]
    got = images(3) - sigmas * eps(contents, images(3), sigmas, LABELS)
    expected = np.load(folder / "files.npz")[name]
    error = np.abs(got - expected).max((1, 2, 3)) / np.abs(expected).max((1, 2, 3))
    assert float(error.max()) <= 1e-5, error
    assert contents.scheduler["sigma_data"] == 0.5
    assert name == "edm2" or contents.network["dropout"] == 0.13


def test_a_training_checkpoint_of_score_sde_gives_its_averaged_score(folder):
    contents = read_file(folder / "score_sde.pth", sde="ve", image_size=8)
    sigmas = SIGMAS[:, None, None, None]  # of images in [0, 1]
    got = eps(contents, 2 * images(3) - 1, 2 * sigmas)
    expected = -sigmas * np.load(folder / "files.npz")["score_sde"]
    error = np.abs(got - expected).max((1, 2, 3)) / np.abs(expected).max((1, 2, 3))
    assert float(error.max()) <= 1e-5, error


def test_safetensors_hold_the_same_network_but_not_its_scaling(folder, tmp_path):
    pickled = read_file(folder / "edm.pkl")
    state = {f"model.{name}": np.ascontiguousarray(tensor) for name, tensor in pickled.state().items()}
    safetensors.numpy.save_file(state, tmp_path / "edm.safetensors")
    contents = read_file(tmp_path / "edm.safetensors", precondition="EDMPrecond")
    told = {"dropout", "augment_dim"}  # by the pickle alone
    assert contents.network == {name: value for name, value in pickled.network.items() if name not in told}
    with pytest.raises(code_jax.UserError, match="state precondition, EDMPrecond"):
        read_file(tmp_path / "edm.safetensors")
    with pytest.raises(code_jax.UserError, match="image_size is no fact of EDM weights: only precondition can be told"):
        read_file(tmp_path / "edm.safetensors", image_size=8)


def test_edm2_of_latents_without_its_pickle_is_refused_and_never_one_of_pixels(folder, tmp_path):
    pixels = read_file(folder / "edm2.pkl").state()
    safetensors.numpy.save_file(pixels, tmp_path / "pixels.safetensors")
    assert read_file(tmp_path / "pixels.safetensors").network["img_channels"] == 3
    shapes = {"enc.8x8_conv.weight": (8, 5, 3, 3), "out_conv.weight": (4, 8, 3, 3)}  # one more in: that of the bias
    latents = pixels | {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    safetensors.numpy.save_file(latents, tmp_path / "latents.safetensors")
    with pytest.raises(code_jax.UserError, match=r"4 channels is one of latents, whose scale its pickle tells: give the \.pkl"):
        read_file(tmp_path / "latents.safetensors")


class Runs:
    """Would run a command if it were unpickled."""

    def __reduce__(self):
        return eval, ("print('ran')",)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"ema": Runs()}, "asks for 'builtins.eval'"),
        ({"net": 1}, "no averaged network"),
        ({"ema": {"class_name": "EDMPrecond"}}, "no averaged network"),
        ([], "no averaged network"),
    ],
)
def test_what_is_no_pickle_of_nvlabs_is_one_clear_line(content, named, tmp_path, capsys):
    (tmp_path / "network.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(code_jax.UserError, match=named) as error:
        read_file(tmp_path / "network.pkl")
    assert "\n" not in str(error.value) and "network.pkl" in str(error.value)
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["edm.pkl", "edm2.pkl", "score_sde.pth"])
def test_cut_and_changed_files_are_refused_in_one_line_and_never_crash(name, folder, tmp_path):
    whole = (folder / name).read_bytes()
    facts = {"image_size": 8} if name == "score_sde.pth" else {}
    damaged = [whole[: len(whole) * i // 4] for i in range(4)]
    random = np.random.default_rng(0)
    for _ in range(12):
        changed = bytearray(whole)
        changed[random.integers(len(whole))] ^= 1 << random.integers(8)
        damaged.append(bytes(changed))
    refused = 0
    for content in damaged:
        (tmp_path / name).write_bytes(content)
        try:
            contents = read_file(tmp_path / name, **facts)
            from_state_dict(network_of(contents.network), contents.state())
        except code_jax.UserError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused >= 4


def test_weights_of_no_known_format_are_named(tmp_path):
    safetensors.numpy.save_file({"layer.weight": np.zeros((2, 2), np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(code_jax.UserError, match=r"other.safetensors: these are weights of no known format"):
        read_file(tmp_path / "other.safetensors")
