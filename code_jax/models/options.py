"""Checks of every network's config: bounds that published networks keep and hostile files do not, before any allocation."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from code_jax.documents import is_whole
from code_jax.errors import UserError, brief

MAX_CHANNELS, MAX_LEVELS, MAX_LAYERS, MAX_SIZE, MAX_CLASSES = 8192, 12, 64, 8192, 1 << 20

Config = TypeVar("Config")


def read_options(
    cls: type[Config], config: Mapping[str, Any], only: Mapping[str, tuple[Any, str]], without_effect: Collection[str] = ()
) -> Config:
    """A dataclass of a mapping of its fields' names.

    Args:
        cls: the dataclass; its own checks run.
        config: what a file says; names that begin with "_" are the writer's notes.
        only: options that the network answers to with one value alone, and what any other would make of it.
        without_effect: options that nothing here depends on.

    Raises:
        UserError: names an option that is unknown, or that has a value this network does not answer to.
    """
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}
    for name, (value, reason) in only.items():
        if name in values and values[name] != value:
            raise UserError(f"{name} {brief(config[name])} is not supported (only {value!r} is): {reason}")
    known = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name in set(values) - known - set(only) - set(without_effect):
        if not name.startswith("_"):
            raise UserError(f"unknown option {brief(name)} = {brief(config[name])} of the network's config")
    values = {name: value for name, value in values.items() if name in known}
    missing = [
        field.name
        for field in dataclasses.fields(cls)  # type: ignore[arg-type]
        if field.default is dataclasses.MISSING and field.name not in values
    ]
    if missing:
        raise UserError(f"{', '.join(missing)} missing from the network's config")
    return cls(**values)


def one_of(name: str, value: Any, kinds: Collection[Any]) -> None:
    """Refuses what is not among the kinds."""
    if value not in kinds:
        raise UserError(f"{name} {brief(value)} is not supported; choose from {', '.join(map(repr, kinds))}")


def whole(name: str, value: Any, most: int, least: int = 1) -> None:
    """Refuses what is no whole number from least to most."""
    if not is_whole(value, least, most):
        raise UserError(f"{name} is {brief(value)}; it must be a whole number from {least} to {most}")


def wholes(name: str, values: Any, most: int, longest: int, shortest: int = 1) -> None:
    """Refuses what is no tuple of a bounded number of whole numbers from 1 to most."""
    if not isinstance(values, tuple) or not shortest <= len(values) <= longest:
        raise UserError(f"{name} is {brief(values)}; it must be a list of {shortest} to {longest} whole numbers")
    for value in values:
        whole(name, value, most)


def number(name: str, value: Any, low: float, high: float) -> None:
    """Refuses what is no number in [low, high]; NaN fits no interval."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise UserError(f"{name} is {brief(value)}; it must be a number from {low:g} to {high:g}")


def flag(name: str, value: Any) -> None:
    """Refuses what is neither true nor false."""
    if not isinstance(value, bool):
        raise UserError(f"{name} is {brief(value)}; it must be true or false")
