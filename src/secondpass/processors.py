"""Which of a model's 8-bit files was made for this processor."""

from __future__ import annotations

import platform
import re
from contextlib import suppress
from functools import cache
from pathlib import Path

__all__ = ["EIGHT_BIT", "eight_bit_names", "features", "processor_name"]

_MADE_FOR = (
    ("avx512_vnni", "onnx/model_qint8_avx512_vnni.onnx"),
    ("avx512", "onnx/model_qint8_avx512.onnx"),
    ("avx2", "onnx/model_quint8_avx2.onnx"),
    ("arm64", "onnx/model_qint8_arm64.onnx"),
)
_FOR_ANY = ("onnx/model_quantized.onnx", "onnx/model_int8.onnx")
EIGHT_BIT = (*(file for _, file in _MADE_FOR), *_FOR_ANY)
"""Every 8-bit file that is looked for: the names that sentence-transformers and transformers.js give them."""


@cache
def features() -> frozenset[str]:
    """Return those of ``avx512_vnni``, ``avx512``, ``avx2`` and ``arm64`` that this processor has.

    Linux tells them in /proc/cpuinfo. Elsewhere an x86-64 processor is taken to have AVX2, which those sold
    since 2013 have, and no more than that.
    """
    machine = platform.machine().lower()
    if machine in ("arm64", "aarch64"):
        return frozenset({"arm64"})
    if machine not in ("x86_64", "amd64"):
        return frozenset()
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset({"avx2"})
    flags = set(" ".join(re.findall(r"^flags\s*:(.*)$", told, re.MULTILINE)[:1]).split())
    named = {"avx512_vnni": "avx512_vnni", "avx512": "avx512f", "avx2": "avx2"}
    return frozenset(name for name, flag in named.items() if flag in flags)


def eight_bit_names(has: frozenset[str] | None = None) -> tuple[str, ...]:
    """Return the 8-bit files that a processor can use, the one made for it first.

    Args:
        has: see ``features``; those of this processor by default.
    """
    has = features() if has is None else has
    return (*(file for feature, file in _MADE_FOR if feature in has), *_FOR_ANY)


@cache
def processor_name() -> str:
    """Return what the processor calls itself, or its architecture where it does not say."""
    with suppress(OSError):
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        named = re.search(r"^model name\s*:\s*(.+)$", told, re.MULTILINE)
        if named:
            return named[1].strip()
    return platform.processor() or platform.machine()
