import gc
import math
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import install_import_hook

import tests.typechecker  # noqa: F401, for the hook

# With CHECK_SHAPES every call of these rooms is held against its annotations, once it has returned, which takes a sixth longer.
CHECKED = ("diffusion", "editing", "metrics", "priors", "training", "pictures.arrays", "pictures.pil")
if os.environ.get("CHECK_SHAPES"):
    install_import_hook([f"code_jax.{room}" for room in CHECKED], "tests.typechecker.after_the_call")


def _compile_quickly(quickly):
    """Whether programs, of the processes that a test starts as well, are compiled with few optimizations: in half the time."""
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(int(quickly))
    jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", quickly)


_compile_quickly(True)

import code_jax  # noqa: E402
from code_jax import progress  # noqa: E402
from code_jax.models.config import UNet2DConfig  # noqa: E402
from code_jax.models.unet import UNet2DModel  # noqa: E402
from code_jax.priors.weights import expected_params  # noqa: E402


def tiny_prior(prediction_type="epsilon", **options):
    """A prior of a tiny network with random weights, on 8×8 pictures."""
    config = UNet2DConfig(
        **{
            "sample_size": (8, 8),
            "block_out_channels": (8, 16),
            "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
            "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
            "layers_per_block": 1,
            "norm_num_groups": 4,
        }
        | options
    )
    network = UNet2DModel(config)
    return code_jax.Prior.from_network(network, random_params(network), code_jax.linear_schedule(), prediction_type)


def random_params(network):
    """Kernels of variance 1 / fan-in, scales of one, biases of zero; by NumPy, for the network's own take long to compile."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        if leaf.ndim < 2:
            return jnp.full(leaf.shape, float(path[-1].key == "scale"))
        return jnp.asarray(rng.normal(0, math.prod(leaf.shape[:-1]) ** -0.5, leaf.shape), jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, expected_params(network))


ONE_LEVEL = {"block_out_channels": (8,), "down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",)}


@pytest.fixture(scope="session")
def tiny():
    return tiny_prior(**ONE_LEVEL)


@pytest.fixture(scope="session")
def tiny_folder(tiny, tmp_path_factory):
    """The tiny prior on disk, for a command line."""
    folder = tmp_path_factory.mktemp("prior") / "tiny"
    code_jax.save_prior(tiny, folder)
    return str(folder)


@pytest.fixture
def folder(tiny, tmp_path):
    """The tiny prior in a folder of the test's own, to be changed."""
    code_jax.save_prior(tiny, tmp_path / "prior")
    return tmp_path / "prior"


@pytest.fixture(scope="session", autouse=True)
def patient():
    """How long anything takes is the machine's affair: no line tells of it, but in tests of those lines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "_PATIENCE", 600.0)
        patch.setitem(progress._PAUSES, "plain", 600.0)
        yield


@pytest.fixture
def own_cache(tmp_path_factory, monkeypatch):
    """The session's own cache folder in place of the user's; commands run in this process leave JAX's setting as it was."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # each worker has a folder of its own, within the session's
        folder = folder.parent
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    yield
    jax.config.update("jax_compilation_cache_dir", None)


@pytest.fixture(scope="module", autouse=True)
def forgotten():
    """What was compiled for a module is given up after it: all of them would take gigabytes."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="module")
def optimized():
    """Programs are compiled as they are for people, with all optimizations: for what is about the compiler's work."""
    _compile_quickly(False)
    yield
    _compile_quickly(True)


@pytest.fixture
def heard():
    """Signals are heard, also where the tests run in the background or under nohup, which ignore some."""
    ways = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, way) for number, way in ways.items()}
    yield
    for number, way in before.items():
        signal.signal(number, way)


@pytest.fixture
def collected():
    """What a failed read of orbax leaves behind is collected within the test that is prepared for it."""
    yield
    gc.collect()
