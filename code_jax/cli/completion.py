"""``code-jax completion``: a script that lets a shell complete commands, options and their values."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from typing import Any

_EPILOG = """examples:
  eval "$(code-jax completion bash)"         # in ~/.bashrc
  eval "$(code-jax completion zsh)"          # in ~/.zshrc
  code-jax completion fish | source          # in ~/.config/fish/config.fish
"""
_BASH = """_code_jax() {
    local command=${COMP_WORDS[1]} current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} words=
    if [ "$COMP_CWORD" -eq 1 ]; then
        words=@COMMANDS@
    else
        case "$command $previous" in
@VALUES@
            *) if [ "${current#-}" != "$current" ]; then case "$command" in
@OPTIONS@
            esac fi ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _code_jax code-jax"""
_ZSH = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("completion", help="print a script that makes a shell complete", epilog=_EPILOG)
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="for which")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the script."""
    from code_jax.cli.main import parser_of_all

    commands, helps = _commands(parser_of_all())
    if args.shell == "fish":
        print("\n".join(_fish(commands, helps)))
    else:
        print((_ZSH if args.shell == "zsh" else "") + _bash(commands))
    return 0


def _commands(parser: argparse.ArgumentParser) -> tuple[dict[str, list[argparse.Action]], dict[str, str]]:
    """The options of each command, and each command's help."""
    (subparsers,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    options = {name: [action for action in each._actions if action.option_strings] for name, each in subparsers.choices.items()}
    return options, {action.dest: action.help or "" for action in subparsers._choices_actions}


def _values(action: argparse.Action) -> list[str]:
    """The words that may follow an option: its choices, its ``words``, or those of a metavar such as code|sdedit|FILE."""
    if action.choices is not None:
        return [str(choice) for choice in action.choices]
    words = getattr(action, "words", str(action.metavar or "").split("|"))
    return [word for word in words if re.fullmatch(r"[a-z0-9_-]+", word)] if len(words) > 1 else []


def _bash(commands: dict[str, list[argparse.Action]]) -> str:
    values, options = [], []
    for name, actions in commands.items():
        for action in actions:
            if _values(action):
                patterns = "|".join(f'"{name} {option}"' for option in action.option_strings)
                values.append(f"            {patterns}) words={shlex.quote(' '.join(_values(action)))} ;;")
        words = " ".join(option for action in actions for option in action.option_strings if option.startswith("--"))
        options.append(f"                {name}) words='{words}' ;;")
    script = _BASH.replace("@COMMANDS@", shlex.quote(" ".join(commands)))
    return script.replace("@VALUES@", "\n".join(values)).replace("@OPTIONS@", "\n".join(options))


def _fish(commands: dict[str, list[argparse.Action]], helps: dict[str, str]) -> Iterator[str]:
    for name, actions in commands.items():
        yield f"complete -c code-jax -n __fish_use_subcommand -f -a {name} -d {shlex.quote(helps[name])}"
        for action in actions:
            values, seen = _values(action), f"__fish_seen_subcommand_from {name}"
            words = ["complete", "-c", "code-jax", "-n", seen, "-l", action.option_strings[-1][2:]]
            words += ["-x", "-a", " ".join(values)] if values else [] if action.nargs == 0 else ["-r"]
            yield shlex.join([*words, "-d", action.help or ""])
