"""Priors: a network with its weights and schedule, and where they are found."""

DEFAULT = "pictures-64"
"""What is loaded where nobody names a prior: by commands, by `code_jax.restore` and by `code_jax.load_prior`."""
