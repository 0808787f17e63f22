"""The check of every call's shapes and types: jaxtyping's, by beartype, once the call has returned."""

import inspect
import typing

from beartype import BeartypeConf, beartype

_check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as for mypy


def _has_protocol(hint):
    """Whether isinstance would compute properties; mypy sees to protocols."""
    return getattr(hint, "_is_protocol", False) or any(map(_has_protocol, typing.get_args(hint)))


def after_the_call(function):
    """Checks arguments and result together, where there is a result: a call that was refused has its own line for that.

    jaxtyping asks for two checks of each function: one of its arguments, to be made before, and one of them with what came of it.
    """
    with_result = any(name.startswith("ret") for name in inspect.getfullargspec(function).kwonlyargs)
    if not with_result or function.__name__ == "__init__":  # JAX makes pytrees of what are no arrays as well
        return function
    hints = function.__annotations__.items()
    function.__annotations__ = {name: typing.Any if _has_protocol(hint) else hint for name, hint in hints}
    return _check(function)
