"""`fgs ablate`: a scene refined with parts of the method left out."""

from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import FlagCreatePairsOff, Positional

from fgs_jax.config_files import load_config
from fgs_jax.errors import ResultError
from fgs_jax.files import output_folder
from fgs_jax.picture.scene_files import load_scene
from fgs_jax.results import ablate
from fgs_jax.results.write import check_apart, check_folder
from fgs_jax.run_lock import RunLock
from fgs_jax.solve.ahead import start_up

SceneFolder = Annotated[Path, tyro.conf.arg(metavar="SCENE")]
ConfigName = Annotated[str, tyro.conf.arg(metavar="NAME|FILE")]


def ablate_scene(
    scene: Positional[SceneFolder], out: Path, config: ConfigName = "fast", overwrite: FlagCreatePairsOff[bool] = False
) -> None:
    """Refine a scene without OPA, scale alignment, the hand prior, energies: a table, and ablation.html with pictures.

    Args:
        scene: Folder of a scene, as `fgs refine` takes it.
        out: Folder to write.
        config: fast, paper, or a YAML file.
        overwrite: Replace OUT if it is there.
    """
    start_up()
    chosen = load_config(config)
    out = output_folder(out, ResultError)
    check_apart(out, scene)
    with RunLock(out) as lock:
        check_folder(out, overwrite=overwrite, names=ablate.FILES)
        given = load_scene(scene)
        print(ablate.markdown(ablate.HEAD), flush=True)

        def print_row(outcome: ablate.Outcome) -> None:
            print(ablate.markdown(ablate.cells(outcome, chosen.contact.term_weights)), flush=True)

        outcomes = ablate.ablate(given, chosen, print_row)
        lock.check()
        ablate.write_ablation(outcomes, out, overwrite=overwrite, source=str(scene))
    print(f"\n{ablate.LEGEND}\nwrote {out / 'ablation.html'}")
