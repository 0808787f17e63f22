import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import code_jax
from code_jax.metrics import load_lpips, lpips, lpips_from_state_dicts
from code_jax.metrics.weights import Published, read_published
from tests.metrics.networks import NETS, backbone_state, images, linear_state

GOLDEN = "tests/metrics/golden.npz"


@pytest.fixture(scope="module", params=NETS)
def network(request):
    return lpips_from_state_dicts(request.param, backbone_state(request.param), linear_state(request.param))


def test_distances_equal_those_recorded_from_lpips(network, request):
    expected = np.load(request.config.rootpath / GOLDEN)[f"lpips-{network.net}"]
    np.testing.assert_allclose(lpips(network, images(64, 64), images(64, 64, seed=1)), expected, rtol=1e-5)


@pytest.mark.parity
@pytest.mark.parametrize("size", [(32, 32), (96, 51)])
def test_distances_equal_those_of_pytorch_in_float64(network, size):
    from tests.metrics.torch_networks import lpips_values

    a, b = images(*size, count=3, seed=2), images(*size, count=3, seed=3)
    expected = lpips_values(network.net, backbone_state(network.net), linear_state(network.net), a, 0.9 * a + 0.1 * b)
    np.testing.assert_allclose(lpips(network, a, 0.9 * a + 0.1 * b), expected, rtol=1e-5)


def test_it_is_symmetric_and_zero_for_equal_images(network):
    a, b = images(32, 32), images(32, 32, seed=1)
    assert float(jnp.max(lpips(network, a, a))) < 1e-12  # a picture's place in the batch may round otherwise
    np.testing.assert_allclose(lpips(network, a, b), lpips(network, b, a), rtol=1e-5)


def test_images_of_another_kind_are_refused(network):
    for shape, named in (((1, 32, 32, 1), "1 channels"), ((1, 31, 40, 3), "31x40")):
        with pytest.raises(code_jax.UserError, match=named):
            lpips(network, np.zeros(shape), np.zeros(shape))


def test_weights_that_do_not_fit_are_named():
    backbone, linear = backbone_state("alex"), linear_state("alex")
    more = {"classifier.1.weight": np.zeros((4, 4))}  # torchvision's own head is no mistake
    lpips_from_state_dicts("alex", backbone | more, linear)
    wrong = {"features.0.bias": np.zeros(3), "features.1.bias": np.zeros(3)}
    for given, named in (
        ((backbone | wrong, linear), r"features\.0\.bias is \[3\], not \[64\]"),
        ((backbone | wrong, linear), r"unexpected features\.1\.bias"),
        ((backbone, linear_state("vgg")), r"lin1\.model\.1\.weight is"),
        ((backbone_state("vgg"), linear), r"missing features\.3\.weight.*and 20 more"),
        (({name: backbone[name] for name in backbone if "10" not in name}, linear), r"missing features\.10\.weight"),
    ):
        with pytest.raises(code_jax.UserError, match=named):
            lpips_from_state_dicts("alex", *given)


@pytest.mark.parametrize("call", [load_lpips, lambda net: lpips_from_state_dicts(net, {}, {})])
def test_an_unknown_net_is_refused(call):
    with pytest.raises(code_jax.UserError, match=r"'squeeze'.*alex, vgg"):
        call("squeeze")


@pytest.mark.parametrize(("net", "name"), [("alex", "alexnet-owt-7be5be79.pth"), ("vgg", "vgg16-397923af.pth")])
def test_absent_weights_are_one_line_that_says_what_to_fetch(net, name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(code_jax.UserError) as raised:
        load_lpips(net)
    message = str(raised.value)
    assert "\n" not in message
    assert str(tmp_path / "code_jax" / "weights" / name) in message and "absent" in message


def test_only_the_pinned_file_is_read(tmp_path):
    (tmp_path / "alexnet-owt-7be5be79.pth").write_bytes(b"anything")
    with pytest.raises(code_jax.UserError, match=hashlib.sha256(b"anything").hexdigest()):
        load_lpips("alex", tmp_path)


def test_a_pinned_file_is_read_whole_or_refused(tmp_path):
    linear, path = linear_state("alex"), tmp_path / "linear.safetensors"
    safetensors.numpy.save_file(linear, path)
    file = Published("LPIPS", path.name, hashlib.sha256(path.read_bytes()).hexdigest(), "nowhere")
    read = read_published(file, tmp_path)
    assert read.keys() == linear.keys()
    for name, values in linear.items():
        np.testing.assert_array_equal(read[name], values)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(code_jax.UserError, match="not a whole safetensors file"):
        read_published(file._replace(sha256=hashlib.sha256(path.read_bytes()).hexdigest()), tmp_path)


@pytest.mark.parity
@pytest.mark.parametrize("older_format", [False, True])
def test_pytorchs_own_files_are_read(older_format, tmp_path):
    import torch

    state, path = backbone_state("alex"), tmp_path / "alexnet.pth"
    tensors = {name: torch.from_numpy(values) for name, values in state.items()}
    torch.save(tensors, path, _use_new_zipfile_serialization=not older_format)
    read = read_published(Published("LPIPS", path.name, hashlib.sha256(path.read_bytes()).hexdigest(), "nowhere"), tmp_path)
    assert read.keys() == state.keys()
    for name, values in state.items():
        np.testing.assert_array_equal(read[name], values)


def test_weights_are_arguments_and_not_constants(network):
    a, b = images(32, 32), images(32, 32, seed=1)
    halved = network.replace(linear=jax.tree.map(lambda weights: weights / 2, network.linear))
    np.testing.assert_allclose(jax.jit(lpips)(halved, a, b), lpips(network, a, b) / 2, rtol=1e-5)
