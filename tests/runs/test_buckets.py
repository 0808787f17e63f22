"""Inputs, results, priors and clean sources in buckets: bytes as on a disk, whatever the storage does and whoever kills it."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import code_jax
from code_jax.cli.main import main
from code_jax.priors.load import load_prior
from code_jax.storage import address
from tests.runs.conftest import exact_prior, make_pictures
from tests.runs.results import files, lines
from tests.storage.conftest import google, hurried  # noqa: F401

_OF_PLACE = ("input", "seconds", "input_version", "output_version")


@pytest.fixture
def bucket(google, pictures):  # noqa: F811
    """A bucket with pictures in folders, and a file that is none, as on the disk beside it."""
    (pictures / "sub").mkdir()
    Image.new("L", (9, 9), 77).save(pictures / "sub" / "gray.png")
    (pictures / "bad.jpg").write_bytes(b"no picture")
    google.objects |= {f"pictures/in/{name}": data for name, data in files(pictures).items()}
    return google


def told(found):
    """Lines by what they are of, without what depends on places and times."""
    kept = [{name: value for name, value in line.items() if name not in _OF_PLACE} for line in found]
    return sorted(kept, key=lambda line: (line["name"], line["sample"] or 0))


def parts_of(google, prefix):  # noqa: F811
    """The lines of the manifest in a bucket."""
    stored = google.below(f"{prefix}/manifest")
    return [json.loads(text) for _, data in sorted(stored.items()) for text in data.splitlines()]


def results_of(google, prefix):  # noqa: F811
    return {name: data for name, data in google.below(prefix).items() if name.endswith(".png")}


def test_results_are_those_of_a_disk_wherever_they_lie(bucket, pictures, tmp_path, restore, capsys):
    assert restore(pictures, "--out", tmp_path / "out") == 1
    expected, lines_expected = files(tmp_path / "out"), told(lines(tmp_path / "out"))
    assert len(expected) == 11
    (tmp_path / "at").mkdir()
    for given, out in (
        ("gs://pictures/in", "gs://pictures/out"),
        ("gs://pictures/in", tmp_path / "disk"),
        (pictures, "gs://pictures/up"),
        (f"file://{pictures}", f"file://{tmp_path}/at"),
        ("gs://pictures/in", "gs://pictures/in/inside"),
    ):
        capsys.readouterr()
        assert restore(given, "--out", out) == 1
        shown = capsys.readouterr()
        assert "restored 11, failed 1" in shown.out and "bad.jpg': not a picture" in shown.err
    assert results_of(bucket, "pictures/out") == results_of(bucket, "pictures/up") == expected
    assert results_of(bucket, "pictures/in/inside") == expected
    assert files(tmp_path / "disk") == expected == {n: d for n, d in files(tmp_path / "at").items() if n.endswith(".png")}
    assert told(lines(tmp_path / "disk")) == told(parts_of(bucket, "pictures/out")) == lines_expected
    assert {line["input"] for line in lines(tmp_path / "disk")} == {f"gs://pictures/in/{name}" for name in files(pictures)}


def test_what_is_done_is_not_read_again_and_what_changed_is_made_anew(bucket, restore, capsys):
    given = ("gs://pictures/in", "--out", "gs://pictures/out")
    assert restore(*given) == 1
    expected = results_of(bucket, "pictures/out")
    bucket.requests.clear()
    capsys.readouterr()
    assert restore(*given) == 1
    assert "restored 0, done before 11, failed 1" in capsys.readouterr().out
    assert bucket.requests["GET"] < 11 + 1 and bucket.requests["PUT"] == 1  # the claim, which is there already
    del bucket.objects["pictures/out/p03.png"]  # a person's doing
    bucket.objects["pictures/out/p04.png"] = b"damaged"
    bucket.objects["pictures/in/p05.png"] = bucket.objects["pictures/in/p06.png"]
    assert restore(*given) == 1
    assert "restored 3, done before 8, failed 1" in capsys.readouterr().out
    assert results_of(bucket, "pictures/out") == expected | {"p05.png": expected["p06.png"]}
    assert len(parts_of(bucket, "pictures/out")) == 12


def test_the_first_picture_is_restored_before_the_listing_ends(google, restore):  # noqa: F811
    """The second page of the listing is held back until a result is there."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), np.uint8)
    for number, each in enumerate(pixels):
        google.objects[f"pictures/in/{number:03}.png"] = code_jax.pictures.encode.encode_picture(each, None, "PNG")[0]
    google.page, first, listed_before = 50, threading.Event(), []

    def fault(method, key):
        if method == "PUT" and key.endswith(".png"):
            first.set()
        if method == "LIST" and key.startswith("pictures/in/0"):  # a page after another
            listed_before.append(first.wait(60))

    google.fault = fault
    assert restore("gs://pictures/in", "--out", "gs://pictures/out") == 0
    assert listed_before and all(listed_before)
    assert len(results_of(google, "pictures/out")) == 60


