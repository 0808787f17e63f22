"""Pictures to latents and back in 20 steps each, as the reference code's networks do it (`make_trajectories`)."""

import numpy as np
import pytest

import code_jax
from code_jax.models.networks import network_of
from code_jax.priors.weights import expected_shapes
from tests.models.architectures import weights
from tests.models.networks import DIT
from tests.priors.folders import FILES, LINEAR, codec_folder, index, pipeline, save, shapes_of, state_of
from tests.priors.trajectories import LABELS, LDM, PLAIN, SIGMA, STEPS, TEXT, images_of
from tests.recorded import EITHER, answers


def reference_layout(name, **facts):
    return lambda root, tmp: (save(weights(shapes_of(root, name)), tmp / "weights.safetensors"), facts)


def ncsnpp(root, tmp):
    from tests.checkpoints_convert.layouts import SKIP_BLOCKS

    scheduler = {"_class_name": "ScoreSdeVeScheduler", "sigma_min": 0.01, "sigma_max": 1348}
    return pipeline(tmp / "ncsnpp", SKIP_BLOCKS, scheduler, weights(shapes_of(root, "skip-blocks"))), {}


def dit(root, tmp):
    codec = codec_folder(tmp / "vae", "kl", "AutoencoderKL")
    state = weights(expected_shapes(network_of({"_class_name": "DiT"} | DIT["dit"])))
    return save(state, tmp / "dit.safetensors"), {"num_heads": 3, "codec": str(codec)}


def ldm(root, tmp):
    pipeline(tmp / "ldm", LDM, LINEAR, state_of(LDM))
    codec_folder(tmp / "ldm" / "vqvae", "vq", "VQModel")
    return index(tmp / "ldm", unet="UNet2DModel", vqvae="VQModel"), {}


def text(root, tmp):
    """As one of our folders, which has the embedding of the empty prompt."""
    from checkpoints_convert.checkpoint import write_checkpoint
    from checkpoints_convert.contents import Contents
    from checkpoints_convert.latent import read_codec

    (tmp / "text").mkdir()
    codec = read_codec(codec_folder(tmp / "vae", "kl", "AutoencoderKL"))
    write_checkpoint(Contents(TEXT, LINEAR, lambda: state_of(TEXT), codec), tmp / "text")
    return tmp / "text", {}


def flow(root, tmp):
    return pipeline(tmp / "flow", PLAIN, {"_class_name": "FlowMatchEulerDiscreteScheduler"}, state_of(PLAIN)), {}


KINDS = {
    "edm": lambda root, tmp: (root / FILES / "edm.pkl", {}),
    "edm2": lambda root, tmp: (root / FILES / "edm2.pkl", {}),
    "score-sde-ve": lambda root, tmp: (root / FILES / "score_sde.pth", {"image_size": 8}),
    "ncsnpp": ncsnpp,
    "score-sde-vp": reference_layout("vp", image_size=8, sde="vp"),
    "guided-diffusion": reference_layout("adm-classes", image_size=8, head_channels=32),
    "flow": flow,
    "dit": dit,
    "ldm": ldm,
    "text": text,
}


@pytest.fixture(params=EITHER)
def golden(request):
    return answers(request, "tests/priors/trajectories.npz", "tests.priors.make_trajectories")


@pytest.mark.parametrize("name", KINDS)
def test_there_and_back_as_the_reference_goes(name, request, golden, tmp_path):
    path, facts = KINDS[name](request.config.rootpath, tmp_path)
    prior, images = code_jax.load_prior(path, **facts), images_of(name)
    along = {"sigma": SIGMA, "num_steps": STEPS, "grid": "geometric", "condition": LABELS if prior.classes else None}
    x_t = code_jax.encode(prior, images, **along)
    for got, expected in ((x_t, golden[f"{name}.latents"]), (code_jax.decode(prior, x_t, **along), golden[name])):
        assert float(np.abs(got - expected).max() / np.abs(expected).max()) <= 1e-4
