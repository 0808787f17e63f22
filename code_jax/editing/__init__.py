"""Restoring and editing: CODE, SDEdit and the DDIM round trip."""
