"""Every name of version 0.1 that is another now tells the new one, and what it tells is there."""

import importlib
import re

import pytest

import code_jax
from code_jax import renamed
from code_jax.cli.main import main, parse


@pytest.mark.parametrize("name", renamed.MODULES)
def test_an_old_module_names_the_new_ones_however_it_is_imported(name):
    told = re.escape(f"{name} is now {renamed.MODULES[name]}")
    package, _, last = name.rpartition(".")
    for statement in (f"import {name}", f"import {name}.restore", f"from {package} import {last}"):
        with pytest.raises((ImportError, AttributeError), match=f"{told}|it is now {re.escape(renamed.MODULES[name])}"):
            exec(statement)
    new = re.findall(r"code_jax[\w.]+", renamed.MODULES[name])
    assert new and all(importlib.import_module(each) for each in new)


def test_an_old_attribute_names_the_new_one():
    with pytest.raises(AttributeError, match=r"it is now code_jax\.runs"):
        code_jax.batch  # noqa: B018
    (point,) = code_jax.SweepGrid(depth=(0.2,)).points()
    with pytest.raises(AttributeError, match=re.escape('it is now dict(point.numbers)["depth"]')):
        point.depth  # noqa: B018
    assert dict(point.numbers)["depth"] == 0.2 and not hasattr(point, "anything")
    with pytest.raises(code_jax.UserError, match=re.escape("preset('local')")):
        code_jax.preset("default", code_jax.linear_schedule())


@pytest.mark.parametrize("old", renamed.OPTIONS)
def test_an_old_option_names_the_new_one_which_is_one(old, capsys):
    command, option = old.removeprefix("code-jax ").split(" ")
    argv = [command, "--data", "clean", "--out", "table"]
    assert main([*argv, option, "1"]) == 2 and f"{option} is now {renamed.OPTIONS[old]}" in capsys.readouterr().err
    flag = renamed.OPTIONS[old].split(" ")[0]
    values = {"--set": re.search(r"--set (\S+?),?$", renamed.OPTIONS[old]), "--costly-images": None}
    assert parse([*argv, flag, values[flag][1] if values[flag] else "2"]).run
