"""Every format of checkpoints from its file to a restored picture, by the command line, and as a folder of ours and back."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

import code_jax
from code_jax.cli.main import main
from code_jax.priors.hash import prior_hash
from tests.checkpoints_convert.layouts import ADM, SKIP_BLOCKS
from tests.models.architectures import weights
from tests.models.networks import SONG
from tests.priors.folders import FILES, pipeline, save, shapes_of, state_of
from tests.priors.trajectories import PLAIN


def diffusers(network, scheduler):
    return lambda root, tmp: (pipeline(tmp / "pipeline", network, scheduler, state_of(network)), {})


def skip_blocks(root, tmp):
    scheduler = {"_class_name": "ScoreSdeVeScheduler", "sigma_min": 0.01, "sigma_max": 1348}
    return pipeline(tmp / "pipeline", SKIP_BLOCKS, scheduler, weights(shapes_of(root, "skip-blocks"))), {}


def guided_diffusion(root, tmp):
    state = weights(shapes_of(root, "adm-classes"))
    return save(state, tmp / "adm.safetensors"), ADM["adm-classes"][0]


def named(name, **facts):
    return lambda root, tmp: (root / FILES / name, facts)


# What is at a path, with the facts that it does not tell; its network and scaling, the label that it wants, and σ's range.
FORMATS = {
    "edm.pkl": (named("edm.pkl"), ("SongUNet", "Preconditioned"), 3, (0.002, 80)),
    "edm2.pkl": (named("edm2.pkl"), ("EDM2UNet", "Preconditioned"), 4, (0.002, 80)),
    "score_sde.pth": (named("score_sde.pth", image_size=8), ("SongUNet", "VarianceExploding"), None, (0.02, 100)),
    "guided-diffusion": (guided_diffusion, ("UNet2DModel", "VariancePreserving"), 0, (0.01, 157.4)),
    "ncsnpp": (skip_blocks, ("SongUNet", "VarianceExploding"), None, (0.02, 2696)),
    "score-sde-vp": (
        diffusers(PLAIN, {"_class_name": "ScoreSdeVpScheduler", "beta_min": 0.1, "beta_max": 20}),
        ("UNet2DModel", "LinearSDE"), None, (0.0105, 152.2),
    ),
    "flow": (
        diffusers(PLAIN, {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}),
        ("UNet2DModel", "FlowMatching"), None, (0.001001, 999),
    ),
    "edm-scheduler": (
        diffusers(PLAIN | {"num_class_embeds": 6}, {"_class_name": "EDMEulerScheduler", "sigma_data": 0.4}),
        ("UNet2DModel", "Preconditioned"), 5, (0.002, 80),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_becomes_a_restored_picture_and_a_folder_of_the_same_prior(name, request, tmp_path, own_cache, capsys):
    make, (network, scaling), label, sigmas = FORMATS[name]
    path, facts = make(request.config.rootpath, tmp_path)
    prior = code_jax.load_prior(path, **facts)
    assert type(prior.function.network).__name__ == network and type(prior.scaling).__name__ == scaling
    assert tuple(map(float, prior.sigma_range)) == pytest.approx(sigmas, rel=2e-2) and prior.image_shape == (8, 8, 3)
    assert (label is None) == (prior.classes == 0) and prior.null_class is None

    options = [f"--{key.replace('_', '-')}={value}" for key, value in facts.items()]
    assert main(["convert", str(path), str(tmp_path / "ours"), *options]) == 0
    again = code_jax.load_prior(tmp_path / "ours")
    assert prior_hash(again) == prior_hash(prior) and again.function == prior.function
    jax.tree.map(np.testing.assert_array_equal, again.params, prior.params)

    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / "picture.png")
    of_label = [] if label is None else ["--label", str(label)]
    source = str(tmp_path / "ours") if facts else str(path)
    line = ["restore", str(tmp_path / "picture.png"), "--out", str(tmp_path / "out"), "--prior", source, "--ode-steps", "3"]
    assert main([*line, *of_label]) == 0
    (told,) = map(json.loads, (tmp_path / "out" / "manifest.jsonl").read_text().splitlines())
    assert told["status"] == "done" and told["prior_hash"] == prior_hash(prior) and told["settings"].get("label") == label
    with Image.open(tmp_path / "out" / "picture.png") as picture:
        assert picture.size == (8, 8)
    capsys.readouterr()
    if label is not None:
        assert main([*line[:3], str(tmp_path / "none"), *line[4:]]) == 2
        assert f"give a label from 0 to {prior.classes - 1}" in capsys.readouterr().err


def test_what_a_file_does_not_tell_is_asked_for(request, tmp_path, capsys):
    folder = request.config.rootpath / FILES
    with pytest.raises(code_jax.UserError, match="do not tell the size of their images: state image_size"):
        code_jax.load_prior(folder / "score_sde.pth")
    with pytest.raises(code_jax.UserError, match=r"sde vp does not go with these weights, .* Fourier features"):
        code_jax.load_prior(folder / "score_sde.pth", image_size=8, sde="vp")
    with pytest.raises(code_jax.UserError, match="image_size is no fact of NVlabs' pickles: only codec can be told"):
        code_jax.load_prior(folder / "edm.pkl", image_size=8)
    with pytest.raises(code_jax.UserError, match=r"there is no file nowhere\.pkl"):
        code_jax.load_prior("nowhere.pkl", image_size=8)
    assert main(["convert", str(folder / "score_sde.pth"), str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err.count("\n") == 1 and not (tmp_path / "new").exists()


def test_files_of_two_models_are_refused(tmp_path):
    exploding = {"_class_name": "ScoreSdeVeScheduler"}
    for folder, network, scheduler in (
        (tmp_path / "a", PLAIN, exploding),
        (tmp_path / "b", SKIP_BLOCKS, {"_class_name": "DDPMScheduler"}),
    ):
        with pytest.raises(code_jax.UserError, match="files of two models"):
            code_jax.load_prior(pipeline(folder, network, scheduler, {"x": np.zeros(1, np.float32)}))
    mixed = pipeline(tmp_path / "c", PLAIN, {"beta_schedule": "linear"}, state_of({"_class_name": "SongUNet"} | SONG["ddpmpp"]))
    with pytest.raises(code_jax.UserError, match=r"the weights do not fit the config: missing .*") as error:
        code_jax.load_prior(mixed)
    assert len(str(error.value)) < 1500


@pytest.mark.parametrize(
    ("scheduler", "named"),
    [
        ({"_class_name": "EDMEulerScheduler", "prediction_type": "v_prediction"}, "prediction_type 'v_prediction'"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": True}, "use_dynamic_shifting True"),
        ({"_class_name": "KarrasVeScheduler"}, "KarrasVeScheduler"),
    ],
)
def test_schedulers_that_are_not_supported_are_refused_by_name(scheduler, named, tmp_path):
    with pytest.raises(code_jax.UserError, match=named):
        code_jax.load_prior(pipeline(tmp_path / "p", PLAIN, scheduler, {"x": np.zeros(1, np.float32)}))


def test_a_prior_that_diffusers_has_no_pipeline_for_is_refused_for_it(request, tmp_path):
    prior = code_jax.load_prior(request.config.rootpath / FILES / "edm.pkl")
    with pytest.raises(code_jax.UserError, match=r"no pipeline for this prior \('SongUNet'\): write it with --to orbax"):
        code_jax.save_prior(prior, tmp_path / "new")
    assert not any((tmp_path / "new").iterdir())
