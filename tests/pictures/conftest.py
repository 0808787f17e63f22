from tests.runs.conftest import restore

__all__ = ["restore"]
