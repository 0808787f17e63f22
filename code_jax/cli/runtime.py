"""What a command asks of JAX before it computes: flags of its own, kept programs, and a CPU's cores side by side."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from code_jax.errors import UserError
from code_jax.interruption import handled

if TYPE_CHECKING:
    from code_jax.cluster.cluster import Cluster

INTERRUPTED = "code-jax: interrupted; what was written so far is whole"
_SLOW_TO_IMPORT = ("jax", "flax.linen", "diffrax", "safetensors.numpy", "PIL.Image")
_FLAGS = {  # those that change a run's bytes, or stop it, as they are by default
    "jax_enable_x64": False,
    "jax_numpy_dtype_promotion": "standard",
    "jax_default_matmul_precision": None,
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
    "jax_disable_jit": False,
    "jax_debug_nans": False,  # what is not finite is named, picture by picture
    "jax_debug_infs": False,
    "jax_numpy_rank_promotion": "allow",
    "jax_transfer_guard": "allow",  # pictures come from the host
}


def import_libraries() -> None:
    """Imports what takes long; a signal ends the process meanwhile.

    Raised within an import it may be swallowed, or leave the import's lock held for ever.
    """

    def leave(number: int, _: object) -> None:
        os.write(2, f"{INTERRUPTED}\n".encode())
        os._exit(128 + number)

    with handled(leave):
        for name in _SLOW_TO_IMPORT:
            importlib.import_module(name)
        importlib.import_module("PIL.Image").init()


def set_flags() -> None:
    """Sets the flags that a run depends on, whatever the environment says: what a command makes is its arguments' alone."""
    import jax

    for name, value in _FLAGS.items():
        jax.config.update(name, value)


def missing_device() -> str | None:
    """Why JAX has no device, if JAX_PLATFORMS names one that is not there."""
    named = os.environ.get("JAX_PLATFORMS")
    if not named or "jax" not in sys.modules:
        return None
    import jax

    try:
        jax.devices()
    except Exception as error:  # a missing plugin is an AssertionError, a missing library a RuntimeError
        reason = str(error).partition("\n")[0] or "there is no plugin for it"
        return f"JAX_PLATFORMS is {named!r}, and JAX has no such device: {reason}; unset it, or install what the device needs"
    return None


def keep_compiled() -> None:
    """Keeps compiled programs in the cache folder, where it can be had: a second start compiles nothing."""
    import jax

    from code_jax.cache import cache_folder

    try:
        folder = cache_folder() / "xla"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, UserError) as error:  # it cannot be made, or there is no home
        print(f"code-jax: warning: compiled programs are not kept: {error}", file=sys.stderr)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


@contextlib.contextmanager
def engine_of(args: argparse.Namespace) -> Iterator[Cluster | None]:
    """The cluster that a command is to run on, or None, and then this process is prepared to compute."""
    if args.engine == "local" or args.dry_run:
        keep_compiled()
        use_cores()
        yield None
        return
    import jax

    from code_jax.cluster.cluster import Cluster

    with contextlib.suppress(RuntimeError):  # JAX has begun: a caller in the same process computed before
        jax.config.update("jax_platforms", "cpu")  # this machine's accelerators are its workers'
    with Cluster(args.address, args.actors, prepare_worker) as cluster:
        yield cluster


def prepare_worker(cores: int | None) -> None:
    """What a worker of a cluster does first: what a command does, but that it has so many cores; None is an accelerator."""
    set_flags()
    keep_compiled()
    if cores is not None:
        use_cores(cores)


def use_cores(cores: int | None = None) -> None:
    """Makes each of so many cores of the CPU a device, or each there is, unless JAX was told how many there are, or has begun.

    Images on devices of their own keep all cores at work; the operations of one program, shared among cores, leave them idle in
    between (on two cores: an evaluation of the bundled prior in 4.8 ms an image instead of 7.1).
    """
    import jax

    told = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if told or getattr(jax.config, "jax_num_cpu_devices", -1) != -1:
        return
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(RuntimeError):  # JAX has begun: a caller in the same process computed before
        jax.config.update("jax_num_cpu_devices", cores or here)
