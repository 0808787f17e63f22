from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from code_jax.cli.main import main
from code_jax.priors.load import bundled_samples
from code_jax.runs import restore
from code_jax.runs.summary import Summary


@pytest.fixture
def restored(monkeypatch):
    """The run itself is another test's: here it notes what it was given, and finds the device done."""
    given = []

    def noted(sources, out, prior, config, job, shard, cluster):
        given.append((sources, out, prior, job))
        return Summary(done=len(sources), signal=None)

    monkeypatch.setattr(restore, "restore_files", noted)
    return given


def test_try_restores_the_bundled_samples_into_a_folder_here_and_says_what_to_look_at(
    restored, tmp_path, monkeypatch, own_cache, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["try"]) == 0
    ((sources, out, prior, job),) = restored
    assert [source.path for source in sources] == list(bundled_samples()) and out == Path("restored")
    assert all(source.reference is not None for source in sources)
    assert prior.image_shape == (64, 64, 3) and job.compare and job.report and job.settings["prior"] == "pictures-64"
    shown = capsys.readouterr().out
    assert "restored/report.html" in shown and "restored/contact_sheet.png" in shown and "code-jax restore" in shown


def test_try_overwrites_nothing(restored, tmp_path, monkeypatch, own_cache, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "restored").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "restored" / bundled_samples()[0].name)
    assert main(["try"]) == 2 and not restored
    assert "is there already" in capsys.readouterr().err
    assert main(["try", "--out", "other"]) == 0 and restored[0][1] == Path("other")
