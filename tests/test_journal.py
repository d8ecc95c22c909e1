"""A run that goes on where it was: the same arrays, computed once."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgs_jax.journal import Journal, recorded

TYPES = ("bool", "uint8", "int32", "int64", "uint32", "float16", "float32", "float64")


class Parts:
    """Entry k of a run, and which of them were computed."""

    def __init__(self):
        self.computed = []

    def __call__(self, k):
        def part():
            self.computed.append(k)
            values = np.random.default_rng(k).normal(size=(k + 1, 2)) * 100
            return {"b": values.astype(np.float32), "a": jnp.arange(k + 1)}

        return part

    def run(self, journal, count):
        return [journal.run(self(k)) for k in range(count)]


def assert_same(ours, expected):
    for one, other in zip(ours, expected, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert isinstance(one[name], np.ndarray) and one[name].dtype == other[name].dtype
            np.testing.assert_array_equal(one[name], other[name])


def test_a_second_run_computes_nothing_and_gets_the_same_arrays(tmp_path):
    journal, first = Journal(tmp_path), Parts()
    expected = first.run(journal, 12)
    journal.flush()
    journal.close()
    assert first.computed == list(range(12)) and journal.recovered == 0
    again, second = Journal(tmp_path), Parts()
    assert again.recovered == 12
    assert_same(second.run(again, 12), expected)
    assert second.computed == []
    again.close()


def test_a_run_that_stopped_goes_on(tmp_path):
    expected = [Parts()(k)() for k in range(13)]
    done = 0
    for stop in (0, 3, 4, 11, 13):  # each time a new process, as it were
        journal, parts = Journal(tmp_path), Parts()
        assert journal.recovered == done
        assert_same(parts.run(journal, stop), [{n: np.asarray(x) for n, x in e.items()} for e in expected[:stop]])
        assert parts.computed == list(range(done, stop))
        journal.flush()
        journal.close()
        done = stop


def test_a_longer_recording_serves_a_shorter_run(tmp_path):
    journal = Journal(tmp_path)
    Parts().run(journal, 5)
    journal.flush()
    journal.close()
    again, parts = Journal(tmp_path), Parts()
    parts.run(again, 2)
    again.flush()
    again.close()
    assert parts.computed == [] and Journal(tmp_path).recovered == 5


@pytest.mark.parametrize("dtype", TYPES)
def test_an_entry_keeps_its_types_shapes_and_bits(tmp_path, dtype):
    values = np.array([[0, 1, 1], [1, 0, 3]]).astype(dtype)
    if values.dtype.kind == "f":
        values[1] = [np.nan, -0.0, np.finfo(dtype).max]
    elif values.dtype.kind in "iu":
        values[1, 2] = np.iinfo(dtype).max
    entry = {"plain": values, "fortran": np.asfortranarray(values), "one": values[:1, :1], "strided": values[:, ::2]}
    journal = Journal(tmp_path)
    journal.run(lambda: entry)
    journal.flush()
    journal.close()
    found = Journal(tmp_path).run(dict)
    assert found.keys() == entry.keys()
    for name, array in entry.items():
        assert found[name].dtype == dtype and found[name].shape == array.shape
        assert found[name].tobytes() == np.ascontiguousarray(array).tobytes()


def test_nothing_is_written_before_its_time(tmp_path):
    journal = Journal(tmp_path, every=1e9)
    Parts().run(journal, 3)
    assert Journal(tmp_path).recovered == 0
    journal.flush()
    assert Journal(tmp_path).recovered == 3
    journal.flush()  # with nothing new it writes nothing
    assert len([path for path in tmp_path.iterdir() if path.name.isdigit()]) == 1
    journal.close()


def test_each_entry_is_written_at_once_where_no_time_is_left(tmp_path):
    journal, parts = Journal(tmp_path, every=-1.0), Parts()
    for k in range(3):
        journal.run(parts(k))
        assert Journal(tmp_path).recovered == k + 1
    journal.close()


def test_a_part_that_fails_leaves_the_ones_before_it(tmp_path):
    journal, parts = Journal(tmp_path), Parts()
    parts.run(journal, 2)
    with pytest.raises(ZeroDivisionError):
        journal.run(lambda: {"a": np.array([1 // 0])})
    journal.flush()
    journal.close()
    again = Journal(tmp_path)
    assert again.recovered == 2


def test_a_checkpoint_cut_off_while_it_was_written_does_not_count(tmp_path):
    journal, parts = Journal(tmp_path), Parts()
    parts.run(journal, 2)
    journal.flush()
    journal.close()
    whole = next(path for path in tmp_path.iterdir() if path.name.isdigit())
    half = tmp_path / "1.orbax-checkpoint-tmp"
    half.mkdir()
    for path in list(whole.rglob("*"))[:2]:
        if path.is_file():
            (half / path.name).write_bytes(path.read_bytes()[:5])
    again, more = Journal(tmp_path), Parts()
    assert again.recovered == 2
    more.run(again, 3)
    again.flush()
    again.close()
    assert more.computed == [2] and Journal(tmp_path).recovered == 3


class Pair(NamedTuple):
    first: Any
    second: Any


def test_a_tree_comes_back_as_it_was(tmp_path):
    """Nested, of JAX's arrays, with a number, and with a leaf that has no element."""
    tree = {
        "pair": Pair(jnp.array([[0.1, jnp.nan]]), jnp.array([True, False])),
        "none": (None, jnp.zeros((0, 3))),
        "number": jnp.asarray(7),
        "many": [jnp.full(2, k) for k in range(12)],
    }
    calls, like = [], jax.eval_shape(lambda: tree)

    def part():
        calls.append(1)
        return tree

    journal = Journal(tmp_path)
    first = journal.run_tree(part, like)
    journal.flush()
    journal.close()
    again = Journal(tmp_path).run_tree(part, like)
    assert len(calls) == 1
    for found in (first, again):
        assert jax.tree.structure(found) == jax.tree.structure(tree)
        for ours, expected in zip(jax.tree.leaves(found), jax.tree.leaves(tree), strict=True):
            assert isinstance(ours, np.ndarray) and ours.dtype == expected.dtype
            np.testing.assert_array_equal(ours, expected)


def test_without_a_journal_the_part_is_computed(tmp_path):
    parts = Parts()
    assert_same([recorded(None, lambda: {"a": np.arange(3)})], [{"a": np.arange(3)}])
    journal = Journal(tmp_path)
    recorded(journal, parts(0))
    journal.flush()
    journal.close()
    recorded(Journal(tmp_path), parts(0))
    assert parts.computed == [0]
