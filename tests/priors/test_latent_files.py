"""Latent priors from files: pipelines, pickles with a codec, what is measured, and what is missing or mixed."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import code_jax
from code_jax.cli.main import main
from code_jax.models.networks import network_of
from code_jax.priors.hash import prior_hash
from tests.models.architectures import weights
from tests.models.networks import CLIP, CODECS, params
from tests.priors.folders import LINEAR, codec_folder, index, pipeline, save, state_of
from tests.priors.trajectories import LDM, TEXT


def pictures(*shape):
    return 0.8 * jax.random.uniform(jax.random.key(3), shape, minval=-1)


DIT = {
    "_class_name": "DiTTransformer2DModel", "num_attention_heads": 2, "attention_head_dim": 8, "in_channels": 4,
    "out_channels": 8, "num_layers": 2, "sample_size": 4, "patch_size": 2, "num_embeds_ada_norm": 5,
    "activation_fn": "gelu-approximate", "norm_type": "ada_norm_zero",
}  # fmt: skip


def dit_state():
    """The names of diffusers' class; every block has the embeddings of the first."""

    def linear(name, out, into):
        return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}

    shapes = {"pos_embed.proj.weight": (16, 4, 2, 2), "pos_embed.proj.bias": (16,)}
    shapes |= linear("proj_out_1", 32, 16) | linear("proj_out_2", 32, 16)
    embeddings = linear("timestep_embedder.linear_1", 16, 256) | linear("timestep_embedder.linear_2", 16, 16)
    embeddings |= {"class_embedder.embedding_table.weight": (6, 16)}
    for i in range(2):
        block = f"transformer_blocks.{i}"
        shapes |= linear(f"{block}.norm1.linear", 96, 16)
        for part, out, into in (("ff.net.0.proj", 64, 16), ("ff.net.2", 16, 64), *((f"attn1.{n}", 16, 16) for n in ATTENTION)):
            shapes |= linear(f"{block}.{part}", out, into)
    state = weights(shapes)
    shared = weights(embeddings)
    return state | {f"transformer_blocks.{i}.norm1.emb.{name}": tensor for i in range(2) for name, tensor in shared.items()}


ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


def ldm(root, folder):
    pipeline(folder, LDM, LINEAR, state_of(LDM))
    codec_folder(folder / "vqvae", "vq", "VQModel")
    return index(folder, unet="UNet2DModel", vqvae="VQModel", scheduler="DDIMScheduler"), {}


def dit(root, folder):
    pipeline(folder, DIT, {"_class_name": "DDIMScheduler", "beta_schedule": "linear"}, dit_state(), "transformer")
    codec_folder(folder / "vae", "kl", "AutoencoderKL")
    return index(folder, transformer="DiTTransformer2DModel", vae="AutoencoderKL", scheduler="DDIMScheduler"), {}


def stable_diffusion(root, folder):
    state = state_of(TEXT)
    del state["empty_prompt"]
    pipeline(folder, TEXT, LINEAR, state)
    codec_folder(folder / "vae", "kl", "AutoencoderKL")
    (folder / "text_encoder").mkdir()
    (folder / "tokenizer").mkdir()
    (folder / "text_encoder" / "config.json").write_text(json.dumps(CLIP | {"architectures": ["CLIPTextModel"]}))
    clip = {f"text_model.{name}": tensor for name, tensor in state_of(CLIP | {"_class_name": "CLIPTextModel"}).items()}
    save(clip, folder / "text_encoder" / "model.safetensors")
    return index(folder, unet="UNet2DConditionModel", vae="AutoencoderKL", text_encoder="CLIPTextModel",
                 tokenizer="CLIPTokenizer", safety_checker="Checker", scheduler="PNDMScheduler"), {}  # fmt: skip


def edm2(root, folder):
    folder.mkdir()
    codec = codec_folder(folder / "codec", "kl", "AutoencoderKL")
    return root / "tests/checkpoints_convert/edm2-latent.pkl", {"codec": str(codec)}


LATENT = {
    "ldm": (ldm, (8, 8, 3), 0, None),
    "dit": (dit, (8, 8, 3), 5, 5),
    "stable-diffusion": (stable_diffusion, (8, 8, 3), 0, None),
    "edm2": (edm2, (16, 16, 3), 5, None),
}


