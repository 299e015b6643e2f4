"""Cores, batches, the pool, and graphs that are opened once."""

from __future__ import annotations

import gc
import math
import multiprocessing
import os
import shutil
import threading
import weakref

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from secondpass import batching, cores, models
from secondpass.batching import Row, packed_batches, starts_of, token_batches
from secondpass.cores import for_each
from secondpass.errors import ModelInvalidError
from secondpass.inference import mean_states, open_graph, run_rows, unit


def write(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        ("", {}, math.inf),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "50000 100000", "a/b/cpu.max": "max 100000"}, 0.5),
        ("0::/a/b\n", {"a/cpu.max": "400000 100000", "a/b/cpu.max": "200000 100000"}, 2.0),
        ("0::/gone/../..\n", {"cpu.max": "100000 100000"}, 1.0),
        (
            "3:memory:/m\n2:cpu,cpuacct:/box\n",
            {"cpu,cpuacct/box/cpu.cfs_quota_us": "300000\n", "cpu,cpuacct/box/cpu.cfs_period_us": "100000\n"},
            3.0,
        ),
        ("2:cpu,cpuacct:/x\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        ("2:cpu:/x\n", {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "0"}, math.inf),
        ("0::/\n", {"cpu.max": "nonsense"}, math.inf),
        ("5:cpuset:/\n", {"cpuset/cpu.cfs_quota_us": "1", "cpuset/cpu.cfs_period_us": "100000"}, math.inf),
    ],
)
def test_cpu_quota_of_both_kinds_of_cgroups(tmp_path, membership, files, quota):
    write(tmp_path / "root", files)
    (tmp_path / "cgroup").write_text(membership)
    assert cores.cpu_quota(tmp_path / "root", tmp_path / "cgroup") == quota
    usable = cores.usable_cores(tmp_path / "root", tmp_path / "cgroup")
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert usable == min(allowed, max(1, math.ceil(min(quota, 10**6))))


@given(
    lengths=st.lists(st.integers(1, 600), max_size=80),
    budget=st.integers(1, 1000),
)
@settings(deadline=None)
def test_batches_hold_each_row_once_within_the_budget(lengths, budget):
    batches = token_batches(lengths, budget)
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    longest = [max(lengths[place] for place in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)
    assert all(
        len(batch) == 1 or len(batch) * most <= budget for batch, most in zip(batches, longest, strict=True)
    )


def test_rows_are_padded_only_to_the_longest_of_their_batch():
    rows = [Row([5] * length, [1] * length) for length in (3, 9, 2, 8)]
    seen = {}

    def work(batch):
        assert batch.ids.shape == batch.mask.shape == batch.types.shape
        seen[tuple(batch.places.tolist())] = (batch.ids.tolist(), batch.mask.tolist(), batch.types.tolist())

    run_rows(rows, work, budget=18, pad_id=7)
    assert set(seen) == {(1, 3), (0, 2)}
    assert seen[0, 2] == ([[5, 5, 5], [5, 5, 7]], [[1, 1, 1], [1, 1, 0]], [[1, 1, 1], [1, 1, 0]])


def test_no_rows_no_work():
    run_rows([], lambda batch: pytest.fail("called"))
    for_each(lambda thing: pytest.fail("called"), [])


def test_the_first_error_of_a_parallel_run_comes_out():
    def work(number):
        if number == 3:
            raise ModelInvalidError("three")

    with pytest.raises(ModelInvalidError, match="three"):
        for_each(work, range(10))


def test_parallel_runs_use_more_than_one_thread_where_there_are_cores():
    if cores.usable_cores() < 2:
        pytest.skip("one core")
    both = threading.Barrier(2, timeout=60)
    for_each(lambda _: both.wait(), [0, 1])  # ends only if two run at once


def _in_child(queue):
    done = []
    for_each(done.append, [1, 2, 3])
    queue.put(sorted(done))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_gets_its_own_pool():
    for_each(lambda _: None, [1, 2, 3])
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == [1, 2, 3]
    child.join(60)
    assert child.exitcode == 0


def test_means_of_packed_rows():
    states = np.array([[1, 2], [3, 4], [1, 1], [2, 2], [3, 3]], dtype=np.float32)
    means = mean_states(states, np.array([0, 2, 5], dtype=np.int32))
    assert means.dtype == np.float32
    np.testing.assert_array_equal(means, [[2, 3], [2, 2]])


@given(lengths=st.lists(st.integers(1, 400), min_size=1, max_size=60), budget=st.integers(1, 900))
def test_packed_batches_hold_every_row_once_and_share_the_work(lengths, budget):
    batches = packed_batches(lengths, budget)
    assert sorted(place for batch in batches for place in batch.tolist()) == list(range(len(lengths)))
    sums = [sum(lengths[place] for place in batch) for batch in batches]
    assert max(sums) <= max(2 * budget, max(lengths))
    assert max(sums) - sum(sums) / len(sums) <= max(lengths) or len(batches) == 1


def test_where_rows_start():
    assert starts_of([Row([5], [0]), Row([5, 6, 7], [0, 0, 0])]).tolist() == [0, 1, 4]


def test_unit_vectors():
    np.testing.assert_allclose(unit(np.array([[3, 4], [0, 0]], dtype=np.float32)), [[0.6, 0.8], [0, 0]])
    for bad in (np.nan, np.inf):
        with pytest.raises(ModelInvalidError, match="not finite"):
            unit(np.array([[1, bad]], dtype=np.float32))


@pytest.fixture
def onnx_copy(tmp_path):
    return shutil.copy(models.resolve("late-interaction").weights(), tmp_path / "model.onnx")


def test_a_graph_is_shared_while_someone_holds_it_and_freed_after(onnx_copy):
    first = open_graph(onnx_copy)
    assert open_graph(onnx_copy) is first
    os.utime(onnx_copy, ns=(1, 1))
    assert open_graph(onnx_copy) is not first
    gone = weakref.ref(first)
    del first
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("keep", [0, 1000, 100_000, 20_000_000])
def test_a_damaged_graph_is_named_and_nothing_printed(onnx_copy, capfd, keep):
    content = onnx_copy.read_bytes()
    onnx_copy.write_bytes(content[:keep])
    with pytest.raises(ModelInvalidError, match=r"model\.onnx"):
        open_graph(onnx_copy)
    onnx_copy.write_bytes(content[:keep] + bytes(len(content) - keep))
    with pytest.raises(ModelInvalidError, match=r"model\.onnx"):
        open_graph(onnx_copy)
    assert capfd.readouterr() == ("", "")


def test_a_missing_graph_is_named(tmp_path):
    with pytest.raises(ModelInvalidError, match=r"absent\.onnx"):
        open_graph(tmp_path / "absent.onnx")


def test_a_graph_with_other_inputs_is_refused(tmp_path):
    node = helper.make_node("Identity", ["pixels"], ["same"])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("pixels", "same")]
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save_model(model, tmp_path / "image.onnx")
    with pytest.raises(ModelInvalidError, match=r"image\.onnx has the inputs pixels"):
        open_graph(tmp_path / "image.onnx")


def test_rows_stand_alone_where_a_scale_is_taken_over_the_batch():
    assert open_graph(models.resolve("minilm-l6").weights()).row_budget == 1
    assert open_graph(models.resolve("late-interaction").weights()).row_budget == batching.TOKEN_BUDGET
