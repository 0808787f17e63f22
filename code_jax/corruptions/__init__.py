"""The 47 corruptions of the paper's table, and sparkles."""

from code_jax.corruptions.registry import ALL_NAMES, COVERING, FAMILIES, NAMES, corrupt, picture_seed

__all__ = ["ALL_NAMES", "COVERING", "FAMILIES", "NAMES", "corrupt", "picture_seed"]
