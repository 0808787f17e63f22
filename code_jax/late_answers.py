"""Answers that come when nobody waits any more: orbax gives up on a tensor while others are still being read.

Each would be a traceback on stderr: of an event loop that is gone, or of a failure that nobody asked for.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Callable
from typing import Any

_CLOSED, _UNASKED, _OF_TENSORS = "Event loop is closed", "exception was never retrieved", "tensorstore_spec"


def expect_late_answers() -> None:
    """From now on they are passed over in silence; everything else is told as before."""
    if not isinstance(sys.unraisablehook, _UnlessLate):
        sys.unraisablehook = _UnlessLate(sys.unraisablehook)
    logging.getLogger("asyncio").addFilter(_is_asked_for)  # which is there once, however often it is added


@dataclasses.dataclass(frozen=True)
class _UnlessLate:
    """A hook for exceptions that nobody can catch."""

    before: Callable[[Any], object]

    def __call__(self, raised: Any) -> None:
        if not isinstance(raised.exc_value, RuntimeError) or str(raised.exc_value) != _CLOSED:
            self.before(raised)


def _is_asked_for(record: logging.LogRecord) -> bool:
    raised = record.exc_info[1] if record.exc_info else None
    return not (_UNASKED in record.getMessage() and _OF_TENSORS in str(raised))
