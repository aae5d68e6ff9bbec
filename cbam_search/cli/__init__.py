"""The command line: each command parses its arguments, calls the room that does the work, and prints.

Imports torch, Ray and MLflow only inside the commands that need them.
"""

from cbam_search.cli.main import main

__all__ = ["main"]
