"""Writes edm.pkl, edm2.pkl, edm2-latent.pkl and score_sde.pth, as the reference code writes them, and files.npz.

Run as ``REFERENCES=folder python -m tests.checkpoints_convert.make_files``. In place of the reference's source code, which its
pickles hold as a string, there is a line. files.npz holds what the networks in the files answer.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch

from tests.checkpoints_convert.layouts import LABELS, SIGMAS, images
from tests.checkpoints_convert.make_layouts import score_sde, weighted
from tests.models.make_golden_networks import nchw, nhwc
from tests.reference_code import load, load_all

FOLDER = Path(__file__).parent
_SONG = {"model_channels": 8, "channel_mult": [1], "num_blocks": 1, "attn_resolutions": [], "dropout": 0.13, "augment_dim": 9}
_EDM2 = {"model_channels": 8, "channel_mult": [1], "num_blocks": 1, "attn_resolutions": [], "channels_per_head": 4}


@torch.no_grad()
def write(folder: Path) -> None:
    """Writes the files to a folder."""
    golden, x, sigmas = {}, nchw(images(3)), torch.from_numpy(SIGMAS)
    labels = torch.nn.functional.one_hot(torch.from_numpy(LABELS), 5).float()

    networks = load("edm", "training.networks")
    network = weighted(networks.EDMPrecond(8, 3, 5, model_type="SongUNet", **_SONG)).requires_grad_(False)
    content = {"ema": network, "loss_fn": None, "augment_pipe": None, "dataset_kwargs": {"path": "data"}}
    (folder / "edm.pkl").write_bytes(pickle.dumps(content))
    golden["edm"] = nhwc(network(x, sigmas, labels))

    networks, encoders, dnnlib = load_all("edm2", "training.networks_edm2", "training.encoders", "dnnlib")
    network = weighted(networks.Precond(8, 3, 5, **_EDM2)).requires_grad_(False).half().float()
    golden["edm2"] = nhwc(network(x, sigmas, labels))
    latent = weighted(networks.Precond(8, 4, 5, **_EDM2)).requires_grad_(False)
    for name, encoder, ema in (
        ("edm2", encoders.StandardRGBEncoder(), network),
        ("edm2-latent", encoders.StabilityVAEEncoder(), latent),
    ):
        content = dnnlib.EasyDict(encoder=encoder, dataset_kwargs=None, loss_fn=None, ema=ema.half())
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(content))

    network = weighted(score_sde({"nf": 8, "ch_mult": (1,), "attn_resolutions": (), "progressive_input": "none"}))
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    training = {f"module.{name}": torch.zeros_like(tensor) for name, tensor in network.state_dict().items()}
    training |= {name: tensor for name, tensor in ((f"module.{n}", t) for n, t in network.state_dict().items()) if ".W" in name}
    training["module.sigmas"] = network.sigmas
    average = {"decay": 0.999, "num_updates": 7, "shadow_params": [parameter.detach() for parameter in learned]}
    optimizer = torch.optim.Adam(network.parameters()).state_dict()
    torch.save({"optimizer": optimizer, "model": training, "ema": average, "step": 7}, folder / "score_sde.pth")
    golden["score_sde"] = nhwc(network(x, sigmas))
    np.savez_compressed(folder / "files.npz", **golden)


if __name__ == "__main__":
    write(FOLDER)
