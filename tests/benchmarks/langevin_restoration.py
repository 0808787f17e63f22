"""Langevin variants between one encoding and one decoding with a prior, at matched network evaluations, as a Markdown table.

    python -m tests.benchmarks.langevin_restoration --data train.zip [--evaluations 3,12] [--relative-steps 0.05,0.2]

Level, ODE and clipping are the default preset's, the chains those of `tests.benchmarks.langevin_kinds`; the pictures are held out
of training by name hash. Each cell: the Fréchet distance to clean held-out pictures, and PSNR to the input and to the source in
dB. Few pictures bias every distance alike: compare those of one run.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import code_jax
from code_jax.cli.runtime import keep_compiled, use_cores
from code_jax.evaluation.measures import FEATURES, Yardstick
from code_jax.evaluation.pool import corrupted, picked, read_pool
from code_jax.evaluation.statistics import moments_of
from code_jax.metrics import frechet_distance, psnr
from tests.benchmarks.langevin_kinds import CHAINS

CORRUPTIONS = (
    "gaussian_noise", "impulse_noise", "gaussian_blur", "motion_blur", "fog", "contrast", "jpeg_compression", "pixelate",
    "masking_random_color", "caustic_refraction",
)  # fmt: skip
MICRO_BATCH = 8


def in_batches(run, images):
    """`run(number, batch)` of micro-batches, joined."""
    return jnp.concatenate([run(i, images[i : i + MICRO_BATCH]) for i in range(0, len(images), MICRO_BATCH)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder or zip of the pictures that the prior was trained on")
    parser.add_argument("--prior", default="eurosat-64")
    parser.add_argument("--features", choices=FEATURES, default="photo")
    parser.add_argument("--evaluations", default="3,12")
    parser.add_argument("--relative-steps", default="0.05,0.2")
    parser.add_argument("--images", type=int, default=8, help=f"for each of {len(CORRUPTIONS)} corruptions")
    parser.add_argument("--severity", type=int, default=3)
    parser.add_argument("--held-out", type=int, default=1000)
    args = parser.parse_args()
    keep_compiled()
    use_cores()
    prior, yardstick, preset = code_jax.load_prior(args.prior), Yardstick(args.features), code_jax.preset()
    options = {"sigma": preset.sigma, "num_steps": preset.program.num_steps, "solver": preset.program.solver}
    pool = read_pool(args.data, prior.image_shape[0], yardstick.classes, args.held_out)
    sources = {name: pool.pixels[picked(pool, name, args.images, 0)] for name in CORRUPTIONS}
    clean = np.concatenate(list(sources.values()))
    given = np.concatenate([corrupted(pictures, name, args.severity, 0) for name, pictures in sources.items()])
    reference, scale = moments_of(yardstick.features_of(pool.pixels)), np.sqrt(1 + preset.sigma**2)

    def judged(latents) -> str:
        made = in_batches(lambda i, x: code_jax.decode(prior, x, **options), latents).clip(-1, 1)
        fidelity, quality = (float(psnr(made, code_jax.from_uint8(pictures)).mean()) for pictures in (given, clean))
        distance = frechet_distance(moments_of(yardstick.features_of(code_jax.to_uint8(made))), reference)
        return f"{distance:.2f} · {fidelity:.1f} · {quality:.1f}"

    encoded = in_batches(lambda i, x: code_jax.encode(prior, x, eta=preset.eta, **options), code_jax.from_uint8(given))
    budgets = [(float(r), int(n)) for r in args.relative_steps.split(",") for n in args.evaluations.split(",")]
    print(f"{len(given)} pictures, severity {args.severity}, {args.features} features: distance · PSNR-input · PSNR-source; "
          f"no step at all {judged(encoded)}; jax {jax.__version__}\n")  # fmt: skip
    print(f"| kind, h/(1 − ᾱ) | {' | '.join(f'{r:g}: {n} NFE' for r, n in budgets)} |\n{'|---' * (len(budgets) + 1)}|")
    for name, chain in CHAINS.items():
        compiled, cells = jax.jit(chain, static_argnums=4), []
        for r, n in budgets:
            key = lambda i: jax.random.fold_in(jax.random.key(0), i)  # noqa: E731
            moved = lambda i, x: compiled(prior, scale * x, jnp.float32(preset.sigma), jnp.float32(r), n, key(i)) / scale  # noqa: B023, E731
            cells.append(judged(in_batches(moved, encoded)))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
