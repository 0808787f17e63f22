"""The conventions of the public API, and every example in a docstring."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import checkpoints_convert
import code_jax

MODULES = [
    info.name
    for package in (code_jax, checkpoints_convert)
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not info.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_every_module_is_documented_and_its_examples_run(name):
    module = importlib.import_module(name)
    assert module.__doc__
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("name", code_jax.__all__)
def test_every_public_name_is_documented(name):
    value = getattr(code_jax, name)
    if name == "__version__":
        return
    assert value.__doc__ and value.__doc__.strip()
    if inspect.isfunction(value):
        for parameter in inspect.signature(value).parameters.values():
            flag = isinstance(parameter.default, bool)
            assert not flag or parameter.kind is inspect.Parameter.KEYWORD_ONLY, f"{name}({parameter.name}) is a positional flag"


def test_import_touches_no_network_and_no_pytorch():
    import subprocess
    import sys

    slow = ("torch", "huggingface_hub", "orbax.checkpoint", "scipy.signal")
    code = f"import sys, code_jax; sys.exit(any(m in sys.modules for m in {slow}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
