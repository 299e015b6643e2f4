"""Graphs that can be run, out of what a model folder holds: built from safetensors, and in 8 bits."""

from .converted import graph_place, onnx_file
from .optimised import (
    Receipt,
    best_graph,
    int8_file,
    kernels_refused,
    made_from,
    read_receipt,
    write_receipt,
)
from .quantising import write_int8

__all__ = [
    "Receipt",
    "best_graph",
    "graph_place",
    "int8_file",
    "kernels_refused",
    "made_from",
    "onnx_file",
    "read_receipt",
    "write_int8",
    "write_receipt",
]
