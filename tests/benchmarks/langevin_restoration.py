"""Langevin variants between one encoding and one decoding with the bundled prior, at matched network evaluations.

    python -m tests.benchmarks.langevin_restoration --data train.zip [--evaluations 3,12] [--relative-steps 0.05,0.2]

The tiles and corruptions are those of `tests.benchmarks.nfe_curve`, depth, ODE and clipping the default preset's, the chains
those of `tests.benchmarks.langevin_kinds`. Each cell: the Fréchet distance to undamaged held-out tiles in the bundled
classifier's features, and PSNR to the input and to the source in dB. Few tiles bias every distance alike: compare those of one
run.
"""

from __future__ import annotations

import argparse

import jax
import jax.numpy as jnp
import numpy as np

import code_jax
from code_jax.bench.measure import spread
from code_jax.cli.runtime import keep_compiled, use_cores
from code_jax.metrics import psnr
from tests.benchmarks.langevin_kinds import CHAINS
from tests.benchmarks.nfe_curve import MICRO_BATCH, damaged_tiles, distance, features


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder or zip of the tiles that the prior was trained on")
    parser.add_argument("--evaluations", default="3,12")
    parser.add_argument("--relative-steps", default="0.05,0.2")
    parser.add_argument("--tiles", type=int, default=8)
    parser.add_argument("--severity", type=int, default=3)
    args = parser.parse_args()
    keep_compiled()
    use_cores()
    prior = code_jax.load_prior("eurosat-64")
    preset = code_jax.preset("default", prior.schedule)
    options = {"depth": preset.depth, "num_steps": preset.program.num_steps, "solver": preset.program.solver}
    sigma = prior.schedule.sigma(prior.schedule.timestep(preset.depth))
    clean, given, reference = damaged_tiles(args.data, prior.image_shape[0], args.tiles, args.severity)
    clean, given = (tiles.reshape(-1, *prior.image_shape) for tiles in (clean, given))
    images, (everywhere, shared) = code_jax.from_uint8(given), spread(prior, MICRO_BATCH)

    def in_batches(run, images):
        batches = [jax.device_put(images[i : i + MICRO_BATCH], shared) for i in range(0, len(images), MICRO_BATCH)]
        return jnp.concatenate([jax.device_get(run(i, batch)) for i, batch in enumerate(batches)])

    def judged(latents) -> str:
        made = in_batches(lambda i, x: code_jax.decode(everywhere, x, **options), latents).clip(-1, 1)
        fidelity, quality = (float(psnr(made, code_jax.from_uint8(tiles)).mean()) for tiles in (given, clean))
        return f"{distance(features(code_jax.to_uint8(made)), reference):.2f} · {fidelity:.1f} · {quality:.1f}"

    encoded = in_batches(lambda i, x: code_jax.encode(everywhere, x, eta=preset.eta, **options), images)
    budgets = [(float(h), int(n)) for h in args.relative_steps.split(",") for n in args.evaluations.split(",")]
    print(f"{args.tiles} tiles for each corruption, severity {args.severity}: distance · PSNR-input · PSNR-source; "
          f"no step at all {judged(encoded)}; jax {jax.__version__}\n")  # fmt: skip
    print(f"| kind, h/(1 − ᾱ) | {' | '.join(f'{h:g}: {n} NFE' for h, n in budgets)} |\n{'|---' * (len(budgets) + 1)}|")
    for name, chain in CHAINS.items():
        compiled, cells = jax.jit(chain, static_argnums=4), []
        for h, n in budgets:
            keys = jax.random.split(jax.random.key(0), -(-len(images) // MICRO_BATCH))
            cells.append(judged(in_batches(lambda i, x: compiled(everywhere, x, sigma, np.float32(h), n, keys[i]), encoded)))  # noqa: B023
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
