"""A run's own file comes back as it was written, and one line where it is damaged."""

import json
from dataclasses import replace

import pytest

from fgs_bridges.run_folder import read_run, write_run
from fgs_jax.errors import BridgeError
from tests.bridges.stages.runs import a_run


def test_runs_come_back_from_their_files(config, tmp_path):
    run = replace(a_run(tmp_path / "run", config), side="left")
    write_run(run)
    assert read_run(run.folder) == run
    with pytest.raises(BridgeError, match=r"run\.json: expected this file, there is none"):
        read_run(tmp_path)
    (run.folder / "run.json").write_text('{"format": "other"}')
    with pytest.raises(BridgeError, match=r"run\.json: expected a run of this program"):
        read_run(run.folder)


@pytest.mark.parametrize("change", [{"object": 3}, {"text": None}, {"side": []}, {"config": "open"}])
def test_a_damaged_record_of_a_run_gets_one_line(config, tmp_path, change):
    run = a_run(tmp_path / "run", config)
    write_run(run)
    values = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps(values | change))
    with pytest.raises(BridgeError, match=rf'run\.json: expected a value of another type as "{next(iter(change))}"'):
        read_run(run.folder)
    (run.folder / "run.json").write_text(json.dumps({name: values[name] for name in values if name not in change}))
    with pytest.raises(BridgeError, match=r"came none; mend it$"):
        read_run(run.folder)
