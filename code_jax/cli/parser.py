"""The parser of every command: mistakes are UserErrors, and its help fits a screen."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from code_jax.errors import UserError, brief, nearest
from code_jax.progress import FORMS
from code_jax.renamed import OPTIONS

_METAVARS = {"int": "N", "count": "N", "float": "X", "number": "X", "numbers": "X,X", "eta": "X|none"}
_METAVARS |= dict.fromkeys(("path", "at", "folder", "folder_or_address"), "PATH")


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose help shows what is needed often; ``--help-all`` shows the groups that `details` made, too."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options | {"formatter_class": _Formatter})
        self._details: list[Any] = []

    def details(self, title: str) -> Any:
        """A group of options that only ``--help-all`` shows."""
        if not self._details:
            self.add_argument("--help-all", action=_HelpAll, help="show every option and exit")
        self._details.append(self.add_argument_group(title))
        return self._details[-1]

    def format_help(self) -> str:
        """What ``--help`` shows."""
        return self.help_of([group for group in self._action_groups if group not in self._details])

    def help_of(self, groups: list[Any] | None = None) -> str:
        """The help of these groups of options; None is all."""
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        for group in self._action_groups if groups is None else groups:
            formatter.start_section(group.title)
            formatter.add_text(group.description)
            formatter.add_arguments(group._group_actions)
            formatter.end_section()
        formatter.add_text(self.epilog)
        return formatter.format_help()

    def add_progress(self, group: Any = None) -> None:
        """Adds ``--progress``, to a group of options if there is one."""
        (group or self).add_argument(
            "--progress", choices=FORMS, default="auto", help="on stderr (default: in place on a terminal)"
        )

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse does, but an option that a command does not know is its own mistake, and the nearest one is named."""
        for option in (word.partition("=")[0] for word in args or ()):  # before it is taken for the beginning of another
            if instead := OPTIONS.get(f"{self.prog} {option}"):
                self.error(f"{option} is now {instead}")
        found, unknown = super().parse_known_args(args, namespace)
        for word in unknown:
            if word.startswith("--"):
                known = [option for action in self._actions for option in action.option_strings]
                self.error(f"there is no option {brief(word)}{nearest(word.partition('=')[0], known)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Raises UserError; what is missing is shown by the first example of the help."""
        example = re.search(r"^  (code-jax .*?)\s*(#.*)?$", self.epilog or "", re.MULTILINE)
        if message.startswith("the following arguments are required") and example:
            raise UserError(f"{message}; for example: {example[1]} (see {self.prog} --help)")
        raise UserError(f"{message} (see {self.prog} --help)")

    def _get_values(self, action: argparse.Action, words: list[str]) -> Any:
        if not action.option_strings or words != ["--"]:
            return super()._get_values(action, words)
        value = self._get_value(action, "--")  # which argparse would drop, as if it ended the options: there would be no value
        self._check_value(action, value)
        return value

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            choices: Sequence[str] = [str(choice) for choice in action.choices]
            hint = nearest(str(value), choices)
            raise argparse.ArgumentError(action, f"{brief(value)} is none of {', '.join(choices)}{hint}")


class _HelpAll(argparse.Action):
    def __init__(self, option_strings: Any, dest: str, help: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser: Any, *_: Any) -> None:
        print(parser.help_of(), end="")
        parser.exit()


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """One line an option where that is possible: short metavars, and a usage of what must be given."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=29)

    def add_usage(self, usage: str | None, actions: Any, groups: Any, prefix: str | None = None) -> None:
        """The usage, options that may be left out as one word."""
        needed = [action for action in actions if action.required or not action.option_strings]
        words = [self._prog, *(self._given(action) for action in needed), "[options]"]
        super().add_usage(usage or " ".join(words).replace("%", "%%"), needed, [], prefix)

    def _given(self, action: argparse.Action) -> str:
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return " ".join([*action.option_strings[-1:], value if action.option_strings else value.split(" [")[0]])

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        name = getattr(action.type, "__name__", "")
        return _METAVARS.get(name, super()._get_default_metavar_for_optional(action))

    def _metavar_formatter(self, action: argparse.Action, default_metavar: str) -> Any:
        choices = None if action.metavar is not None or action.choices is None else "|".join(map(str, action.choices))
        return super()._metavar_formatter(action, default_metavar) if choices is None else lambda size: (choices,) * size
