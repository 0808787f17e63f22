"""PSNR to the input and to the source of CODE, SDEdit and the DDIM round trip on damaged tiles, as a Markdown table.

    python -m tests.benchmarks.restoration --data test.zip [--tiles 32] [--prior eurosat-64] [--sheet sheet.png]

Every method gets the same tiles, damages, seeds and preset; `preset` is one setting for all damages, not the best one for each.
"""

from __future__ import annotations

import argparse
import platform
import time

import jax
import numpy as np
from PIL import Image

import code_jax
from code_jax.metrics import psnr
from code_jax.training.data import held_out, read_pictures
from tests.benchmarks.damages import DAMAGES, damaged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder or zip of clean tiles")
    parser.add_argument("--held-out", type=int, default=0, help="take the tiles from the N held out of training, by name hash")
    parser.add_argument("--tiles", type=int, default=32)
    parser.add_argument("--prior", default="eurosat-64")
    parser.add_argument("--presets", default="default")
    parser.add_argument("--methods", default="code,sdedit,ddim")
    parser.add_argument("--ode-steps", type=int)
    parser.add_argument("--depth", type=float)
    parser.add_argument("--relative-step", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", help="write a contact sheet of the first eight tiles here")
    args = parser.parse_args()

    prior = code_jax.load_prior(args.prior)
    names, pictures = read_pictures(args.data, prior.image_shape[0])
    pool = np.flatnonzero(held_out(names, args.held_out or len(names)))
    chosen = np.random.default_rng(args.seed).permutation(pool)[: args.tiles]
    clean = np.asarray(code_jax.from_uint8(pictures[chosen]))
    print(f"{args.tiles} tiles, seed {args.seed}, {platform.machine()}, code_jax {code_jax.__version__}, jax {jax.__version__}\n")
    print(
        "| damage | method | preset | PSNR-input | PSNR-source before | PSNR-source after | NFE | s/image |\n" + "|---" * 8 + "|"
    )
    rows = []
    for damage in DAMAGES:
        given = damaged(damage, clean, args.seed)
        row = [clean, given]
        for preset in args.presets.split(","):
            for method in args.methods.split(","):
                config = code_jax.preset(preset, prior.schedule, args.depth, args.relative_step, method)
                if args.ode_steps:
                    config = config.with_program(num_steps=args.ode_steps)
                begun, images = time.monotonic(), []
                for i in range(0, len(given), 8):
                    keys = jax.random.split(jax.random.fold_in(jax.random.key(args.seed), i), len(given[i : i + 8]))
                    result = code_jax.edit(keys, prior, given[i : i + 8], config)
                    images.append(np.asarray(result.images))
                seconds, restored = time.monotonic() - begun, np.concatenate(images)
                row.append(restored)
                print(
                    f"| {damage} | {method} | {preset} | {psnr(restored, given).mean():.2f} | {psnr(given, clean).mean():.2f} "
                    f"| {psnr(restored, clean).mean():.2f} | {result.info.nfe} | {seconds / len(given):.2f} |",
                    flush=True,
                )
        rows += [np.concatenate(images[:8], axis=1) for images in row]
    if args.sheet:
        sheet = Image.fromarray(code_jax.to_uint8(np.concatenate(rows, axis=0)))
        sheet.resize((sheet.width * 2, sheet.height * 2), Image.Resampling.NEAREST).save(args.sheet)


if __name__ == "__main__":
    main()
