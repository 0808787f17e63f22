"""What `code-jax priors` tells."""

import math
import socket

import jax
import pytest

import code_jax
from checkpoints_convert.checkpoint import FORMAT
from code_jax.cli.main import main
from code_jax.models.config import UNet2DConfig
from code_jax.models.networks import network_of
from code_jax.models.text_unet import UNet2DConditionModel
from code_jax.models.unet import UNet2DModel
from code_jax.priors.catalogue import KNOWN, catalogue
from code_jax.priors.weights import expected_params
from tests.checkpoints_convert.published import contents_of, published
from tests.models.architectures import CELEBAHQ256, CIFAR10


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "code_jax" / "priors"


CHECKPOINTS = {  # of the known priors, by what their names begin with
    "google/ncsnpp": ["google/ncsnpp-celebahq-256"],
    "CompVis/ldm": ["CompVis/ldm-celebahq-256 unet", "CompVis/ldm-celebahq-256 vqvae"],
    "CompVis/stable": ["stable-diffusion-v1 unet", "stable-diffusion-v1 vae"],
    "facebook/DiT-XL-2-256": ["DiT-XL-2-256x256", "stable-diffusion-v1 vae"],
    "facebook/DiT-XL-2-512": ["DiT-XL-2-512x512", "stable-diffusion-v1 vae"],
    "256x256": ["256x256_diffusion_uncond"],
    "64x64": ["64x64_diffusion"],
    "edm-ffhq": ["edm-ffhq-64x64-uncond-vp"],
    "edm-imagenet": ["edm-imagenet-64x64-cond-adm"],
    "edm2-img64": ["edm2-img64-s"],
    "edm2-img512": ["edm2-img512-s", "stable-diffusion-v1 vae"],
}


def _count(contents):
    """Parameters of what a converter makes of a checkpoint; a learned variance is half of the last convolution."""
    network, state = network_of(contents.network), contents.state()
    variance = isinstance(network, UNet2DModel) and network.config.out_channels != network.config.in_channels
    count = sum(tensor.size // (2 if variance and name.startswith("conv_out") else 1) for name, tensor in state.items())
    return count + (77 * 768 if isinstance(network, UNet2DConditionModel) else 0)  # the empty prompt's embedding


def test_the_known_priors_have_the_sizes_of_their_checkpoints():
    entries, published_ones = {entry.name: entry for entry in KNOWN}, published()
    assert len(KNOWN) == len(entries) == 23
    for side, config in ((32, CIFAR10), (256, CELEBAHQ256)):
        shapes = jax.tree.leaves(expected_params(UNet2DModel(UNet2DConfig.from_diffusers(config))))
        for entry in (entry for name, entry in entries.items() if name.startswith("google/ddpm") and name.endswith(f"-{side}")):
            assert (entry.parameters, entry.size) == (sum(math.prod(leaf.shape) for leaf in shapes), (side, side))
    for begins, names in CHECKPOINTS.items():
        parts = [contents_of(published_ones[name]) for name in names]
        _, height, width, _ = network_of(parts[0].network).inputs["x"].shape
        factor = network_of(parts[1].network).config.factor if len(parts) == 2 else 1
        expected = sum(map(_count, parts)), (factor * height, factor * width)
        found = {(entry.parameters, entry.size) for name, entry in entries.items() if name.startswith(begins)}
        assert found == {expected}, begins


def test_bundled_cached_and_known_are_listed_without_a_network(cache, tiny, monkeypatch, capsys):
    def no_network(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    for name in ("google/ddpm-cat-256", "someone/of-their-own"):
        code_jax.save_prior(tiny, cache / f"{name.replace('/', '--')}--0123abcd--{FORMAT}", format="orbax")
    (cache / "someone--cut-short--4567--2").mkdir()
    listed = {entry.name: entry for entry in catalogue()}
    count = sum(leaf.size for leaf in jax.tree.leaves(code_jax.load_prior("eurosat-64").params))
    assert listed["eurosat-64"][:4] == ("eurosat-64", "satellite", (64, 64), count)
    assert listed["eurosat-64"][-2:] == ("MIT", "bundled")
    count = sum(leaf.size for leaf in jax.tree.leaves(tiny.params))
    assert listed["google/ddpm-cat-256"][1:4] == ("cats", (8, 8), count)
    assert listed["google/ddpm-cat-256"][-2:] == ("Apache-2.0", "cached")
    assert listed["someone/of-their-own"][1:] == (None, (8, 8), count, None, None, None, "cached")
    assert listed["google/ddpm-ema-celebahq-256"].place == "hub" and len(listed) == 2 + len(KNOWN) + 1

    assert main(["priors"]) == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert max(map(len, [heading, *rows])) <= 82
    shown = {row.split()[0]: row.split() for row in rows if row.startswith("  ")}
    assert shown.keys() == {entry.name for entry in listed.values()}
    assert shown["someone/of-their-own"][1:3] == ["?", "8x8"] and shown["someone/of-their-own"][-1] == "?"
    assert shown["google/ddpm-cifar10-32"][-1] == "Apache-2.0"
    assert listed["google/ddpm-church-256"].seconds == (1.36, True) and shown["google/ddpm-church-256"][4:6] == ["1.4", "s"]
    assert shown["google/ddpm-cifar10-32"][4:6] == ["~32", "ms"]  # 10.8 of 465 GFLOP, of 1.36 s
    for entry in KNOWN:
        weights, (memory, time) = 4 * listed[entry.name].parameters / 1e6, shown[entry.name][3:5]
        assert float(time.removeprefix("~")) > 0 and (memory == "?" or float(memory) > weights)
