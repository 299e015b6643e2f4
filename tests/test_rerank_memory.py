from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
    import random, resource, sys
    from collections.abc import Sequence
    from secondpass import CrossEncoder

    class Made(Sequence):
        '''Distinct texts of 100 KB, made when they are asked for.'''
        def __init__(self, count):
            self.count = count
        def __len__(self):
            return self.count
        def __getitem__(self, place):
            if not 0 <= place < self.count:
                raise IndexError(place)
            words = random.Random(place).choices(WORDS, k=200)
            return (" ".join(words) + f" {place} ") * (100_000 // (sum(map(len, words)) + 206)) + "end"

    WORDS = [f"{a}{b}{c}" for a in "btk" for b in ("ar", "in", "ol") for c in ("", "ing", "ed", "s")]
    def peak():
        kilo = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return kilo / 1024 if sys.platform != "darwin" else kilo / 2**20

    reranker = CrossEncoder("minilm-l6", max_length=32, max_windows=2)
    readings = reranker.read("how is an iron bar rolled?", Made(30))
    before = peak()
    readings = reranker.read("how is an iron bar rolled?", Made(150))
    assert len({reading.tokens_total for reading in readings}) > 20
    print(len(readings), sum(map(len, Made(150))) / 2**20, peak() - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="getrusage is of POSIX")
def test_many_long_passages_need_no_more_memory_than_a_few() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)], check=True, capture_output=True, text=True
    )
    count, megabytes, grown = done.stdout.split()
    assert int(count) == 150
    assert float(megabytes) > 13
    assert float(grown) < 8
