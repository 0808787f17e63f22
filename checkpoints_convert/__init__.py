"""Weights of other frameworks to ours, and back."""
