"""``code-jax priors``: what is bundled."""

from __future__ import annotations

import argparse
from typing import Any


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("priors", help="list the priors that come with the package")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints a line for each bundled prior."""
    import jax

    from code_jax.priors.load import bundled_priors, load_prior

    for name in bundled_priors():
        prior = load_prior(name)
        count = sum(leaf.size for leaf in jax.tree.leaves(prior.params))
        height, width, _ = prior.image_shape
        print(f"{name}\t{height}x{width}\t{count / 1e6:.2f} M parameters\tbundled")
    return 0
