"""The command line: `asyncq worker app:broker`, also as `python -m asyncq`."""

from asyncq.cli.group import main

__all__ = ["main"]
