import json

import jax
import numpy as np
import pytest
import safetensors.numpy

import code_jax
from checkpoints_convert.guided_diffusion import GuidedDiffusion, convert_guided_diffusion
from code_jax.cli.main import main
from code_jax.priors.read import to_prior
from tests.checkpoints_convert.networks import NETWORKS, SIZE, facts, inputs
from tests.models.architectures import weights

GOLDEN = "tests/checkpoints_convert/golden.npz"


@pytest.fixture
def golden(request):
    return np.load(request.config.rootpath / GOLDEN)


def state_of(golden, name):
    return weights({key: tuple(shape) for key, shape in json.loads(str(golden[f"{name}.shapes"])).items()})


def converted(state, **facts):
    return to_prior(convert_guided_diffusion(state, GuidedDiffusion(**facts)))


answer = jax.jit(lambda prior, x, t: prior.eps(x, t))


def assert_close(prior, expected):
    got = answer(prior, *inputs())
    assert float(np.abs(got - expected).max() / np.abs(expected).max()) <= 1e-5


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_equal_those_recorded_from_pytorch(name, golden):
    prior = converted(state_of(golden, name), **facts(NETWORKS[name]))
    assert prior.image_shape == (SIZE, SIZE, 3)
    assert_close(prior, golden[name])


@pytest.mark.parity
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_torch_save_converts_by_command_and_answers_as_pytorch(name, zipped, tmp_path):
    import torch

    from tests.checkpoints_convert.make_golden import reference

    expected, state = reference(NETWORKS[name])
    torch.save(state, tmp_path / "model.pt", _use_new_zipfile_serialization=zipped)
    options = [f"--{key.replace('_', '-')}={value}" for key, value in facts(NETWORKS[name]).items()]
    assert main(["convert", str(tmp_path / "model.pt"), str(tmp_path / "ours"), *options]) == 0
    assert_close(code_jax.load_prior(tmp_path / "ours"), expected)


@pytest.mark.parity
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "heads-of-two-sizes"])
def test_diffusers_reads_what_was_converted_and_agrees(name, golden, tmp_path):
    import torch
    from diffusers import UNet2DModel

    code_jax.save_prior(converted(state_of(golden, name), **facts(NETWORKS[name])), tmp_path / "there")
    network = UNet2DModel.from_pretrained(tmp_path / "there", subfolder="unet", use_safetensors=True)
    x, t = inputs()
    with torch.no_grad():
        output = network(torch.from_numpy(x).permute(0, 3, 1, 2), torch.from_numpy(t)).sample.permute(0, 2, 3, 1).numpy()
    assert np.abs(output - golden[name]).max() / np.abs(golden[name]).max() <= 1e-5


@pytest.mark.parity
def test_the_published_networks_are_recognized_at_their_size():
    """Shapes alone, in storages of one number: 554 M parameters with the conditional network's labels (paper, table 4)."""
    import torch

    from tests.checkpoints_convert.adm import ADM

    with torch.device("meta"):
        imagenet = ADM((256, 256, 512, 512, 1024, 1024), blocks=2, attention=(3, 4, 5))
        ffhq = ADM((128, 128, 256, 256, 512, 512), blocks=1, attention=(4,))
    assert round((sum(tensor.numel() for tensor in imagenet.parameters()) + 1000 * 1024) / 1e6) == 554
    state = {name: np.broadcast_to(np.float32(0), tuple(tensor.shape)) for name, tensor in ffhq.state_dict().items()}
    prior = converted(state, head_channels=64)
    dropped = 3 * (9 * 128 + 1)  # the learned variance's half of the last convolution
    assert sum(leaf.size for leaf in jax.tree.leaves(prior.params)) == sum(tensor.size for tensor in state.values()) - dropped
    assert prior.image_shape == (256, 256, 3) and prior.function.network.config.layers_per_block == 1


@pytest.mark.slow
def test_heads_of_two_sizes_are_kept_by_our_format_and_refused_for_diffusers(golden, tmp_path):
    state = state_of(golden, "heads-of-two-sizes")
    prior = converted(state, **facts(NETWORKS["heads-of-two-sizes"]))
    code_jax.save_prior(prior, tmp_path / "ours", format="orbax")
    assert_close(code_jax.load_prior(tmp_path / "ours"), golden["heads-of-two-sizes"])
    with pytest.raises(code_jax.UserError, match="heads of different sizes"):
        code_jax.save_prior(prior, tmp_path / "theirs")
    assert not list((tmp_path / "theirs").iterdir())
    with pytest.raises(AssertionError):  # what a guess of 64 channels would give
        assert_close(converted(state, image_size=SIZE, head_channels=64), golden["heads-of-two-sizes"])


