"""``python -m code_jax.training --data FOLDER_OR_ZIP --out DIR --seconds N``: trains a small prior; rerun to go on."""

from __future__ import annotations

import argparse
import csv
import functools
import os
import time
from pathlib import Path

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np

from checkpoints_convert.diffusers import write_diffusers
from code_jax.diffusion.schedule import linear_schedule
from code_jax.models.config import UNet2DConfig
from code_jax.models.unet import UNet2DModel
from code_jax.priors.prior import NetworkOutput, Prior
from code_jax.training.data import batches, held_out, read_pictures
from code_jax.training.step import Recipe, TrainState, learning_rate, loss, optimizer, train_step

SMALL = UNet2DConfig(
    sample_size=(64, 64),
    block_out_channels=(16, 48, 96, 160),
    down_block_types=("DownBlock2D", "DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
    up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"),
    layers_per_block=1,
    norm_num_groups=8,
    attention_head_dim=32,
)


def main() -> None:
    """Trains until the time is spent, writing state, losses and the validation loss in ten bins of t as it goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=3600.0, help="training time in all, restarts included")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--val", type=int, default=1000, help="pictures held out, by the hash of their names")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    recipe, schedule, model = Recipe(), linear_schedule(), UNet2DModel(SMALL)
    apply = NetworkOutput(model)
    names, pictures = read_pictures(args.data, SMALL.sample_size[0])
    held = held_out(names, args.val)
    train, val = pictures[~held], pictures[held][:200]

    init_key, step_key, val_key = jax.random.split(jax.random.key(args.seed), 3)
    params = jax.jit(model.init)(init_key, jnp.zeros((1, *train.shape[1:])), jnp.zeros(1))["params"]
    state = TrainState(params, jax.tree.map(jnp.copy, params), optimizer(recipe).init(params), jnp.int32(0))
    spent, path = 0.0, args.out / "state.msgpack"
    if path.exists():
        saved = flax.serialization.from_bytes({"state": state, "spent": 0.0}, path.read_bytes())
        state, spent = saved["state"], float(saved["spent"])

    step_fn = jax.jit(functools.partial(train_step, apply, recipe), donate_argnums=1)
    t_val = jnp.linspace(0, 999, len(val)).round()
    noise_val = jax.random.normal(val_key, val.shape)
    val_fn = jax.jit(functools.partial(loss, apply, recipe))
    begun, saved_at, losses = time.monotonic() - spent, time.monotonic(), []
    with open(args.out / "losses.csv", "a", newline="") as file:
        log = csv.writer(file)
        for indices in batches(args.seed, len(train), args.batch_size, int(state.step)):
            progress = (time.monotonic() - begun) / args.seconds
            rate = jnp.float32(learning_rate(recipe, min(progress, 1.0)))
            state, value = step_fn(step_key, state, schedule, train[indices], rate)
            losses.append(value)
            now = time.monotonic()
            if now - saved_at > 120 or progress >= 1:
                saved_at, step = now, int(state.step)
                temporary = path.with_suffix(".tmp")
                temporary.write_bytes(flax.serialization.to_bytes({"state": state, "spent": now - begun}))
                os.replace(temporary, path)
                x0 = jnp.asarray(val, jnp.float32) / 127.5 - 1
                parts = [
                    val_fn(state.ema, schedule, x0[i : i + 50], t_val[i : i + 50], noise_val[i : i + 50])
                    for i in range(0, len(val), 50)
                ]
                bins = np.concatenate(parts).reshape(10, -1).mean(1)
                mean, losses = float(np.mean(jax.device_get(losses))), []
                log.writerow([step, step * args.batch_size, round(now - begun, 1), float(rate), mean, bins.mean(), *bins])
                file.flush()
                speed = step * args.batch_size / (now - begun)
                left = max(args.seconds - (now - begun), 0)
                print(f"step {step} {speed:.1f} img/s train {mean:.5f} val {bins.mean():.5f} {left:.0f} s left", flush=True)
            if progress >= 1:
                break
    prior = Prior.from_network(model, state.ema, schedule, recipe.prediction_type)
    write_diffusers(prior, args.out / f"prior-{int(state.step)}", np.float16)


if __name__ == "__main__":
    main()
