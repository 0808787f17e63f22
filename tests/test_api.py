"""The conventions of the public API, and every example in a docstring."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import typing
from collections.abc import Mapping

import jax
import numpy as np
import pytest
from jaxtyping import AbstractArray

import checkpoints_convert
import code_jax
from code_jax import metrics
from code_jax.pictures.provenance import exif_with, png_text, read_facts
from code_jax.priors.hash import prior_hash
from code_jax.runs.commands import command_of
from code_jax.training.step import ema_update, loss, train_step

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


def _public():
    """Every function and class that a user is told of, by a name to print."""
    named = {f"{module.__name__}.{name}": getattr(module, name) for module in (code_jax, metrics) for name in module.__all__}
    named |= {f"training.{each.__name__}": each for each in (loss, train_step, ema_update)}
    named |= {each.__name__: each for each in (prior_hash, png_text, exif_with, read_facts, command_of)}
    return {name: value for name, value in named.items() if callable(value)}


PUBLIC = _public()
FUNCTIONS = [name for name, value in PUBLIC.items() if not inspect.isclass(value)]
CLASSES = [name for name, value in PUBLIC.items() if inspect.isclass(value)]
METHODS = [
    f"{name}.{attribute}"
    for name in CLASSES
    for attribute, value in vars(PUBLIC[name]).items()
    if isinstance(value, (classmethod, property)) or inspect.isfunction(value)
    if not attribute.startswith("_") and "<locals>" not in getattr(value, "__qualname__", "") and attribute != "replace"
]
# What only computes: any argument of the right type gives a result.
NEVER_RAISES = {"clip_to_confidence", "moments_init", "loss", "train_step", "ema_update"}
NEVER_RAISES |= {"load_photo_network", "load_photo_directions"}
NEVER_RAISES |= {"prior_hash", "png_text", "exif_with", "command_of", "bundled_samples"}
UNKEYED = {"train_step"}  # what the program is made of comes first


def test_every_public_name_is_found_and_listed():
    assert set(dir(code_jax)) == set(code_jax.__all__) == set(code_jax._MODULE_OF) | {"corruptions", "metrics", "__version__"}
    tree = ast.parse(inspect.getsource(code_jax))  # what a type checker is told
    told = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert told - {"Any", "TYPE_CHECKING"} == set(code_jax.__all__)
    with pytest.raises(AttributeError, match="no attribute 'resotre'"):
        code_jax.resotre  # noqa: B018


def _section(text, heading):
    """The lines under a heading of a docstring."""
    found = re.search(rf"^{heading}:\n((?:(?: .*)?\n?)*)", text, re.MULTILINE)
    return found[1] if found else None


def _documented(text, heading):
    """Names that a section lists: "a, b: ..." at its first indentation."""
    lines = re.findall(r"^    ([\w, ]+):", _section(text, heading) or "", re.MULTILINE)
    return [name.strip() for line in lines for name in line.split(",")]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_says_what_it_takes_gives_and_refuses(name):
    function, short = PUBLIC[name], name.rpartition(".")[2]
    text, parameters = inspect.getdoc(function), inspect.signature(function).parameters
    assert re.match(r".*[.:]$", text.splitlines()[0]) or not text.splitlines()[1], "the first line is a sentence, or all of one"
    assert _documented(text, "Args") == list(parameters), "the arguments, in their order"
    returns = inspect.signature(function).return_annotation
    assert returns is not inspect.Signature.empty and (returns == "None") == (_section(text, "Returns") is None)
    assert (short in NEVER_RAISES) == (_section(text, "Raises") is None)
    assert ">>> " in (_section(text, "Example") or "")
    for parameter in parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty
        assert not isinstance(parameter.default, bool) or parameter.kind is parameter.KEYWORD_ONLY, "a flag is keyword-only"
    assert "key" not in parameters or next(iter(parameters)) == "key" or short in UNKEYED


@pytest.mark.parametrize("name", CLASSES)
def test_a_public_class_names_its_fields_and_where_it_comes_from(name):
    kind, text = PUBLIC[name], inspect.getdoc(PUBLIC[name])
    fields = getattr(kind, "_fields", None) or list(getattr(kind, "__dataclass_fields__", kind.__annotations__))
    assert _documented(text, "Attributes") == list(fields)
    makers = set(re.findall(r"`(\w+)`", text)) & {function.rpartition(".")[2] for function in FUNCTIONS}
    assert ">>> " in (_section(text, "Example") or "") or makers | (set(re.findall(r"`(\w+)`", text)) & {"SweepGrid"})


def _function(name):
    """Of a method's or a property's name."""
    owner, attribute = name.rsplit(".", 1)
    value = inspect.getattr_static(PUBLIC[owner], attribute)
    return value.fget if isinstance(value, property) else getattr(value, "__func__", value)


@pytest.mark.parametrize("name", METHODS)
def test_a_public_method_is_documented_and_typed(name):
    function = _function(name)
    assert inspect.getdoc(function)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    assert all(parameter.annotation is not inspect.Parameter.empty for parameter in parameters)
    assert inspect.signature(function).return_annotation is not inspect.Signature.empty


def _types(hint):
    """What a hint is made of, down to the types; weights by name have every shape."""
    shaped = inspect.isclass(hint) and issubclass(hint, AbstractArray)
    parts = () if shaped or hint == Mapping[str, np.ndarray] else typing.get_args(hint)
    return [each for part in parts for each in (part if isinstance(part, list) else [part]) for each in _types(each)] or [hint]


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES, *METHODS])
def test_arrays_in_a_signature_have_shapes(name):
    hints = typing.get_type_hints(_function(name) if name in METHODS else PUBLIC[name])
    assert [which for which, hint in hints.items() if {jax.Array, np.ndarray} & set(_types(hint))] == []
    if name in FUNCTIONS:  # and what a docstring says the shape of is an array, unless it may be a file
        said = re.findall(r"^    (\w+): (?!a path).*\[B", inspect.getdoc(PUBLIC[name]), re.MULTILINE)
        assert [each for each in said if each != "condition" and hints[each] is typing.Any] == []


def test_the_help_of_edit_is_enough_to_use_it():
    text = inspect.getdoc(code_jax.edit)
    for needed in ("[B, H, W, C]", "[−1, 1]", "Proposition 1", "algorithm 1", "jax.vmap", "preset", "from_uint8", "fold_in"):
        assert needed in text


def test_import_touches_no_network_and_no_pytorch():
    import subprocess
    import sys

    slow = ("torch", "huggingface_hub", "orbax.checkpoint", "scipy.signal")
    code = f"import sys, code_jax; sys.exit(any(m in sys.modules for m in {slow}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