@pytest.mark.parametrize("name", LATENT)
@pytest.mark.slow
def test_a_latent_pipeline_becomes_a_restored_picture_and_a_folder(name, request, tmp_path, own_cache, capsys):
    make, shape, classes, null = LATENT[name]
    path, facts = make(request.config.rootpath, tmp_path / "given")
    prior = code_jax.load_prior(path, **facts)
    assert (prior.image_shape, prior.classes, prior.null_class, prior.data_range) == (shape, classes, null, np.inf)

    (tmp_path / "clean").mkdir()
    for i in range(3):
        picture = Image.fromarray(np.random.default_rng(i).integers(0, 256, (20, 24, 3), np.uint8))
        picture.save(tmp_path / "clean" / f"{i}.png")
    told = [f"--{fact}={value}" for fact, value in facts.items()]
    assert main(["convert", str(path), str(tmp_path / "ours"), "--measure", str(tmp_path / "clean"), *told]) == 0
    said = capsys.readouterr().out
    assert "the latents of 3 pictures lie within" in said and "codec: PSNR" in said
    again = code_jax.load_prior(tmp_path / "ours")
    assert np.shape(again.data_range) == again.codec.latent_shape[-1:] and np.all(np.isfinite(again.data_range))
    assert prior_hash(again) != prior_hash(prior) == prior_hash(again.replace(data_range=np.inf))
    jax.tree.map(np.testing.assert_array_equal, again.codec.params, prior.codec.params)

    label = ["--label", "3", *(["--guidance", "2"] if null else [])] if classes else []
    Image.fromarray(np.full((20, 24), 255, np.uint8)).save(tmp_path / "mask.png")
    line = ["restore", str(tmp_path / "clean"), "--prior", str(tmp_path / "ours"), "--ode-steps", "2", "--langevin-steps", "1"]
    assert main([*line, *label, "--out", str(tmp_path / "out"), "--mask", str(tmp_path / "mask.png")]) == 0
    assert main([*line, *label, "--out", str(tmp_path / "tiled"), "--fit", "tile"]) == 0
    assert "codec: PSNR of what it alone gives back, mean of 3" in capsys.readouterr().out
    for folder, size in (("out", shape[1::-1]), ("tiled", (24, 20))):
        told = [json.loads(text) for text in (tmp_path / folder / "manifest.jsonl").read_text().splitlines()]
        assert [each["status"] for each in told] == ["done"] * 3 and all(0 < each["psnr_codec"] < 60 for each in told)
        assert {each["nfe"] for each in told} == {(2 + 1 + 2 + 1) * (2 if null else 1)}
        with Image.open(tmp_path / folder / "0.png") as picture:
            assert picture.size == size
    if not classes:
        return
    assert main([*line, "--out", str(tmp_path / "new"), "--label", "5"]) == 2
    assert "label 5 is none of the prior's; they are from 0 to 4" in capsys.readouterr().err
    assert main([*line, "--out", str(tmp_path / "new"), "--guidance", "2"]) == 2
    assert ("no --label is given" if null else "knows no picture without a class") in capsys.readouterr().err
    assert main([*line, "--out", str(tmp_path / "new"), "--label", "none"]) == (0 if null else 2)


def test_the_text_of_stable_diffusion_is_the_empty_prompt(request, tmp_path):
    """Its embedding by CLIP's encoder, made once, is a parameter."""
    path, _ = stable_diffusion(request.config.rootpath, tmp_path / "sd")
    prior = code_jax.load_prior(path)
    clip = network_of(CLIP | {"_class_name": "CLIPTextModel"})
    expected = clip.apply({"params": params(clip)}, clip.config.empty_prompt())[0]
    np.testing.assert_allclose(prior.params["empty_prompt"], expected, atol=1e-5)
    z = pictures(1, 4, 4, 4)
    np.testing.assert_allclose(prior.eps_at(z, 1.0), prior.eps_at(z, 1.0, expected[None]), atol=1e-5)
    (path / "tokenizer" / "special_tokens_map.json").write_text(json.dumps({"pad_token": "!"}))
    with pytest.raises(code_jax.UserError, match="fills a prompt with '!'"):
        code_jax.load_prior(path)


def test_a_prompt_may_be_read_from_a_file_in_place_of_its_encoder(request, tmp_path, capsys):
    path, _ = stable_diffusion(request.config.rootpath, tmp_path / "sd")
    empty = code_jax.load_prior(path)
    prompt = weights({"prompt": (1, TEXT["prompt_tokens"], TEXT["cross_attention_dim"])})
    file = save(prompt, tmp_path / "prompt.safetensors")
    assert main(["convert", str(path), str(tmp_path / "ours"), "--prompt", str(file)]) == 0
    shutil.rmtree(path / "text_encoder")
    for prior in (code_jax.load_prior(path, prompt=file), code_jax.load_prior(tmp_path / "ours")):
        np.testing.assert_array_equal(prior.params["empty_prompt"], prompt["prompt"][0])
        assert prior_hash(prior) != prior_hash(empty)
        z = pictures(1, 4, 4, 4)
        np.testing.assert_allclose(prior.eps_at(z, 1.0), empty.eps_at(z, 1.0, prompt["prompt"]), atol=1e-5)
    capsys.readouterr()
    small = save({"prompt": np.zeros((3, 5), np.float32)}, tmp_path / "small.safetensors")
    for source, given, named in (
        (path, small, "holds 1 tensors ([3, 5]); a prompt's embedding is one of [9, 12]"),
        (path, tmp_path / "nowhere.safetensors", "nowhere.safetensors' with a prompt's embedding"),
        ("eurosat-64", file, "is for a network that looks at a text, which this one does not"),
    ):
        assert main(["convert", str(source), str(tmp_path / "new"), "--prompt", str(given)]) == 2
        error = capsys.readouterr().err
        assert named in error and error.count("\n") == 1 and not (tmp_path / "new").exists()


