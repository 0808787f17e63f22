"""The persistent cache of compiled programs: a second start compiles nothing."""

from __future__ import annotations


def keep_compiled() -> None:
    """Keeps compiled programs in the cache folder."""
    import jax

    from code_jax.priors.load import cache_folder

    jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
