"""What `code-jax priors` tells."""

import math
import socket

import jax
import pytest

import code_jax
from checkpoints_convert.checkpoint import FORMAT
from code_jax.cli.main import main
from code_jax.models.config import UNet2DConfig
from code_jax.models.unet import UNet2DModel
from code_jax.priors.catalogue import KNOWN, catalogue
from code_jax.priors.weights import expected_params
from tests.models.architectures import CELEBAHQ256, CIFAR10


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "code_jax" / "priors"


def test_the_known_priors_have_the_sizes_of_their_architectures():
    networks = {"32": CIFAR10, "256": CELEBAHQ256}
    counts = {
        side: sum(
            math.prod(leaf.shape) for leaf in jax.tree.leaves(expected_params(UNet2DModel(UNet2DConfig.from_diffusers(net))))
        )
        for side, net in networks.items()
    }
    assert len(KNOWN) == len({entry.name for entry in KNOWN}) == 9
    for entry in KNOWN:
        side = entry.name.rsplit("-", 1)[1]
        assert entry.parameters == counts[side] and entry.size == (int(side), int(side))


def test_bundled_cached_and_known_are_listed_without_a_network(cache, tiny, monkeypatch, capsys):
    def no_network(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    for name in ("google/ddpm-cat-256", "someone/of-their-own"):
        code_jax.save_prior(tiny, cache / f"{name.replace('/', '--')}--0123abcd--{FORMAT}", format="orbax")
    (cache / "someone--cut-short--4567--2").mkdir()
    listed = {entry.name: entry for entry in catalogue()}
    count = sum(leaf.size for leaf in jax.tree.leaves(code_jax.load_prior("eurosat-64").params))
    assert listed["eurosat-64"][1:] == ((64, 64), count, "MIT", "bundled")
    count = sum(leaf.size for leaf in jax.tree.leaves(tiny.params))
    assert listed["google/ddpm-cat-256"][1:] == ((8, 8), count, "Apache-2.0", "cached")
    assert listed["someone/of-their-own"][1:] == ((8, 8), count, None, "cached")
    assert listed["google/ddpm-ema-celebahq-256"].place == "hub" and len(listed) == 2 + 9 + 1

    assert main(["priors"]) == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert len(rows) == len(listed) and max(map(len, rows)) <= 80
    starts = [heading.index(word) for word in ("licence", "place")]
    shown = {row.split()[0]: (row[starts[0] : starts[1]].strip(), row[starts[1] :]) for row in rows}
    assert shown["someone/of-their-own"] == ("see its card", "cached")
    assert shown["google/ddpm-cifar10-32"] == ("Apache-2.0", "hub")
