"""The command line: parse, call, print."""

from cbam_search.cli.main import main

__all__ = ["main"]
