"""Error of the stationary law of Langevin variants on exact oracles, at matched network evaluations, as a Markdown table.

    python -m tests.benchmarks.langevin_kinds [--evaluations 40,200] [--chains 4096]

The oracles are a Gaussian per pixel, whose x_t is known, and an even mixture of two. A chain starts at x = 0 and makes as many
steps as the evaluations pay for. Reported: the mean over pixels of |variance/exact − 1|, the bias and what has not yet mixed;
its Monte Carlo floor is √(2/chains)·√(2/π). Compared with what `EditProgram.langevin` offers: Metropolis-adjusted steps (the
log-ratio from the scores, by the trapezoidal rule), predictor-corrector (a step of the ODE up, one down, one Langevin step),
and diffrax's underdamped solvers (friction 2/√(1 − ᾱ), h as the square of their step).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import code_jax
from code_jax.diffusion.denoiser import eps_at
from code_jax.diffusion.langevin import KINDS, langevin_step
from code_jax.editing.route import depart, follow, langevin_moves
from tests.oracles import gaussian, mixture

DEPTH, SHAPE = 0.5, (4, 4, 1)
UNDERDAMPED = {
    "ALIGN": (diffrax.ALIGN(0.1), diffrax.SpaceTimeLevyArea, 1),
    "ShOULD": (diffrax.ShOULD(0.1), diffrax.SpaceTimeTimeLevyArea, 2),
    "QUICSORT": (diffrax.QUICSORT(0.1), diffrax.SpaceTimeTimeLevyArea, 2),
}

# (prior, x_t [B, H, W, C], σ [], h/(1 − ᾱ) [], evaluations, key) -> x_t after the chain
Chain = Callable[[code_jax.Prior, jax.Array, jax.Array, jax.Array, int, jax.Array], jax.Array]


def in_route(kind: str) -> Chain:
    """A kind of the package, 1 evaluation a step."""

    def run(prior, x, sigma, relative, evaluations, key):
        route = langevin_moves(sigma, jnp.full(evaluations, relative), kind, "ddim")
        scale = jnp.sqrt(1 + sigma**2)
        return follow(jax.random.split(key, len(x)), prior, route, depart(scale * x), 0, evaluations).z / scale

    return run


def metropolis(prior, x, sigma, relative, evaluations, key):
    """MALA, 1 evaluation a step after the first: the score at the proposal is kept."""
    t = prior.schedule.t_of_sigma(sigma)
    deviation = jnp.sqrt(prior.schedule.variance(t))
    h = relative * deviation**2
    total = lambda v: jnp.sum(v, axis=(1, 2, 3))  # noqa: E731
    score = lambda x: -prior.eps(x, t) / deviation  # noqa: E731

    def step(state, key):
        x, s = state
        one, two = jax.random.split(key)
        proposal = x + h * s + jnp.sqrt(2 * h) * jax.random.normal(one, x.shape)
        there = score(proposal)
        log_ratio = total((s + there) / 2 * (proposal - x))  # ∫ score along the segment
        forth, back = total((proposal - x - h * s) ** 2), total((x - proposal - h * there) ** 2)
        accept = jnp.log(jax.random.uniform(two, x.shape[:1])) < log_ratio - (back - forth) / (4 * h)
        accept = accept[:, None, None, None]
        return (jnp.where(accept, proposal, x), jnp.where(accept, there, s)), None

    return jax.lax.scan(step, (x, score(x)), jax.random.split(key, evaluations - 1))[0][0]


def predictor_corrector(prior, x, sigma, relative, evaluations, key):
    """Down to 0.9 σ and up again by Euler, then an unadjusted step: 3 evaluations."""
    t, lower = prior.schedule.t_of_sigma(sigma), 0.9 * sigma

    def step(x, key):
        z = x * jnp.sqrt(1 + sigma**2)
        z = z + (lower - sigma) * eps_at(prior, z, sigma)
        z = z + (sigma - lower) * eps_at(prior, z, lower)
        h = relative * prior.schedule.variance(t)
        x = langevin_step(prior, z / jnp.sqrt(1 + sigma**2), t, h, jax.random.normal(key, x.shape))
        return x, None

    return jax.lax.scan(step, x, jax.random.split(key, evaluations // 3))[0]


def underdamped(name: str) -> Chain:
    """A diffrax solver of dx = v dt, dv = −γv dt + u·score dt + √(2γu) dW, u = 1, v = 0 first, on the scale of the noise."""
    solver, area, cost = UNDERDAMPED[name]

    def run(prior, x, sigma, relative, evaluations, key):
        t = prior.schedule.t_of_sigma(sigma)
        deviation = jnp.sqrt(prior.schedule.variance(t))
        dt, steps = jnp.sqrt(2 * relative) * deviation, evaluations // cost
        grad = lambda x, args: prior.eps(x[None], t)[0] / deviation  # noqa: E731

        def chain(x, key):
            noise = jax.ShapeDtypeStruct(x.shape, jnp.float32)
            bm = diffrax.VirtualBrownianTree(0.0, steps * dt, 1e-3 * dt, noise, key, area)
            drift = diffrax.UnderdampedLangevinDriftTerm(2 / deviation, 1.0, grad)
            terms = diffrax.MultiTerm(drift, diffrax.UnderdampedLangevinDiffusionTerm(2 / deviation, 1.0, bm))
            start, saved = (x, jnp.zeros_like(x)), diffrax.SaveAt(t1=True)
            end = diffrax.diffeqsolve(terms, solver, 0.0, steps * dt, dt, start, saveat=saved, max_steps=steps + 8)
            return end.ys[0][0]

        return jax.vmap(chain)(x, jax.random.split(key, len(x)))

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
    print(f"depth {DEPTH}, {args.chains} chains, floor {np.sqrt(4 / np.pi / args.chains):.3f}; jax {jax.__version__}\n")
    heads = [f"{h:g}: {n} NFE" for h in steps for n in budgets]
    print(f"| oracle | kind, h/(1 − ᾱ) | {' | '.join(heads)} |\n{'|---' * (len(heads) + 2)}|")
    for oracle, (prior, spread) in priors.items():
        sigma = prior.schedule.sigma(prior.schedule.timestep(DEPTH))
        exact = (spread + sigma**2) / (1 + sigma**2)
        for name, chain in CHAINS.items():
            compiled, cells = jax.jit(chain, static_argnums=4), []
            for h in steps:
                for n in budgets:
                    start = jnp.zeros((args.chains, *SHAPE))
                    x = np.asarray(compiled(prior, start, sigma, jnp.float32(h), n, jax.random.key(0)))
                    cells.append(f"{np.mean(np.abs(x.var(0) / exact - 1)):.3f}")
            print(f"| {oracle} | {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
