"""Graphs that can be run, out of what a model folder holds: built from safetensors, and in 8 bits."""

from .building import onnx_file
from .optimised import PRECISIONS, Receipt, best_graph, int8_file, read_receipt, refused, write_receipt
from .quantising import write_int8

__all__ = [
    "PRECISIONS",
    "Receipt",
    "best_graph",
    "int8_file",
    "onnx_file",
    "read_receipt",
    "refused",
    "write_int8",
    "write_receipt",
]
