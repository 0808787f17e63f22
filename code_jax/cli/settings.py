"""The settings of methods as options of a command line, and the settings that a command line makes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from code_jax.cli.arguments import typed
from code_jax.editing import methods
from code_jax.editing.options import OPTIONS, Option
from code_jax.errors import UserError


def add_settings(parser: Any, title: str = "numbers in place of the preset's", leave_out: Sequence[str] = ()) -> None:
    """Adds ``--method`` and every option of `OPTIONS` but those left out; seldom needed ones among the details."""
    others = f"how (default: code); {', '.join(methods.names()[1:])}"
    parser.add_argument("--method", default="code", metavar="NAME", help=others).words = methods.names()
    seldom, often = parser.details("details of the method"), parser.add_argument_group(title)
    for option in OPTIONS.values():
        if option.name not in leave_out:
            add_option(parser if option.name == "preset" else seldom if option.detail else often, option)


def add_option(group: Any, option: Option) -> None:
    """Adds an option, None where it is not given."""
    shown = "|".join(option.kinds) if 0 < len("|".join(option.kinds)) < 26 else option.shown
    group.add_argument(option.flag, dest=option.name, type=typed(option.read), metavar=shown, help=option.about)


def settings_of(args: argparse.Namespace, denoiser: Any, ignored: Sequence[str] = ()) -> Any:
    """The canonical settings of the arguments; says on stderr what is likely a mistake.

    Raises:
        UserError: for an option that is none of the method's, or a value out of its range.
    """
    method = methods.find(args.method)
    values = {name: getattr(args, name, None) for name in OPTIONS if name not in ignored}
    values = {name: OPTIONS[name].check(value) for name, value in values.items() if value is not None}
    if getattr(args, "mask", None) is not None and not values and "preset" in method.options:
        from code_jax.editing.presets import usual

        values = {"preset": usual(masked=True)}
        print(
            f"preset {values['preset']}: what the mask covers is made anew (--preset default keeps near to what is there)",
            file=sys.stderr,
        )
    for name in values:
        if name not in method.options:
            flag = OPTIONS[name].flag
            raise UserError(f"{flag} is no setting of --method {method.name}; leave it out, or choose another method")
    settings = method.canonical(method.configure(values), denoiser)
    for text in method.warn(settings, denoiser):
        print(f"code-jax: warning: {text}", file=sys.stderr)
    return settings


def warn_of_precision(precision: str) -> None:
    """Says on stderr where a precision is the slower one."""
    import jax

    if precision == "bfloat16" and jax.default_backend() == "cpu":
        print("code-jax: warning: --precision bfloat16 is slower than float32 on a CPU", file=sys.stderr)
