"""Writes layouts.npz (what the reference code answers) and published.json.gz (names and shapes of published checkpoints).

Run as ``REFERENCES=folder python -m tests.checkpoints_convert.make_layouts``; see `tests.reference_code` for the commits.
"""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path

import numpy as np
import torch

from tests.checkpoints_convert.layouts import (
    ADM,
    DHARIWAL,
    LABELS,
    ODD_SKIP_BLOCKS,
    SCORE_SDE,
    SIGMAS,
    SKIP_BLOCKS,
    TIMES,
    images,
)  # fmt: skip
from tests.models.architectures import weights
from tests.models.make_golden_networks import nchw, nhwc
from tests.reference_code import ConfigDict, load

FOLDER = Path(__file__).parent
_SCORE_SDE = {
    "nf": 16, "ch_mult": (1, 2, 2), "num_res_blocks": 1, "attn_resolutions": (4,), "dropout": 0.1, "resamp_with_conv": True,
    "conditional": True, "fir": True, "fir_kernel": [1, 3, 3, 1], "skip_rescale": True, "resblock_type": "biggan",
    "progressive": "none", "progressive_input": "none", "progressive_combine": "sum", "embedding_type": "fourier",
    "init_scale": 0.0,
    "fourier_scale": 16, "scale_by_sigma": True, "nonlinearity": "swish", "sigma_min": 0.01, "sigma_max": 50, "num_scales": 1000,
}  # fmt: skip


def weighted(network: torch.nn.Module) -> torch.nn.Module:
    """Weights of the names; noise levels and filters stay."""
    state = network.eval().state_dict()
    named = weights(
        {name: tuple(tensor.shape) for name, tensor in state.items() if not name.endswith(("sigmas", "resample_filter"))}
    )
    network.load_state_dict(state | {name: torch.from_numpy(np.asarray(values)) for name, values in named.items()})
    return network


def shapes(network: torch.nn.Module) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in network.state_dict().items()}


def score_sde(options: dict) -> torch.nn.Module:
    """NCSN++ of a config's options."""
    model, data = ConfigDict(_SCORE_SDE | options), ConfigDict(image_size=8, num_channels=options.get("num_channels", 3))
    data.centered = options.get("centered", False)
    config = ConfigDict(model=model, data=data, training=ConfigDict(continuous=True))
    return load("score_sde_pytorch", "models.ncsnpp").NCSNpp(config)


def skip_blocks(config: dict) -> torch.nn.Module:
    """NCSN++ as diffusers has it."""
    from diffusers import UNet2DModel

    return UNet2DModel(**{key: value for key, value in config.items() if not key.startswith("_")})


@functools.cache
@torch.no_grad()
def answers() -> dict[str, np.ndarray]:
    """For every layout its names and shapes, and its network's answers at eight noise levels."""
    golden: dict[str, np.ndarray] = {}
    sigmas, times, labels = torch.from_numpy(SIGMAS), torch.from_numpy(TIMES), torch.from_numpy(LABELS)

    def add(name: str, made: torch.nn.Module, channels: int, *conditions: torch.Tensor | None) -> None:
        network = weighted(made)
        answer = network(nchw(images(channels)), *conditions)
        golden[name] = nhwc(answer if isinstance(answer, torch.Tensor) else answer.sample)
        golden[f"{name}.shapes"] = np.array(json.dumps(shapes(network)))

    for name, (_, options) in SCORE_SDE.items():
        add(name, score_sde(options), options.get("num_channels", 3), times if options.get("embedding_type") else sigmas)
    for name, config in (("skip-blocks", SKIP_BLOCKS), ("odd-skip-blocks", ODD_SKIP_BLOCKS)):
        add(name, skip_blocks(config), config["in_channels"], sigmas)
    for name, options in DHARIWAL.items():
        network = load("edm", "training.networks").DhariwalUNet(**options)
        one_hot = torch.nn.functional.one_hot(labels, 5).float() if "label_dim" in options else None
        add(name, network, options["in_channels"], times, one_hot)
    for name, (_, options) in ADM.items():
        network = load("guided-diffusion", "guided_diffusion.unet").UNetModel(**options)
        add(name, network, options["in_channels"], times, *([labels] if "num_classes" in options else []))
    return golden


def published() -> dict[str, dict]:
    """Names and shapes of each published checkpoint at its size, by its name."""
    found = _score_sde_checkpoints()
    with torch.device("meta"):
        return found | _edm_checkpoints() | _edm2_checkpoints() | _others()


