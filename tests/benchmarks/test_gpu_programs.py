"""The programs that the table is about are those of the package, and are lowered for a GPU here."""

import sys

import pytest

from benchmarks.gpu_programs import _computations, contact_program, main, pose_programs, silhouette_program
from tests.lowered import loops, lowered

HLO = """HloModule jit_f

%fused (p: f32[4]) -> f32[4] {
  ROOT %n = f32[4]{0} negate(%p)
}

%body (arg: (s32[], f32[4])) -> (s32[], f32[4]) {
  %f = f32[4]{0} fusion(%x), kind=kLoop, calls=%fused
}

ENTRY %main (p: f32[4]) -> f32[4] {
  %w = (s32[], f32[4]{0}) while(%t), condition=%cond, body=%body
}
"""


def test_only_steps_and_rounds_are_loops():
    for program, expected in zip(
        [*pose_programs(), silhouette_program(), contact_program(4)], (1, 1, 1, 0, 2), strict=True
    ):
        assert loops(lowered(program.function, *program.arguments, platform="cuda")) == expected, program.name


def test_a_module_is_read_by_its_computations():
    found = _computations(HLO)
    assert list(found) == ["fused", "body", "main"]
    assert found["body"] == ["  %f = f32[4]{0} fusion(%x), kind=kLoop, calls=%fused", "}"]


def test_without_the_compiler_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax_plugins", None)
    with pytest.raises(SystemExit, match=r'expected JAX.s compiler for GPUs, found none: pip install "jax\[cuda13\]"'):
        main()