def test_as_many_heads_of_one_size_are_the_same_network(golden):
    state = state_of(golden, "legacy")
    by_number, by_size = (converted(state, image_size=SIZE, **heads) for heads in ({"num_heads": 2}, {"head_channels": 64}))
    assert by_number.function == by_size.function


def test_heads_are_asked_for_and_not_guessed(golden, tmp_path, capsys):
    safetensors.numpy.save_file(state_of(golden, "legacy"), tmp_path / "model.safetensors")
    assert main(["convert", str(tmp_path / "model.safetensors"), str(tmp_path / "ours"), "--image-size=16"]) == 2
    error = capsys.readouterr().err
    assert "--head-channels" in error and "--num-heads" in error and error.count("\n") == 1
    assert not (tmp_path / "ours").exists()


def test_the_wrong_order_of_attention_is_another_network(golden):
    wrong = facts(NETWORKS["legacy"]) | {"attention_order": "new"}
    prior = converted(state_of(golden, "legacy"), **wrong)
    with pytest.raises(AssertionError):
        assert_close(prior, golden["legacy"])


def test_the_schedule_is_as_told(golden, tmp_path):
    safetensors.numpy.save_file(state_of(golden, "one-level"), tmp_path / "model.safetensors")
    for kind, expected in (("linear", code_jax.linear_schedule()), ("cosine", code_jax.cosine_schedule())):
        line = [
            "convert",
            str(tmp_path / "model.safetensors"),
            str(tmp_path / kind),
            "--image-size=16",
            "--head-channels=64",
            f"--noise-schedule={kind}",
        ]
        assert main(line) == 0
        schedule = code_jax.load_prior(tmp_path / kind).schedule
        np.testing.assert_allclose(schedule.log_sigma, expected.log_sigma, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "options", "named"),
    [
        ({"label_emb.weight": (10, 255)}, {}, r"class_embedding.weight is \[10, 255\], which does not fit \[10, 256\]"),
        ({"output_blocks.0.0.in_layers.0.weight": None}, {}, "no guided-diffusion weights"),
        ({"output_blocks.3.0.in_layers.0.weight": None}, {}, "do not form levels"),
        ({"input_blocks.1.0.in_layers.2.weight": None}, {}, r"missing down_blocks.0.resnets.0.conv1.weight"),
        ({"input_blocks.1.0.in_layers.2.bias": (65,)}, {}, r"conv1.bias is \[65\]"),
        ({"input_blocks.9.0.op.weight": (64, 64, 3, 3)}, {}, r"unexpected input_blocks.9.0.op.weight"),
        ({"out.2.weight": (5, 64, 3, 3)}, {}, "gives 5"),
        ({"out.2.weight": ()}, {}, "out.2.weight is of shape"),
        ({}, {"head_channels": 96}, "head_channels 96"),
        ({}, {"head_channels": 0}, "head_channels is 0"),
        ({}, {"num_heads": 2}, "both given"),
        ({}, {"attention_order": "newest"}, "newest"),
        ({}, {"noise_schedule": "sigmoid"}, "sigmoid"),
        ({}, {"image_size": -16}, "-16"),
        ({}, {"image_size": 15}, "15"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(change, options, named, golden, tmp_path, capsys):
    state = state_of(golden, "legacy") | {name: np.zeros(shape or (), np.float32) for name, shape in change.items()}
    for name, shape in change.items():
        if shape is None:
            del state[name]
    safetensors.numpy.save_file(state, tmp_path / "model.safetensors")
    options = {key.replace("_", "-"): value for key, value in ({"image_size": SIZE, "head_channels": 64} | options).items()}
    line = ["convert", str(tmp_path / "model.safetensors"), str(tmp_path / "ours")]
    assert main([*line, *(f"--{key}={value}" for key, value in options.items())]) == 2
    assert not (tmp_path / "ours").exists()
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    with pytest.raises(code_jax.UserError, match=named):
        raise code_jax.UserError(error)


def test_options_of_files_are_refused_for_folders(capsys):
    assert main(["convert", "eurosat-64", "nowhere", "--head-channels=64"]) == 2
    assert "--head-channels is told of a file of weights" in capsys.readouterr().err


def test_load_prior_says_what_to_do_with_a_file(golden, tmp_path):
    (tmp_path / "model.pt").write_bytes(b"")
    with pytest.raises(code_jax.UserError, match="is not a whole PyTorch file"):
        code_jax.load_prior(tmp_path / "model.pt")
    safetensors.numpy.save_file(
        {name: np.ascontiguousarray(tensor) for name, tensor in state_of(golden, "legacy").items()},
        tmp_path / "model.safetensors",
    )
    with pytest.raises(code_jax.UserError, match="state --head-channels"):
        code_jax.load_prior(tmp_path / "model.safetensors")
    assert_close(code_jax.load_prior(tmp_path / "model.safetensors", **facts(NETWORKS["legacy"])), golden["legacy"])
