"""What the reference code answered: recorded in a file, and live where its repositories are at hand (`tests.reference_code`)."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping

import numpy as np
import pytest

EITHER = ["recorded", pytest.param("live", marks=pytest.mark.parity)]
"""Parameters of a fixture that calls one of the functions below."""


def is_live(request: pytest.FixtureRequest) -> bool:
    """Whether the reference is to answer itself; skips the test where it cannot."""
    if request.param == "recorded":
        return False
    if "REFERENCES" not in os.environ:
        pytest.skip("REFERENCES names no folder with the reference repositories: python -m tests.reference_code FOLDER")
    return True


def answers(request: pytest.FixtureRequest, file: str, script: str) -> Mapping[str, np.ndarray]:
    """The arrays of a file of this repository, or what the function ``answers`` of the script that writes it gives now."""
    if is_live(request):
        found: Mapping[str, np.ndarray] = importlib.import_module(script).answers()
        return found
    with np.load(request.config.rootpath / file) as stored:
        return dict(stored)
