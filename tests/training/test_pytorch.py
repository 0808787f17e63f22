"""The recipe here and in PyTorch: one loss per noise level from one set of weights and noise, one Muon, one kind of folder."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import code_jax
from code_jax.training.recipe import Recipe, find_recipe
from code_jax.training.step import loss, optimizer
from code_jax.training.validation import SIGMAS, losses_by_level
from tests.conftest import tiny_prior

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def script():
    pytest.importorskip("torch")
    from tests.benchmarks import train_pictures_torch

    return train_pictures_torch


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A small network with attention in the deepest level, in a recipe of the kind that `pictures` is."""
    path = tmp_path_factory.mktemp("config") / "tiny.json"
    recipe = {"optimizer": "muon", "hold": 0.5, "lower_half": 0.85, "batch_size": 4, "steps": 6, "warmup": 1}
    path.write_text(json.dumps({"network": tiny_prior().function.network.config.to_diffusers(), "recipe": recipe}))
    return path


@pytest.fixture(scope="module")
def trained(script, config, tmp_path_factory):
    """Six steps in two sittings, and the folder that they left."""
    data, out = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("torch")
    for i in range(4):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (20, 24, 3)).astype(np.uint8)).save(data / f"{i}.png")
    run(script, ["--data", f"{data}:patches=1,2", "--out", str(out), "--config", str(config), "--seconds", "0"])
    run(script, ["--data", f"{data}:patches=1,2", "--out", str(out), "--config", str(config)])
    return out


def run(script, words, processes=1):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script.os, "nice", lambda by: 0)
        patch.setattr(sys, "argv", ["train_pictures_torch", *words, "--processes", str(processes)])
        script.main()


def test_two_processes_train_what_one_trains(script, config, tmp_path):
    """Pictures, noise and Muon's matrices are shared out; losses and weights of three steps are one process's to rounding."""
    import torch

    (tmp_path / "data").mkdir()
    for i in range(2):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (20, 24, 3)).astype(np.uint8)).save(
            tmp_path / "data" / f"{i}.png"
        )
    states = []
    for processes in (1, 2):
        out = tmp_path / str(processes)
        words = ["--data", f"{tmp_path / 'data'}:patches=1", "--out", str(out), "--config", str(config), "--steps", "3"]
        run(script, words, processes)
        states.append(torch.load(out / "state.pt", weights_only=True))
    one, two = states
    assert one["step"] == two["step"] == 3
    for name, weight in one["network"].items():
        np.testing.assert_allclose(weight, two["network"][name], rtol=1e-3, atol=1e-5, err_msg=name)
    losses = [float((tmp_path / str(n) / "losses.csv").read_text().split(",")[3]) for n in (1, 2)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_both_give_the_same_loss_per_noise_level(script, config, trained):
    import torch

    training = script.Training(trained, find_recipe(str(config))[0].to_diffusers(), find_recipe(str(config))[1])
    assert training.step == 6
    training.network.load_state_dict(training.average)
    prior = code_jax.load_prior(trained / "prior")
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (16, 8, 8, 3)).astype(np.uint8)
    noise = rng.standard_normal(pictures.shape).astype(np.float32)
    ours = losses_by_level(prior, pictures, noise)
    x0, n = script.as_torch(pictures), torch.from_numpy(noise).permute(0, 3, 1, 2)
    for sigma, found in zip(SIGMAS, ours.T, strict=True):
        t = torch.full((16,), float(prior.schedule.t_of_sigma(sigma)))
        with torch.no_grad():
            theirs = script.v_losses(training.network, x0, n, t, torch.full((16,), 1 / (1 + sigma**2)))
        np.testing.assert_allclose(found, theirs.numpy(), rtol=2e-3)


def test_both_give_the_same_loss_and_gradient_in_training(script, config, trained):
    """At whole timesteps, where `train_step` and the script draw them."""
    import torch

    training = script.Training(trained, find_recipe(str(config))[0].to_diffusers(), find_recipe(str(config))[1])
    training.network.load_state_dict(training.average)
    prior = code_jax.load_prior(trained / "prior")
    rng = np.random.default_rng(1)
    pictures, t = rng.integers(0, 256, (6, 8, 8, 3)).astype(np.uint8), np.array([0, 10, 200, 499, 500, 999])
    noise = rng.standard_normal(pictures.shape).astype(np.float32)
    x0, n = script.as_torch(pictures), torch.from_numpy(noise).permute(0, 3, 1, 2)
    theirs = script.v_losses(training.network, x0, n, torch.from_numpy(t), script.alpha_bars()[t])
    theirs.mean().backward()

    def mean(params):
        losses = loss(prior.function, Recipe(), params, prior.schedule, code_jax.from_uint8(pictures), jnp.float32(t), noise)
        return losses.mean(), losses

    gradient, losses = jax.jit(jax.grad(mean, has_aux=True))(prior.params)
    np.testing.assert_allclose(losses, theirs.detach().numpy(), rtol=1e-3)
    expected = training.network.conv_in.weight.grad.permute(2, 3, 1, 0).numpy()
    np.testing.assert_allclose(gradient["conv_in"]["kernel"], expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_muon_moves_alike_after_its_first_steps(script):
    """A convolution, a hundred steps of the same gradients: optax's mean has the direction of the script's sum."""
    import torch

    transform = optimizer(Recipe(optimizer="muon", clip_norm=1e9, weight_decay=0.01))
    weight = torch.nn.Parameter(torch.zeros(6, 4, 3, 3))
    muon, params = script.Muon({"w": weight}, 0.01), {"mid": {"kernel": jnp.zeros((3, 3, 4, 6))}}
    state, update, rng = transform.init(params), jax.jit(transform.update), np.random.default_rng(0)
    for _ in range(100):
        gradient = rng.standard_normal((3, 3, 4, 6)).astype(np.float32)
        before, weight.grad = weight.detach().clone(), torch.from_numpy(gradient).permute(3, 2, 0, 1).contiguous()
        muon.step(1e-3)
        updates, state = update({"mid": {"kernel": jnp.asarray(gradient)}}, state, params)
        params = jax.tree.map(lambda w, u: w - 1e-3 * u, params, updates)
    theirs = (before - weight.detach()).permute(2, 3, 1, 0).numpy() / 1e-3
    np.testing.assert_allclose(updates["mid"]["kernel"], theirs, atol=0.02)


def test_its_folder_says_at_which_scales_it_knows_patches(trained):
    assert json.loads((trained / "prior" / "unet" / "config.json").read_text())["_patches"] == [1, 2]
    assert len((trained / "losses.csv").read_text().splitlines()) == 2
