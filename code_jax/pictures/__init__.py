"""Pictures: files of them to pixels and back, arrays, sheets."""
