"""The web page of ``code-jax demo``: what it is served by, and what runs behind it."""
