"""``code-jax restore`` with an exact prior and slow moves: a process to send signals to, that starts fast.

python -m tests.runs.driver SECONDS_A_SEGMENT ARGUMENTS...
"""

from __future__ import annotations

import sys
import time
from unittest import mock

from code_jax.cli.main import main
from code_jax.interruption import Interruption
from tests.runs.conftest import FAST, exact_prior


def run(pause: float, argv: list[str]) -> int:
    checkpoint = Interruption.checkpoint

    def slow(self: Interruption) -> None:
        time.sleep(pause)
        checkpoint(self)

    prior = exact_prior()
    with (
        mock.patch("code_jax.priors.load.load_prior", lambda name, **options: prior),
        mock.patch.object(Interruption, "checkpoint", slow),
    ):
        return main(["restore", *argv, *FAST])


if __name__ == "__main__":
    sys.exit(run(float(sys.argv[1]), sys.argv[2:]))
