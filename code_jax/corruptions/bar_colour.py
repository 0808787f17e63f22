"""Corruptions of ImageNet-C-bar."""

from __future__ import annotations

from code_jax.corruptions.family import Family

FAMILY: Family = {}
