import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from code_jax.cli.main import main
from tests import oracles

FAST = ("--ode-steps", "2", "--langevin-steps", "2", "--batch-size", "4")


def exact_prior():
    """A prior of 8×8 pictures with an exact score, which compiles in no time."""
    return oracles.gaussian(jnp.full((8, 8, 3), 0.1), jnp.float32(0.4))


@pytest.fixture
def restore(monkeypatch, own_cache):
    """Runs the command with a prior of one's own, in this process; returns its exit status."""

    def run(*argv, prior=None):
        prior = prior or exact_prior()
        monkeypatch.setattr("code_jax.priors.load.load_prior", lambda name, **options: prior)
        return main(["restore", *map(str, argv), *FAST])

    return run


@pytest.fixture
def pictures(tmp_path):
    """A folder of ten pictures of several sizes."""
    return make_pictures(tmp_path / "in", 10)


def make_pictures(folder, count):
    folder.mkdir()
    for i in range(count):
        pixels = np.random.default_rng(i).integers(0, 256, (8 + i % 3, 8 + i % 5, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"p{i:02}.png")
    return folder
