"""Mean PSNR to the source over the five damages of held-out tiles, by depth, h/(1 − ᾱ) and Langevin steps.

    python -m tests.benchmarks.presets --data train.zip [--tiles 8] --grid 0.1:0.05:10,0.2:0.05:10

The presets are chosen on tiles held out of training by name hash, never on test tiles.
"""

from __future__ import annotations

import argparse
import dataclasses

import jax
import numpy as np

import code_jax
from code_jax.metrics import psnr
from code_jax.training.data import held_out, read_pictures
from tests.benchmarks.damages import DAMAGES, damaged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--prior", default="eurosat-64")
    parser.add_argument("--tiles", type=int, default=8)
    parser.add_argument("--ode-steps", type=int, default=10)
    parser.add_argument("--grid", required=True, help="depth:h/(1 - abar):langevin steps, comma-separated")
    args = parser.parse_args()
    prior = code_jax.load_prior(args.prior)
    names, pictures = read_pictures(args.data, prior.image_shape[0])
    clean = np.asarray(code_jax.from_uint8(pictures[held_out(names, 1000)][: args.tiles]))
    given = {name: damaged(name, clean, 0) for name in DAMAGES}
    print(f"| depth | h/(1 − ᾱ) | steps | {' | '.join(DAMAGES)} | mean |\n{'|---' * (len(DAMAGES) + 4)}|")
    before = [psnr(images, clean).mean() for images in given.values()]
    print(f"| – | – | – | {' | '.join(f'{value:.2f}' for value in before)} | {np.mean(before):.2f} |", flush=True)
    for point in args.grid.split(","):
        depth, relative_step, steps = point.split(":")
        config = code_jax.preset("default", prior.schedule, float(depth), float(relative_step))
        program = dataclasses.replace(config.program, num_steps=args.ode_steps, langevin_steps=int(steps))
        config = config.replace(program=program)
        after = [
            psnr(np.asarray(code_jax.edit(jax.random.key(0), prior, images, config).images), clean).mean()
            for images in given.values()
        ]
        print(
            f"| {point.replace(':', ' | ')} | {' | '.join(f'{value:.2f}' for value in after)} | {np.mean(after):.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
