"""The mathematics of variance-preserving diffusion; knows no network and no files."""
