"""How right the page's estimate of the time left is, from the first tenth of an order on: short and long orders, in turns.

    python -m tests.benchmarks.demo_estimate [--prior pictures-64] [--repeats 3]

Prints for each order the seconds that were left when a tenth of its evaluations was done, what was said then, by how much that
was wrong, and the worst that was said until nine tenths were done. How busy the machine is belongs to the measurement: state it.
"""

import argparse
import os
import time

from code_jax.demo.events import KINDS
from code_jax.demo.offers import load_offers

ORDERS = (
    {},
    {"samples": "4"},
    {"ode-steps": "100", "langevin-steps": "50"},
    {"ode-steps": "100", "langevin-steps": "50", "samples": "4"},
    {"method": "sdedit", "ode-steps": "400"},
    {"fit": "tile", "size": [150, 200]},
    {"sigmas": "0.5 1", "relative-steps": "0.1 0.2"},
)


def followed(form, offers):
    """(seconds left, said) of every event of progress, from a tenth to nine tenths of the evaluations."""
    said = []
    for event in KINDS["sweep" if "sigmas" in form else "restore"](form, offers):
        if event and event["event"] == "progress" and 0.1 <= event["done"] / event["of"] <= 0.9:
            said.append((time.monotonic(), event["seconds_left"]))
    end = time.monotonic()
    return [(end - at, left) for at, left in said]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", default="pictures-64")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    offers = load_offers([args.prior], "float32")
    base = {"prior": args.prior, "sample": "blur.png"}
    print("| order | left (s) | said (s) | error | worst until nine tenths | load |\n|---|---|---|---|---|---|")
    for _ in range(args.repeats):
        for form in ORDERS:
            told = followed(base | form, offers)
            left, said = told[0]
            worst = max((each / rest - 1 for rest, each in told if rest > 1), key=abs, default=0)
            words = ", ".join(f"{name} {value}" for name, value in form.items()) or "default"
            errors = f"{said / left - 1:+.0%} | {worst:+.0%}"
            print(f"| {words} | {left:.1f} | {said:.1f} | {errors} | {os.getloadavg()[0]:.0f} |", flush=True)


if __name__ == "__main__":
    main()
