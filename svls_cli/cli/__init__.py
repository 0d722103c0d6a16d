"""The command line; the only part that knows click."""

from svls_cli.cli.group import main

__all__ = ["main"]
