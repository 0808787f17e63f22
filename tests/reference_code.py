"""The reference repositories' own networks: for the scripts that record what they answer, and tests where it answers live.

REFERENCES in the environment is a folder with clones of the repositories below at the commits below, which
``python -m tests.reference_code FOLDER`` makes; then ``pytest -m parity`` asks them. What they import and do not
need for a forward pass on a CPU is replaced: ml_collections' dictionary, the fused CUDA operations of score_sde_pytorch, timm's
three layers (as its version 0.9 computes them).
"""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
import types
from pathlib import Path
from unittest import mock

import torch
import torch.nn.functional as F
from torch import nn

COMMITS = {  # by owner and name on github.com
    "yang-song/score_sde_pytorch": "cb1f359f4aadf0ff9a5e122fe8fffc9451fd6e44",
    "NVlabs/edm": "008a4e5316c8e3bfe61a62f874bddba254295afb",
    "NVlabs/edm2": "4bf8162f601bcc09472ce8a32dd0cbe8889dc8fc",
    "facebookresearch/DiT": "ed81ce2229091fd4ecc9a223645f95cf379d582b",
    "openai/guided-diffusion": "22e0df8183507e13a7813f8d38d51b072ca1e67c",
}
_THEIRS = ("models", "training", "torch_utils", "dnnlib", "configs", "sde_lib", "guided_diffusion")


def load(repository: str, module: str) -> types.ModuleType:
    """A module of a repository."""
    return load_all(repository, module)[0]


def load_all(repository: str, *modules: str) -> list[types.ModuleType]:
    """Modules of a repository, whose own imports find that repository first.

    In the pickles that NVlabs' objects make of themselves, a line stands in place of their source code.
    """
    root = Path(os.environ["REFERENCES"]) / repository
    for name in [name for name in sys.modules if name.split(".")[0] in _THEIRS]:
        del sys.modules[name]
    stubs = _stubs(root)
    sys.modules.update(stubs)
    try:
        with mock.patch.object(sys, "path", [str(root), *sys.path]):
            if (root / "torch_utils").is_dir():
                importlib.import_module("torch_utils.persistence")._module_to_src = lambda module: "# source code"
            return [importlib.import_module(module) for module in modules]
    finally:
        for name in stubs:
            del sys.modules[name]


def clone(folder: Path) -> None:
    """Clones the repositories, each at its commit."""
    for name, commit in COMMITS.items():
        place = folder / name.split("/")[1]
        subprocess.run(["git", "clone", "--quiet", f"https://github.com/{name}", place], check=True)
        subprocess.run(["git", "-C", place, "checkout", "--quiet", commit], check=True)


class ConfigDict(dict):
    """ml_collections' dictionary with attributes."""

    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__


class PatchEmbed(nn.Module):
    def __init__(self, size, patch, channels, width, bias=True):
        super().__init__()
        self.patch_size, self.num_patches = (patch, patch), (size // patch) ** 2
        self.proj = nn.Conv2d(channels, width, patch, patch, bias=bias)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    def __init__(self, width, num_heads, qkv_bias):
        super().__init__()
        self.num_heads, self.qkv, self.proj = num_heads, nn.Linear(width, 3 * width, bias=qkv_bias), nn.Linear(width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, width))


class Mlp(nn.Module):
    def __init__(self, in_features, hidden_features, act_layer, drop):
        super().__init__()
        self.fc1, self.act, self.fc2 = (
            nn.Linear(in_features, hidden_features),
            act_layer(),
            nn.Linear(hidden_features, in_features),
        )

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


def _stubs(root: Path) -> dict[str, types.ModuleType]:
    def module(name, **content):
        made = types.ModuleType(name)
        vars(made).update(content)
        return made

    stubs = {
        "ml_collections": module("ml_collections", ConfigDict=ConfigDict),
        "timm": module("timm"),
        "timm.models": module("m"),
    }
    layers = {"PatchEmbed": PatchEmbed, "Attention": Attention, "Mlp": Mlp}
    stubs["timm.models.vision_transformer"] = module("vision_transformer", **layers)
    if (root / "op").is_dir():
        tree = ast.parse((root / "op" / "upfirdn2d.py").read_text())
        tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "upfirdn2d_native"]
        names: dict = {"torch": torch, "F": F}
        exec(compile(tree, "upfirdn2d", "exec"), names)

        def upfirdn2d(x, kernel, up=1, down=1, pad=(0, 0)):
            return names["upfirdn2d_native"](x, kernel, up, up, down, down, *pad, *pad)

        stubs["op"] = module("op", upfirdn2d=upfirdn2d)
    return stubs


if __name__ == "__main__":
    clone(Path(sys.argv[1]))
