"""The command line of ``vrft``."""

from vrft.cli.commands import main

__all__ = ["main"]
