"""``python -m code_jax``: the command line."""

from code_jax.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