def _score_sde_checkpoints() -> dict[str, dict]:
    found = {}
    for sde, names in {
        "ve": ("bedroom_ncsnpp_continuous", "church_ncsnpp_continuous", "celebahq_256_ncsnpp_continuous",
               "ffhq_256_ncsnpp_continuous", "celebahq_ncsnpp_continuous", "ffhq_ncsnpp_continuous", "cifar10_ncsnpp_continuous",
               "cifar10_ncsnpp_deep_continuous"),
        "vp": ("cifar10_ddpmpp_continuous", "cifar10_ddpmpp_deep_continuous", "cifar10_ncsnpp_continuous"),
        "subvp": ("cifar10_ddpmpp_continuous", "cifar10_ddpmpp_deep_continuous", "cifar10_ncsnpp_continuous"),
    }.items():  # fmt: skip
        for name in names:
            config = load("score_sde_pytorch", f"configs.{sde}.{name}").get_config()
            network = load("score_sde_pytorch", "models.ncsnpp").NCSNpp(config)
            facts = {"sde": "sub-vp" if sde == "subvp" else sde, "image_size": config.data.image_size}
            found[f"score_sde {sde}/{name}"] = {"format": "score_sde", "facts": facts, "shapes": shapes(network)}
    return found


def _edm_checkpoints() -> dict[str, dict]:
    """As train.py sets them up for the published runs: cifar10 and imagenet with its defaults, the rest with --cbase=128."""
    networks = load("edm", "training.networks")
    arch = {
        "vp": {"embedding_type": "positional", "encoder_type": "standard", "channel_mult_noise": 1, "resample_filter": [1, 1]},
        "ve": {"embedding_type": "fourier", "encoder_type": "residual", "channel_mult_noise": 2, "resample_filter": [1, 3, 3, 1]},
    }
    found = {}
    for data, size, classes, levels in (
        ("cifar10-32x32-uncond", 32, 0, [2, 2, 2]),
        ("cifar10-32x32-cond", 32, 10, [2, 2, 2]),
        ("ffhq-64x64-uncond", 64, 0, [1, 2, 2, 2]),
        ("afhqv2-64x64-uncond", 64, 0, [1, 2, 2, 2]),
    ):
        for kind, options in arch.items():
            network = networks.EDMPrecond(
                size, 3, classes, model_type="SongUNet", augment_dim=9, model_channels=128, channel_mult=levels, **options
            )
            found[f"edm-{data}-{kind}"] = {"format": "edm", "precondition": "EDMPrecond", "shapes": shapes(network)}
    network = networks.EDMPrecond(64, 3, 1000, model_type="DhariwalUNet", model_channels=192, channel_mult=[1, 2, 3, 4])
    found["edm-imagenet-64x64-cond-adm"] = {"format": "edm", "precondition": "EDMPrecond", "shapes": shapes(network)}
    return found


def _edm2_checkpoints() -> dict[str, dict]:
    networks, sizes = load("edm2", "training.networks_edm2"), {"xs": 128, "s": 192, "m": 256, "l": 320, "xl": 384, "xxl": 448}
    found = {}
    for name, channels, classes, widths in (
        ("img512", 4, 1000, sizes),
        ("img512-uncond", 4, 0, {"xs": 128}),
        ("img64", 3, 1000, sizes),
    ):
        for size, width in widths.items():
            if (name, size) != ("img64", "xxl"):
                network = networks.Precond(64, channels, classes, model_channels=width)
                found[f"edm2-{name}-{size}"] = {"format": "edm", "precondition": "Precond", "shapes": shapes(network)}
    return found


