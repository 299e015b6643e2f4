"""The command line: each command is one call into the library, and what it prints."""

from __future__ import annotations

from .running import main

__all__ = ["main"]
