"""Folders of pictures in, folders of pictures out."""
