"""How right the page's estimate of the time left is, once a tenth of an order is done: the bundled prior, short and long orders.

    python -m tests.benchmarks.demo_estimate

Prints, for each order, the seconds that were left after a tenth of its evaluations, what was said then, and the error.
"""

import time

from code_jax.demo.events import KINDS
from code_jax.demo.offers import load_offers

ORDERS = (
    {"ode-steps": "100", "langevin-steps": "50"},
    {"ode-steps": "100", "langevin-steps": "50", "samples": "4"},
    {"method": "sdedit", "ode-steps": "400"},
    {"fit": "tile", "size": [200, 300]},
)


def main() -> None:
    offers = load_offers(["eurosat-64"], "float32")
    print("order, left (s), said (s), error")
    for form in ORDERS:
        said = None
        for event in KINDS["restore"]({"prior": "eurosat-64", "sample": "blur_16.png"} | form, offers):
            event = event or {"event": "none"}
            if said is None and event["event"] == "progress" and event["done"] >= event["of"] / 10:
                said, at = event["seconds_left"], time.monotonic()
        left = time.monotonic() - at
        print(f"{form}, {left:.1f}, {said:.1f}, {said / left - 1:+.0%}", flush=True)


if __name__ == "__main__":
    main()