def test_a_storage_that_fails_now_and_then_changes_nothing(bucket, restore, hurried):  # noqa: F811
    assert restore("gs://pictures/in", "--out", "gs://pictures/undisturbed") == 1
    chance = random.Random(0)
    bucket.fault = lambda method, key: chance.choice(["503", "429", "lost"]) if chance.random() < 0.15 else None
    address._opened.cache_clear()
    assert restore("gs://pictures/in", "--out", "gs://pictures/out") == 1
    assert results_of(bucket, "pictures/out") == results_of(bucket, "pictures/undisturbed")
    assert told(parts_of(bucket, "pictures/out")) == told(parts_of(bucket, "pictures/undisturbed"))


def test_a_storage_that_goes_stops_the_run_in_one_line(bucket, restore, hurried, capsys):  # noqa: F811
    address._opened.cache_clear()
    bucket.fault = lambda method, key: "503" if bucket.requests["PUT"] > 4 else None
    assert restore("gs://pictures/in", "--out", "gs://pictures/out") == 2
    shown = capsys.readouterr().err.splitlines()
    assert [
        line for line in shown if "error" in line and "503 Service Unavailable" in line and "what was written is whole" in line
    ]
    assert "secret" not in "".join(shown)
    bucket.fault = lambda method, key: None
    assert restore("gs://pictures/in", "--out", "gs://pictures/out") == 1
    assert len(results_of(bucket, "pictures/out")) == 11 and len(parts_of(bucket, "pictures/out")) == 12


