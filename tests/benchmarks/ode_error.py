"""Error of the encoding against a float64 reference, and of round trips by depth, as two Markdown tables.

    python -m tests.benchmarks.ode_error [--prior eurosat-64] [--depth 0.4] [--images 1]

Without --prior on an exact oracle, an even mixture of two Gaussians of 8×8 pixels; with it, on the package's clean samples, where
the reference costs minutes. The reference is Tsit5 with --reference-steps geometric steps in float64, with the same clipping
(a projection after each of its steps) and thresholding. Errors are root mean squares of x_t, in 8-bit levels of √ᾱ·x_0.
"""

from __future__ import annotations

import argparse
from importlib import resources
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from code_jax.diffusion.probability_flow import GRIDS, NFE_PER_STEP
from PIL import Image

import code_jax
from tests.oracles import mixture

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {}, "CBC 1.7": {"eta": 1.7}, "threshold": {"dynamic_threshold": (0.98, 1.3)},
    "CBC 1.7, threshold": {"eta": 1.7, "dynamic_threshold": (0.98, 1.3)},
}  # fmt: skip


def rms(a: Any, b: Any, scale: float = 1.0) -> str:
    """Root mean square of the difference in 8-bit levels."""
    return f"{127.5 / scale * np.sqrt(np.mean((np.asarray(a, np.float64) - np.asarray(b)) ** 2)):.2g}"


def steps_of(solver: str, nfe: int) -> int:
    """Steps each way that `nfe` evaluations pay for."""
    return max(nfe // NFE_PER_STEP[solver], 1)


def setting(args: argparse.Namespace) -> tuple[code_jax.Prior, jax.Array]:
    """The prior and its images."""
    if not args.prior:
        rng = np.random.default_rng(0)  # jax.random's draws depend on the precision
        mean = rng.uniform(-0.6, 0.6, (8, 8, 3))
        x0 = np.clip(mean + 0.2 * rng.standard_normal((args.images, 8, 8, 3)), -1, 1)
        return mixture(jnp.array(mean), 0.2), jnp.array(x0)
    folder = resources.files("code_jax") / "priors" / "samples" / "clean"
    with resources.as_file(folder) as path:
        pictures = [Image.open(file) for file in sorted(path.glob("*.png"))[: args.images]]
    return code_jax.load_prior(args.prior), code_jax.from_pil(pictures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", help="a prior in place of the oracle")
    parser.add_argument("--depth", type=float, default=0.4)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--evaluations", default="10,20,50,100")
    parser.add_argument("--reference-steps", type=int, default=400)
    args = parser.parse_args()
    budgets = [int(text) for text in args.evaluations.split(",")]
    name = args.prior or "oracle"

    print(f"{name}, depth {args.depth}, encoding in float32; jax {jax.__version__}\n")
    print(f"| variant | solver | grid | {' | '.join(f'{n} NFE' for n in budgets)} |\n{'|---' * (len(budgets) + 3)}|")
    with jax.enable_x64(True):
        prior, x0 = setting(args)
        exact = {
            variant: np.asarray(
                code_jax.encode(
                    prior, x0, depth=args.depth, solver="tsit5", num_steps=args.reference_steps, grid="geometric", **options
                )
            )
            for variant, options in VARIANTS.items()
        }
    prior, x0 = setting(args)
    signal = float(jnp.sqrt(prior.schedule.alpha_bar(prior.schedule.timestep(args.depth))))
    for variant, options in VARIANTS.items():
        for solver in NFE_PER_STEP:
            for grid in GRIDS:
                cells = []
                for nfe in budgets:
                    options |= {"depth": args.depth, "solver": solver, "grid": grid}
                    x_t = code_jax.encode(prior, x0, num_steps=steps_of(solver, nfe), **options)
                    cells.append(rms(x_t, exact[variant], signal))
                print(f"| {variant} | {solver} | {grid} | {' | '.join(cells)} |", flush=True)

    depths = (0.1, 0.2, 0.4, 0.6, 0.8, 0.99)
    print(f"\n{name}, round trip at 40 NFE each way, geometric grid\n")
    print(f"| solver | type | {' | '.join(f'depth {depth:g}' for depth in depths)} |\n{'|---' * (len(depths) + 2)}|")
    for solver in NFE_PER_STEP:
        for kind in ("float64", "float32"):
            with jax.enable_x64(kind == "float64"):
                prior, x0 = setting(args)
                options = {"solver": solver, "num_steps": steps_of(solver, 40)}
                cells = [rms(code_jax.round_trip(prior, x0, depth=depth, **options)[1], x0) for depth in depths]
            print(f"| {solver} | {kind} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
