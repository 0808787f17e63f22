"""Priors: a network with its weights and schedule, and where they are found."""
