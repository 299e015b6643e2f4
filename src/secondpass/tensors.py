"""Tensors out of ONNX and safetensors files, mapped and not copied, without the libraries of either."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import ModelInvalidError

__all__ = ["OnnxTensors", "read_safetensors"]

Array = npt.NDArray[Any]

_ONNX_TYPES = {1: "<f4", 2: "u1", 3: "i1", 6: "<i4", 7: "<i8", 10: "<f2", 11: "<f8"}
"""TensorProto.DataType of onnx.proto to numpy; other types are not weights of a ranker."""
_SAFETENSORS_TYPES = {
    "F32": "<f4",
    "F16": "<f2",
    "F64": "<f8",
    "I8": "i1",
    "U8": "u1",
    "I64": "<i8",
    "I32": "<i4",
}


def read_safetensors(path: Path) -> dict[str, Array]:
    """Return the tensors of a safetensors file by name; bfloat16 comes as float32.

    The format: eight bytes with the length of a JSON header, the header, the data.

    Raises:
        ModelInvalidError: it cannot be read, or is damaged.
    """
    data = _map(path)
    try:
        size = int.from_bytes(data[:8], "little")
        header = json.loads(bytes(data[8 : 8 + size]))
        header.pop("__metadata__", None)
        found = {}
        for name, entry in header.items():
            start, end = entry["data_offsets"]
            raw = data[8 + size + start : 8 + size + end]
            found[name] = _typed(raw, entry["dtype"]).reshape(entry["shape"])
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ModelInvalidError(f"{path} is damaged ({exc}); fetch the model again") from exc
    return found


def _typed(raw: memoryview, kind: str) -> Array:
    if kind == "BF16":  # the upper half of a float32
        return (np.frombuffer(raw, dtype="<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(raw, dtype=_SAFETENSORS_TYPES[kind])


@dataclass(frozen=True, slots=True)
class _Node:
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class OnnxTensors:
    """The initializers of an ONNX file, and the weight that belongs to a bias.

    Linear maps lose the names of their weights when they are exported; the bias keeps its own, so a weight is
    found through the addition of its bias.

    Args:
        path: the file.

    Raises:
        ModelInvalidError: it cannot be read, or is no ONNX file (at first use).
    """

    path: Path
    _graph: list[tuple[int, memoryview]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Find the graph in the file."""
        graphs = [value for number, value in self._fields(_map(self.path)) if number == 7]
        if not graphs:
            raise ModelInvalidError(f"{self.path} is no ONNX file; fetch the model again")
        object.__setattr__(self, "_graph", [each for each in self._fields(graphs[0]) if each[0] in (1, 5)])

    @cached_property
    def named(self) -> dict[str, Array]:
        """Every initializer by name, as stored; those of other types or in other files are left out."""
        return dict(found for number, value in self._graph if number == 5 for found in self._tensor(value))

    def linear(self, bias: str) -> tuple[Array, Array | None]:
        """Return the weight ``[inputs, outputs]`` that feeds a bias, and its scale a column where it is int8.

        Raises:
            KeyError: the graph has no such bias, or another shape of arithmetic before it.
        """
        for node in self._readers.get(bias, ()):
            if node.kind == "Gemm":
                return self.named[node.inputs[1]].T, None
            if node.kind == "Add":
                (product,) = [each for each in node.inputs if each != bias]
                return self._weight(product)
        raise KeyError(bias)

    def _weight(self, product: str) -> tuple[Array, Array | None]:
        """Follow a product back to its stored weight: plain, scaled after or scaled before multiplying."""
        node = self._makers[product]
        if node.kind in ("Mul", "Cast"):  # what came out of integers, on its way back to float
            return self._weight(next(each for each in node.inputs if self._is_product(each)))
        weight = node.inputs[1]
        if node.kind == "MatMulInteger":
            stem = weight.removesuffix("_quantized")
            zero = self.named.get(f"{stem}_zero_point")
            if zero is not None and np.any(zero):
                raise KeyError(weight)
            return self.named[weight], self.named[f"{stem}_scale"].reshape(-1)
        if node.kind != "MatMul":
            raise KeyError(product)
        if weight in self.named:
            return self.named[weight], None
        scaled = self._makers[weight]  # stored small, made wide before use
        scale = next(each for each in scaled.inputs if each in self.named)
        stored = next(each for each in scaled.inputs if each not in self.named)
        if scaled.kind != "Mul" or self._makers[stored].kind != "Cast":
            raise KeyError(weight)
        return self.named[self._makers[stored].inputs[0]], self.named[scale].reshape(-1)

    def _is_product(self, name: str) -> bool:
        maker = self._makers.get(name)
        if maker is None:
            return False
        if maker.kind in ("MatMul", "MatMulInteger"):
            return True
        return maker.kind in ("Mul", "Cast") and any(self._is_product(each) for each in maker.inputs)

    @cached_property
    def _nodes(self) -> list[_Node]:
        nodes = []
        for number, value in self._graph:
            if number == 1:
                texts: dict[int, list[str]] = {1: [], 2: [], 4: [""]}
                for part, text in self._fields(value):
                    if part in texts:
                        texts[part].append(bytes(text).decode("utf-8", "replace"))
                nodes.append(_Node(texts[4][-1], tuple(texts[1]), tuple(texts[2])))
        return nodes

    @cached_property
    def _makers(self) -> dict[str, _Node]:
        return {name: node for node in self._nodes for name in node.outputs}

    @cached_property
    def _readers(self) -> dict[str, list[_Node]]:
        readers: dict[str, list[_Node]] = {}
        for node in self._nodes:
            for name in node.inputs:
                readers.setdefault(name, []).append(node)
        return readers

    def _tensor(self, data: memoryview) -> Iterator[tuple[str, Array]]:
        """Yield one name and array, or nothing for a tensor of another type or in another file."""
        shape: list[int] = []
        kind, name, raw = 0, "", memoryview(b"")
        for number, value in self._fields(data):
            if number == 1:
                shape += _whole_numbers(value)
            elif number == 2:
                kind = _whole_numbers(value)[0]
            elif number == 8:
                name = bytes(value).decode("utf-8", "replace")
            elif number in (4, 9):
                raw = value
            elif number == 5:
                raw = memoryview(
                    np.array(_whole_numbers(value)).astype(_ONNX_TYPES.get(kind, "i1")).tobytes()
                )
        if kind in _ONNX_TYPES and raw.nbytes == np.dtype(_ONNX_TYPES[kind]).itemsize * int(np.prod(shape)):
            yield name, np.frombuffer(raw, dtype=_ONNX_TYPES[kind]).reshape(shape)

    def _fields(self, data: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Yield the fields of a protobuf message: number and value; a varint comes as its bytes."""
        at, end = 0, len(data)
        try:
            while at < end:
                key, at = _varint(data, at)
                kind, start = key & 7, at
                if kind == 0:
                    _, at = _varint(data, at)
                elif kind == 2:
                    size, start = _varint(data, at)
                    at = start + size
                else:
                    at = start + {1: 8, 5: 4}[kind]
                if at > end:
                    raise IndexError
                yield key >> 3, data[start:at]
        except (IndexError, KeyError) as exc:
            raise ModelInvalidError(f"{self.path} is damaged or no ONNX file; fetch the model again") from exc


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


def _whole_numbers(data: memoryview) -> list[int]:
    """Read varints one after another, as 64-bit two's complement."""
    values, at = [], 0
    while at < len(data):
        value, at = _varint(data, at)
        values.append(value - (1 << 64) if value >> 63 else value)
    return values


def _map(path: Path) -> memoryview:
    try:
        with path.open("rb") as stream:
            return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as exc:  # an empty file cannot be mapped
        raise ModelInvalidError(f"cannot read {path}: {exc}; fetch the model again") from exc