@pytest.mark.slow
def test_two_killed_runs_and_one_that_ends_leave_what_an_undisturbed_one_does(bucket, restore):
    for number in range(12, 40):
        bucket.objects[f"pictures/in/p{number}.png"] = bucket.objects["pictures/in/p01.png"]
    assert restore("gs://pictures/in", "--out", "gs://pictures/undisturbed") == 1
    command = [sys.executable, "-m", "tests.runs.driver", "0.01", "gs://pictures/in", "--out", "gs://pictures/out"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    for least in (2, 20):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while len(results_of(bucket, "pictures/out")) < least and process.poll() is None:
            time.sleep(0.005)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert len(results_of(bucket, "pictures/out")) < 39
    assert restore("gs://pictures/in", "--out", "gs://pictures/out") == 1
    assert results_of(bucket, "pictures/out") == results_of(bucket, "pictures/undisturbed")
    assert told(parts_of(bucket, "pictures/out")) == told(parts_of(bucket, "pictures/undisturbed"))
    assert {*bucket.below("pictures/out")} == {*results_of(bucket, "pictures/out"), ".manifest.json"} | {
        f"manifest/{name}" for name in bucket.below("pictures/out/manifest")
    }


def test_two_shares_at_a_time_and_the_whole_after_them(bucket, pictures, tmp_path, restore, capsys):
    assert restore(pictures, "--out", tmp_path / "out") == 1
    for share in ("1/2", "2/2"):
        assert restore("gs://pictures/in", "--out", "gs://pictures/out", "--shard", share) in (0, 1)
    assert results_of(bucket, "pictures/out") == files(tmp_path / "out")
    capsys.readouterr()
    assert main(["merge", "gs://pictures/out"]) == 1
    assert "11 results, failed 1; 'gs://pictures/out/manifest' tells of all" in capsys.readouterr().out
    assert len(bucket.below("pictures/out/manifest")) == 1
    assert main(["info", "gs://pictures/out"]) == 0
    assert "11 results of 11 pictures" in capsys.readouterr().out


IN, OUT = "gs://pictures/in", "gs://pictures/out"
THEIRS = {"out/.manifest.json": b'{"command": "sweep", "settings": {}}'}


@pytest.mark.parametrize(
    ("before", "given", "said"),
    [
        ({"out/theirs.txt": b"x"}, (IN, "--out", OUT), "holds objects, and code-jax restore did not make them"),
        (THEIRS, (IN, "--out", OUT), "holds what code-jax 'sweep' made"),
        ({}, (IN, "--out", IN), "is or holds the input"),
        ({}, (IN, "--out", "gs://pictures"), "is or holds the input"),
        ({}, ("gs://pictures/none", "--out", OUT), "no picture in 'gs://pictures/none'"),
        ({}, (IN, "--out", "https://host/out?X-Amz-Signature=SECRET"), "results go to a folder, gs:// or s3://"),
        ({}, (IN, "--out", OUT, "--mask", f"{IN}/none.png"), "there is no such object"),
    ],
)
def test_what_cannot_be_is_one_line_and_nothing_is_written(before, given, said, bucket, restore, capsys):
    bucket.objects |= {f"pictures/{name}": data for name, data in before.items()}
    there = dict(bucket.objects)
    assert restore(*given) == 2
    shown = capsys.readouterr()
    assert said in shown.err and shown.err.count("\n") == 1 and not shown.out and "SECRET" not in shown.err
    assert bucket.objects == there


def test_a_folder_with_other_files_takes_no_listing(bucket, tmp_path, restore, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "p01.png").write_bytes(b"theirs")
    assert restore("gs://pictures/in", "--out", tmp_path / "out") == 2
    assert "did not make them" in capsys.readouterr().err and len(files(tmp_path / "out")) == 1


def test_other_settings_are_refused_by_what_claimed_the_address(bucket, restore, capsys):
    assert restore("gs://pictures/in", "--out", "gs://pictures/out") == 1
    there = dict(bucket.objects)
    assert restore("gs://pictures/in", "--out", "gs://pictures/out", "--seed", "1") == 2
    assert "seed was 0, is 1; --overwrite replaces them" in capsys.readouterr().err
    assert bucket.objects == there
    assert restore("gs://pictures/in", "--out", "gs://pictures/out", "--seed", "1", "--overwrite") == 1
    assert {line["seed"] for line in parts_of(bucket, "pictures/out")} == {1}


def test_clean_sources_samples_and_reports_are_as_on_a_disk(bucket, pictures, tmp_path, restore):
    bucket.objects |= {f"clean/{name}": data for name, data in files(pictures).items()}
    options = ("--samples", "2", "--report")
    assert restore(pictures, "--out", tmp_path / "out", "--reference", pictures, *options) == 1
    assert restore("gs://pictures/in", "--out", "gs://pictures/out", "--reference", "gs://clean", *options) == 1
    found = bucket.below("pictures/out")
    assert found["contact_sheet.png"] == (tmp_path / "out" / "contact_sheet.png").read_bytes()
    assert found["report.html"] == (tmp_path / "out" / "report.html").read_bytes()
    assert told(parts_of(bucket, "pictures/out")) == told(lines(tmp_path / "out"))


def test_a_name_that_no_object_can_have_fails_alone(google, tmp_path, restore, capsys):  # noqa: F811
    make_pictures(tmp_path / "in", 2)
    Image.new("RGB", (8, 8)).save(tmp_path / "in" / "new\nline.png")
    assert restore(tmp_path / "in", "--out", "gs://pictures/out") == 1
    assert "restored 2, failed 1" in capsys.readouterr().out and len(results_of(google, "pictures/out")) == 2


def test_a_prior_of_a_bucket_is_downloaded_once_for_each_version(google, tiny, tiny_folder, own_cache):  # noqa: F811
    uploaded = {f"priors/tiny/{name}": data for name, data in files_below(tiny_folder).items()}
    google.objects |= uploaded
    for _ in range(2):
        prior = load_prior("gs://priors/tiny")
        jax.tree.map(np.testing.assert_array_equal, prior.params, tiny.params)
    assert google.requests["GET"] == len(uploaded) and google.requests["LIST"] == 2
    with pytest.raises(ValueError, match="nothing below 'gs://priors/none'"):
        load_prior("gs://priors/none")


def files_below(folder):
    paths = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_in_python_pictures_of_a_bucket_are_restored_too(bucket, pictures, own_cache):
    config = code_jax.preset("default").with_program(num_steps=2)
    del bucket.objects["pictures/in/bad.jpg"]
    found = code_jax.restore("gs://pictures/in", exact_prior(), config)
    assert len(found.pictures) == 11 and str(found.facts[0]["name"]) == "p00.png"


def test_signatures_and_credentials_are_in_no_message_and_no_manifest(bucket, tmp_path, restore, monkeypatch, capsys):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRET-KEY")
    bucket.objects["host/a.png"] = bucket.objects["pictures/in/p01.png"]
    signed = [f"{bucket.url}/host/{name}?X-Goog-Signature=SECRET-SIGNATURE" for name in ("a.png", "gone.png")]
    assert restore(*signed, "--out", tmp_path / "out") == 1
    shown = capsys.readouterr()
    assert "gone.png?…': there is no such object" in shown.err and "restored 1, failed 1" in shown.out
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert b"SECRET" not in written and "SECRET" not in shown.err + shown.out