def test_a_vq_codec_may_leave_its_codebook_out(request, tmp_path):
    path, _ = ldm(request.config.rootpath, tmp_path / "ldm")
    prior = code_jax.load_prior(path)
    assert prior.codec.network.config.scaling_factor == 1.0  # older than the option
    config = json.loads((path / "vqvae" / "config.json").read_text())
    (path / "vqvae" / "config.json").write_text(json.dumps(config | {"quantize": False}))
    plain, z = code_jax.load_prior(path), pictures(1, 4, 4, 2)
    table = np.asarray(prior.codec.params["quantize"]["embedding"]["kernel"]).T
    nearest = table[np.argmin(((z[..., None, :] - table) ** 2).sum(-1), axis=-1)]
    np.testing.assert_allclose(prior.codec.decode(z), plain.codec.decode(jnp.asarray(nearest)), atol=1e-5)
    assert float(jnp.abs(prior.codec.decode(z) - plain.codec.decode(z)).max()) > 1e-3


def test_what_is_missing_mixed_or_not_whole_is_one_line(request, tmp_path, capsys):
    whole, _ = ldm(request.config.rootpath, tmp_path / "whole")

    def broken(name, change):
        folder = tmp_path / name
        shutil.copytree(whole, folder)
        change(folder)
        with pytest.raises(code_jax.UserError) as error:
            code_jax.load_prior(folder)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "lacks the part vqvae" in broken("half", lambda f: shutil.rmtree(f / "vqvae"))
    assert "neither diffusion_pytorch_model" in broken("cut", lambda f: next((f / "vqvae").glob("*.safetensors")).unlink())
    config = CODECS["kl"] | {"_class_name": "VQModel"}
    assert "latents of 3 channels, and the network takes 2" in broken(
        "mixed", lambda f: (f / "vqvae" / "config.json").write_text(json.dumps(config))
    )
    (tmp_path / "whole" / "text_encoder").mkdir()
    with pytest.raises(code_jax.UserError, match="looks at no text, and there is a text_encoder"):
        code_jax.load_prior(whole)
    text, _ = stable_diffusion(request.config.rootpath, tmp_path / "sd")
    shutil.rmtree(text / "text_encoder")
    (text / "model_index.json").unlink()
    with pytest.raises(code_jax.UserError, match="looks at a text, and there is no text_encoder"):
        code_jax.load_prior(text)
    lone = pipeline(tmp_path / "lone", DIT, {"beta_schedule": "linear"}, dit_state(), "transformer")
    with pytest.raises(code_jax.UserError, match="one of latents, and there is no autoencoder"):
        code_jax.load_prior(lone)
    pickle = request.config.rootpath / "tests/checkpoints_convert/edm2-latent.pkl"
    with pytest.raises(code_jax.UserError, match="give their codec, of which it says 'stabilityai/sd-vae-ft-mse'"):
        code_jax.load_prior(pickle)
    assert main(["convert", "eurosat-64", str(tmp_path / "new"), "--measure", str(tmp_path)]) == 2
    assert "this one is of pixels" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("make", [ldm, dit, stable_diffusion])
def test_without_any_of_its_files_or_with_half_of_one_a_pipeline_is_one_line(make, request, tmp_path):
    whole, _ = make(request.config.rootpath, tmp_path / "whole")
    for file in sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file()):
        for half in (False, True):
            folder = tmp_path / f"{file.parent.name}-{file.name}-{half}"
            shutil.copytree(whole, folder)
            content = (folder / file).read_bytes()
            (folder / file).unlink()
            if half:
                (folder / file).write_bytes(content[: len(content) // 2])
            elif file.name == "model_index.json":
                continue  # what it says can be told from the folders
            with pytest.raises(code_jax.UserError) as error:
                code_jax.load_prior(folder)
            assert "\n" not in str(error.value) and len(str(error.value)) < 1500, file


def test_a_text_encoder_of_another_model_is_one_line(request, tmp_path):
    path, _ = stable_diffusion(request.config.rootpath, tmp_path / "sd")
    other = CLIP | {"hidden_size": 15, "num_attention_heads": 3, "architectures": ["CLIPTextModel"]}
    (path / "text_encoder" / "config.json").write_text(json.dumps(other))
    state = state_of({name: other[name] for name in CLIP} | {"_class_name": "CLIPTextModel"})
    save({f"text_model.{name}": tensor for name, tensor in state.items()}, path / "text_encoder" / "model.safetensors")
    with pytest.raises(code_jax.UserError, match=r"empty_prompt is \[9, 15\], which does not fit \[9, 12\]"):
        code_jax.load_prior(path)
