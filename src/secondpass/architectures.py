"""What a ``config.json`` says of a model: its class, code of its own (never run here), our settings."""

from __future__ import annotations

from typing import Any

__all__ = ["architecture_of", "needs_code", "own_settings"]


def architecture_of(config: dict[str, Any]) -> str | None:
    """Return the name of a model's class from its ``config.json``, or None where it names none."""
    named = config.get("architectures")
    return str(named[0]) if isinstance(named, list) and named else None


def needs_code(config: dict[str, Any]) -> bool:
    """Whether a ``config.json`` points to code in the model's own repository for its class.

    Classes that transformers has itself need none, whatever ``auto_map`` says besides.
    """
    pointed = config.get("auto_map")
    classes = [str(each) for each in pointed.values()] if isinstance(pointed, dict) else []
    return any(each.rpartition(".")[2] == architecture_of(config) for each in classes)


def own_settings(config: dict[str, Any]) -> dict[str, Any]:
    """Return what secondpass wrote into a model's ``config.json``; nothing for other models."""
    ours = config.get("secondpass")
    return ours if isinstance(ours, dict) else {}
