"""A small rendered scene and what `refine` makes of it, once for all tests that look at a result."""

from dataclasses import replace
from functools import cache

from fgs_jax.config import FAST, Phase
from fgs_jax.results.result import Result
from fgs_jax.stages.refine import refine
from fgs_jax.testing import RenderedScene, as_scene, make_scene

SIZE = (160, 160)
PHASE = Phase(1.0, 1, 80, 192, 192, rotation_rate=(1e-1, 3e-3), translation_rate=(2e-2, 3e-4))
SMALL = replace(
    FAST,
    opa=replace(FAST.opa, phases=(PHASE,), candidates=8, polish_evaluations=100),
    contact=replace(FAST.contact, steps=98, refresh=5, object_points=500),
    restarts=48,
    candidates=2,
    grid=32,
    rival_margin=0.0,
)
"""No note hangs on how near two scores are. Contact's steps are rounded up to whole searches for neighbours, 100, which
the host sees in two parts: a run can be killed between them."""


@cache
def rendered(shape: str = "spray_bottle", *, hamer_focal: bool = False) -> RenderedScene:
    return make_scene(shape, 0, SIZE, hamer_focal=hamer_focal)


@cache
def refined() -> Result:
    return refine(as_scene(rendered()), SMALL)