def _others() -> dict[str, dict]:
    import diffusers
    from transformers import CLIPTextConfig, CLIPTextModel

    found = {}
    for size in (256, 512):
        network = load("DiT", "models").DiT(size // 8, 2, 4, 1152, 28, 16)
        found[f"DiT-XL-2-{size}x{size}"] = {"format": "dit", "shapes": shapes(network)}
    for name, size, widths, attending, layers in (
        ("celebahq-256", 256, [128, 128, *[256] * 5], 4, 2),
        ("ffhq-1024", 1024, [16, 32, 64, 128, 256, *[512] * 3], 6, 1),
    ):
        kinds = ["AttnSkip" if level == attending else "Skip" for level in range(len(widths))]
        config = SKIP_BLOCKS | {
            "sample_size": size, "block_out_channels": widths, "layers_per_block": layers,
            "down_block_types": [f"{kind}DownBlock2D" for kind in kinds],
            "up_block_types": [f"{kind}UpBlock2D" for kind in reversed(kinds)],
        }  # fmt: skip
        found[f"google/ncsnpp-{name}"] = {
            "format": "diffusers", "config": config, "shapes": shapes(skip_blocks(config)),
            "scheduler": {"_class_name": "ScoreSdeVeScheduler", "sigma_min": 0.01, "sigma_max": 1348},
        }  # fmt: skip
    found |= unets()
    vae = {
        "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "latent_channels": 4, "sample_size": 512,
        "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
    }  # fmt: skip
    found["stable-diffusion-v1 vae"] = {
        "format": "AutoencoderKL",
        "config": vae,
        "shapes": shapes(diffusers.AutoencoderKL(**vae)),
    }
    vq = {
        "block_out_channels": [128, 256, 512], "layers_per_block": 2, "latent_channels": 3, "num_vq_embeddings": 8192,
        "sample_size": 256,
        "down_block_types": ["DownEncoderBlock2D"] * 3, "up_block_types": ["UpDecoderBlock2D"] * 3,
    }  # fmt: skip
    found["CompVis/ldm-celebahq-256 vqvae"] = {"format": "VQModel", "config": vq, "shapes": shapes(diffusers.VQModel(**vq))}
    clip = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12}
    network = CLIPTextModel(CLIPTextConfig(**clip))
    found["stable-diffusion-v1 text_encoder"] = {"format": "CLIPTextModel", "config": clip, "shapes": shapes(network)}
    return found | _adm_checkpoints()


def unets() -> dict[str, dict]:
    """The networks of latents that diffusers has."""
    import diffusers

    found = {}
    for name, kind, config, scheduler in (
        (
            "CompVis/ldm-celebahq-256 unet", diffusers.UNet2DModel, {"sample_size": 64, "attention_head_dim": 32},
            {"beta_schedule": "scaled_linear", "beta_start": 0.0015, "beta_end": 0.0195},
        ),
        (
            "stable-diffusion-v1 unet", diffusers.UNet2DConditionModel, {"sample_size": 64, "cross_attention_dim": 768},
            {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
        ),
    ):  # fmt: skip
        with torch.device("meta"):
            network = kind(**config)
        own = {key: list(value) if isinstance(value, tuple) else value for key, value in network.config.items()}
        plain = {key: value for key, value in own.items() if not key.startswith("_")} | {"_class_name": kind.__name__}
        found[name] = {"format": "diffusers", "config": plain, "scheduler": scheduler, "shapes": shapes(network)}
    return found


def _adm_checkpoints() -> dict[str, dict]:
    """The flags of guided-diffusion's README; attention_resolutions 32, 16, 8 everywhere."""
    script = load("guided-diffusion", "guided_diffusion.script_util")
    found = {}
    for name, size, width, blocks, classes in (
        ("64x64_diffusion", 64, 192, 3, True),
        ("128x128_diffusion", 128, 256, 2, True),
        ("256x256_diffusion", 256, 256, 2, True),
        ("256x256_diffusion_uncond", 256, 256, 2, False),
        ("512x512_diffusion", 512, 256, 2, True),
        ("512x512_diffusion_uncond", 512, 256, 2, False),  # as it is fine-tuned without classes
    ):
        heads = {"num_heads": 4} if size == 128 else {"num_head_channels": 64}
        network = script.create_model(
            size, width, blocks, learn_sigma=True, class_cond=classes, attention_resolutions="32,16,8", use_scale_shift_norm=True,
            resblock_updown=True, use_new_attention_order=size == 64, **heads,
        )  # fmt: skip
        facts = {"image_size": size, "attention_order": "new" if size == 64 else "legacy"}
        facts |= {"num_heads": 4} if size == 128 else {"head_channels": 64}
        found[name] = {"format": "guided_diffusion", "facts": facts, "shapes": shapes(network)}
    return found


if __name__ == "__main__":
    np.savez_compressed(FOLDER / "layouts.npz", **answers())
    text = json.dumps(published(), separators=(",", ":")).encode()
    (FOLDER / "published.json.gz").write_bytes(gzip.compress(text, mtime=0))
