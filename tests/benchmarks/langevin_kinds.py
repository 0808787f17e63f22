"""Error of the stationary law of Langevin variants on exact oracles, at matched network evaluations, as a Markdown table.

    python -m tests.benchmarks.langevin_kinds [--evaluations 40,200] [--chains 4096]

The oracles are a Gaussian per pixel, whose law at a noise level is known, and an even mixture of two. A chain starts at z = 0
and makes as many steps as the evaluations pay for. Reported: the mean over pixels of |variance/exact − 1|, the bias and what has
not yet mixed; its Monte Carlo floor is √(2/chains)·√(2/π). Compared with what `EditProgram.langevin` offers: Metropolis-adjusted
steps (the log-ratio from the scores, by the trapezoidal rule), predictor-corrector (a step of the ODE down, one up, one Langevin
step), and diffrax's underdamped solvers (friction 2/σ, rσ² as half the square of their step).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import code_jax
from code_jax.diffusion.langevin import KINDS
from code_jax.editing.moves import langevin_moves
from tests.oracles import gaussian, mixture
from tests.routes import followed

SIGMA, SHAPE = 3.4, (4, 4, 1)
UNDERDAMPED = {
    "ALIGN": (diffrax.ALIGN(0.1), diffrax.SpaceTimeLevyArea, 1),
    "ShOULD": (diffrax.ShOULD(0.1), diffrax.SpaceTimeTimeLevyArea, 2),
    "QUICSORT": (diffrax.QUICSORT(0.1), diffrax.SpaceTimeTimeLevyArea, 2),
}

# (prior, z [B, H, W, C], σ [], r = h/(1 − ᾱ) [], evaluations, key) -> z after the chain; in z a step has the size rσ²
Chain = Callable[[code_jax.Prior, jax.Array, jax.Array, jax.Array, int, jax.Array], jax.Array]


def in_route(kind: str) -> Chain:
    """A kind of the package, 1 evaluation a step."""

    def run(prior, z, sigma, relative, evaluations, key):
        route = langevin_moves(sigma, jnp.full(evaluations, relative), kind, "ddim")
        return followed(jax.random.split(key, len(z)), prior, route, z).z

    return run


def metropolis(prior, z, sigma, relative, evaluations, key):
    """MALA, 1 evaluation a step after the first: the score at the proposal is kept."""
    h = relative * sigma**2
    total = lambda v: jnp.sum(v, axis=(1, 2, 3))  # noqa: E731
    score = lambda z: -prior.eps_at(z, sigma) / sigma  # noqa: E731

    def step(state, key):
        z, s = state
        one, two = jax.random.split(key)
        proposal = z + h * s + jnp.sqrt(2 * h) * jax.random.normal(one, z.shape)
        there = score(proposal)
        log_ratio = total((s + there) / 2 * (proposal - z))  # ∫ score along the segment
        forth, back = total((proposal - z - h * s) ** 2), total((z - proposal - h * there) ** 2)
        accept = jnp.log(jax.random.uniform(two, z.shape[:1])) < log_ratio - (back - forth) / (4 * h)
        accept = accept[:, None, None, None]
        return (jnp.where(accept, proposal, z), jnp.where(accept, there, s)), None

    return jax.lax.scan(step, (z, score(z)), jax.random.split(key, evaluations - 1))[0][0]


def predictor_corrector(prior, z, sigma, relative, evaluations, key):
    """Down to 0.9 σ and up again by Euler, then an unadjusted step: 3 evaluations."""
    lower = 0.9 * sigma

    def step(z, key):
        z = z + (lower - sigma) * prior.eps_at(z, sigma)
        z = z + (sigma - lower) * prior.eps_at(z, lower)
        z = z - relative * sigma * prior.eps_at(z, sigma)
        return z + jnp.sqrt(2 * relative) * sigma * jax.random.normal(key, z.shape), None

    return jax.lax.scan(step, z, jax.random.split(key, evaluations // 3))[0]


def underdamped(name: str) -> Chain:
    """A diffrax solver of dz = v dt, dv = −γv dt + u·score dt + √(2γu) dW, u = 1, v = 0 first, on the scale of the noise."""
    solver, area, cost = UNDERDAMPED[name]

    def run(prior, z, sigma, relative, evaluations, key):
        dt, steps = jnp.sqrt(2 * relative) * sigma, evaluations // cost
        grad = lambda z, args: prior.eps_at(z[None], sigma)[0] / sigma  # noqa: E731

        def chain(z, key):
            noise = jax.ShapeDtypeStruct(z.shape, jnp.float32)
            bm = diffrax.VirtualBrownianTree(0.0, steps * dt, 1e-3 * dt, noise, key, area)
            drift = diffrax.UnderdampedLangevinDriftTerm(2 / sigma, 1.0, grad)
            terms = diffrax.MultiTerm(drift, diffrax.UnderdampedLangevinDiffusionTerm(2 / sigma, 1.0, bm))
            start, saved = (z, jnp.zeros_like(z)), diffrax.SaveAt(t1=True)
            end = diffrax.diffeqsolve(terms, solver, 0.0, steps * dt, dt, start, saveat=saved, max_steps=steps + 8)
            return end.ys[0][0]

        return jax.vmap(chain)(z, jax.random.split(key, len(z)))

    return run


CHAINS: dict[str, Chain] = {kind: in_route(kind) for kind in KINDS}
CHAINS |= {"Metropolis": metropolis, "predictor-corrector": predictor_corrector}
CHAINS |= {name: underdamped(name) for name in UNDERDAMPED}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", default="40,200")
    parser.add_argument("--relative-steps", default="0.02,0.1,0.4")
    parser.add_argument("--chains", type=int, default=4096)
    args = parser.parse_args()
    budgets, steps = (
        [kind(v) for v in text.split(",")] for kind, text in ((int, args.evaluations), (float, args.relative_steps))
    )
    deviation = jnp.linspace(0.2, 1.0, 16).reshape(SHAPE)
    mean = jnp.full(SHAPE, 0.3)
    priors = {"Gaussian": (gaussian(mean * 0, deviation), deviation**2), "mixture": (mixture(mean, 0.3), 0.3**2 + mean**2)}
    print(f"σ {SIGMA}, {args.chains} chains, floor {np.sqrt(4 / np.pi / args.chains):.3f}; jax {jax.__version__}\n")
    heads = [f"{h:g}: {n} NFE" for h in steps for n in budgets]
    print(f"| oracle | kind, h/(1 − ᾱ) | {' | '.join(heads)} |\n{'|---' * (len(heads) + 2)}|")
    for oracle, (prior, spread) in priors.items():
        sigma, exact = jnp.float32(SIGMA), spread + SIGMA**2
        for name, chain in CHAINS.items():
            compiled, cells = jax.jit(chain, static_argnums=4), []
            for h in steps:
                for n in budgets:
                    start = jnp.zeros((args.chains, *SHAPE))
                    z = np.asarray(compiled(prior, start, sigma, jnp.float32(h), n, jax.random.key(0)))
                    cells.append(f"{np.mean(np.abs(z.var(0) / exact - 1)):.3f}")
            print(f"| {oracle} | {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
