"""Error of the ODE by solver, grid and evaluations each way, as a Markdown table.

    python -m tests.benchmarks.ode_error [--prior eurosat-64] [--sigma 0.72] [--evaluations 5,10,20] [--eta 1.7]

Without --prior on an exact oracle, an even mixture of two Gaussians of 8×8 pixels; with it, on the package's clean samples, where
the reference costs minutes. A cell has two root mean squares, in 8-bit levels: of z = x/√ᾱ at σ less the reference's, which is
Tsit5's with --reference-steps geometric steps in float64 and the same clipping; and of the image that comes back at σ_0, by a
solver that remembers the way up, less the one that set out. A reversible solver spends one of its evaluations on setting out.
"""

from __future__ import annotations

import argparse
import platform

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

import code_jax
from code_jax.cli.runtime import keep_compiled, use_cores
from code_jax.diffusion import solvers
from code_jax.diffusion.levels import GRIDS, noise_levels
from code_jax.editing.moves import ode_moves, start_move
from code_jax.editing.route import ODE, Route
from tests.oracles import mixture
from tests.routes import followed


def setting(name: str | None, count: int) -> tuple[code_jax.Prior, jax.Array]:
    """The prior and its images."""
    if name is None:
        rng = np.random.default_rng(0)  # jax.random's draws depend on the precision
        mean = rng.uniform(-0.6, 0.6, (8, 8, 3))
        x0 = np.clip(mean + 0.2 * rng.standard_normal((count, 8, 8, 3)), -1, 1)
        return mixture(jnp.array(mean), 0.2), jnp.array(x0)
    samples = code_jax.bundled_samples(clean=True)[:count]
    return code_jax.load_prior(name), code_jax.from_pil([Image.open(path) for path in samples])


def there_and_back(prior: code_jax.Prior, sigma: float, solver: str, grid: str, steps: int, eta: float) -> tuple[Route, int]:
    """Up to σ and down again, and how many of the moves are the way up."""
    low = prior.sigma_range[0]
    up, down = (noise_levels(prior, *ends, steps, grid) for ends in ((low, sigma), (sigma, low)))
    way_up = start_move(up[0], solver) + ode_moves(up, solver, eta)
    return way_up + ode_moves(down, solver), len(way_up.kinds)


def padded(route: Route, length: int) -> Route:
    """With moves at its end that are not made: one program of a solver serves all grids and budgets."""
    missing = length - len(route.kinds)
    columns = jax.tree.map(lambda column: jnp.pad(column, (0, missing), mode="edge"), route)
    return columns.replace(kinds=route.kinds + (ODE,) * missing)


def rms(a: jax.Array, b: jax.Array) -> str:
    """Root mean square of the difference in 8-bit levels."""
    return f"{127.5 * np.sqrt(np.mean((np.asarray(a, np.float64) - np.asarray(b)) ** 2)):.2g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", help="a prior in place of the oracle")
    parser.add_argument("--sigma", type=float, default=0.72)
    parser.add_argument("--eta", type=float, default=np.inf, help="clip on the way up")
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--evaluations", default="5,10,20")
    parser.add_argument("--solvers", default=",".join(solvers.names()))
    parser.add_argument("--grids", default=",".join(GRIDS))
    parser.add_argument("--reference-steps", type=int, default=100)
    args = parser.parse_args()
    keep_compiled()
    use_cores()
    budgets = [int(text) for text in args.evaluations.split(",")]
    with jax.enable_x64(True):
        prior, x0 = setting(args.prior, args.images)
        options = {"sigma": args.sigma, "eta": args.eta, "solver": "tsit5", "grid": "geometric"}
        exact = np.asarray(code_jax.encode(prior, x0, num_steps=args.reference_steps, **options)) * np.sqrt(1 + args.sigma**2)
    prior, x0 = setting(args.prior, args.images)
    keys, program = jax.random.split(jax.random.key(0), len(x0)), jax.jit(followed)
    print(f"{args.prior or 'oracle'}, {len(x0)} images, σ {args.sigma}, η {args.eta}; "
          f"{platform.machine()}, code_jax {code_jax.__version__}, jax {jax.__version__}\n")  # fmt: skip
    print(f"| solver | grid | {' | '.join(f'{n} evaluations each way' for n in budgets)} |\n{'|---' * (len(budgets) + 2)}|")
    for name in args.solvers.split(","):
        solver = solvers.find_solver(name)
        for grid in args.grids.split(","):
            cells = []
            for budget in budgets:
                steps = (budget - solver.reversible) // solver.evaluations
                if not steps:
                    cells.append("–")
                    continue
                route, turn = there_and_back(prior, args.sigma, name, grid, steps, args.eta)
                moves = padded(route, 2 * max(budgets))
                top, end = (program(keys, prior, moves, x0, jnp.int32(last)).z for last in (turn, len(route.kinds)))
                cells.append(f"{rms(top, exact)} · {rms(end, x0)}")
            print(f"| {name} | {grid} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
