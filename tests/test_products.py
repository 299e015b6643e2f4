"""A matrix times a vector without waking other threads."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from secondpass.products import product


def test_it_is_the_product_in_float32() -> None:
    generator = np.random.default_rng(7)
    matrix = generator.standard_normal((1000, 384)).astype(np.float32)
    vector = generator.standard_normal(384).astype(np.float32)
    found = product(matrix, vector)
    assert found.dtype == np.float32
    assert found == pytest.approx(matrix.astype(np.float64) @ vector, abs=1e-4)
    assert product(matrix[:0], vector).shape == (0,)


def test_a_row_does_not_depend_on_the_others() -> None:
    generator = np.random.default_rng(8)
    matrix = generator.standard_normal((50, 384)).astype(np.float32)
    alone = [product(row[None], matrix[0])[0] for row in matrix]
    assert product(matrix, matrix[0]).tolist() == alone


ONE_SEARCH = """
import time
import numpy as np
from secondpass.stores import NumpyStore
vectors = np.random.default_rng(9).standard_normal((20_000, 384)).astype(np.float32)
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
store = NumpyStore(384)
store.add(range(20_000), vectors)
time.sleep(0.5)
others = time.process_time() - time.thread_time()
for _ in range(20):
    store.search(vectors[0], 3)
time.sleep(0.2)  # in which they would spin
print(round(time.process_time() - time.thread_time() - others, 3), round(time.thread_time(), 3))
"""


def test_searching_keeps_to_its_own_thread() -> None:
    """Processor time, not a clock: what other threads of the process spent while one searched."""
    done = subprocess.run([sys.executable, "-c", ONE_SEARCH], capture_output=True, text=True, check=True)
    others, own = map(float, done.stdout.split())
    assert others < own / 10
