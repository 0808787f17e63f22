"""Gradients across window borders to those inside, of a mosaic of real tiles restored as one picture and tile by tile.

    python -m tests.benchmarks.tile_borders --data test.zip [--height 500] [--width 333] [--sheet sheet.png]

Borders are those of every window of the one, and those of the pasted tiles of the other, shifted by half a tile from the mosaic's
own, which are edges in the input.
"""

from __future__ import annotations

import argparse
import platform
import time

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

import code_jax
from code_jax.diffusion.tiling import window_starts
from code_jax.training.data import read_pictures
from tests.benchmarks.damages import DAMAGES, damaged
from tests.seams import border_ratio, pasted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder or zip of clean tiles")
    parser.add_argument("--prior", default="eurosat-64")
    parser.add_argument("--height", type=int, default=500)
    parser.add_argument("--width", type=int, default=333)
    parser.add_argument("--damage", choices=sorted(DAMAGES), default="noise")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--ode-steps", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", help="write input, tiled and pasted result side by side here")
    args = parser.parse_args()

    prior = code_jax.load_prior(args.prior)
    side = prior.image_shape[0]
    _, tiles = read_pictures(args.data, side)
    rows, columns = -(-args.height // side) + 1, -(-args.width // side) + 1
    chosen = np.random.default_rng(args.seed).permutation(len(tiles))[: rows * columns]
    mosaic = tiles[chosen].reshape(rows, columns, side, side, 3).swapaxes(1, 2).reshape(rows * side, columns * side, 3)
    half = side // 2
    clean = np.asarray(code_jax.from_uint8(mosaic[half : half + args.height, half : half + args.width]))
    image = jnp.asarray(damaged(args.damage, clean[None], args.seed)[0])

    config = code_jax.preset(args.preset).with_program(num_steps=args.ode_steps)
    size = (args.height, args.width)
    begun = time.monotonic()
    wide = code_jax.tiled(prior, size, chunk=8)
    result = code_jax.edit(jax.random.key(args.seed), wide, image[None], config)
    seconds = time.monotonic() - begun

    def restore(parts: jax.Array) -> np.ndarray:
        keys = jax.random.split(jax.random.key(args.seed), len(parts))
        made = [code_jax.edit(keys[i : i + 8], prior, parts[i : i + 8], config).images for i in range(0, len(parts), 8)]
        return np.concatenate(made)

    separate = pasted(restore, image, side)
    windows = [np.concatenate([(starts := window_starts(length, side)), starts + side]) for length in size]
    own = [np.arange(0, length, side) for length in size]
    print(
        f"{size[0]}x{size[1]} of {side}x{side} tiles with {args.damage}, preset {args.preset}, {result.info.nfe[0]} evaluations"
    )
    print(f"{int(wide.count)} windows, {seconds:.0f} s, seed {args.seed}, {platform.machine()}, jax {jax.__version__}")
    print("| picture | at the windows' borders | at the pasted tiles' borders |\n|---|---|---|")
    shown = {"clean": clean, "input": np.asarray(image), "tiled": np.asarray(result.images[0]), "pasted": separate}
    for name, picture in shown.items():
        print(f"| {name} | {border_ratio(picture, *windows):.3f} | {border_ratio(picture, *own):.3f} |")
    if args.sheet:
        Image.fromarray(code_jax.to_uint8(np.concatenate([shown[name] for name in ("input", "tiled", "pasted")], axis=1))).save(
            args.sheet
        )
    assert 0.97 <= border_ratio(shown["tiled"], *windows) <= 1.03
    assert not 0.97 <= border_ratio(separate, *own) <= 1.03


if __name__ == "__main__":
    main()
