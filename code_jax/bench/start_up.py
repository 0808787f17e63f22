"""What a first and a second start of ``code-jax restore`` cost beyond imports and evaluations."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from code_jax.bench.measure import Row, in_turn, network_task
from code_jax.editing.edit import number_of_moves
from code_jax.editing.settings import EditConfig
from code_jax.priors.prior import Prior

_IMPORTS = "import code_jax.runs.restore, code_jax.priors.load, code_jax.cli.main, checkpoints_convert.diffusers"


def start_up(name: str, options: list[str], prior: Prior, config: EditConfig) -> list[Row]:
    """Seconds of two processes that restore one picture with an empty cache of their own.

    Args:
        name: of the prior, for the command line.
        options: that make `config` of it.
        prior, config: the same, to time the evaluations of one picture.
    """
    nfe = number_of_moves(prior, config)[1]
    ((evaluations,),) = in_turn([network_task(prior, prior.image_shape, 1, nfe)], 1)
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.png"
        shape = (*prior.image_shape[:2], 3)
        Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8)).save(picture)
        command = ["-m", "code_jax", "restore", str(picture), "--prior", name, "--batch-size=1", *options, "--out"]
        imports = _seconds(["-c", _IMPORTS], folder)
        first, second = (_seconds([*command, f"{folder}/{out}"], folder) for out in ("first", "second"))
    given = f"of {{:.1f}} s; imports {imports:.1f} s, {nfe} evaluations {evaluations:.1f} s"
    return [
        Row(f"{which} start, beyond imports and evaluations", f"{whole - imports - evaluations:.1f} s", given.format(whole))
        for which, whole in (("first", first), ("second", second))
    ]


def _seconds(words: list[str], cache: str) -> float:
    begun = time.perf_counter()
    environment = os.environ | {"XDG_CACHE_HOME": cache}
    subprocess.run([sys.executable, *words], env=environment, check=True, capture_output=True)
    return time.perf_counter() - begun
