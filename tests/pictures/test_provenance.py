import json
import os
import re
import shlex
import subprocess

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

import code_jax
from code_jax.cli.main import main
from code_jax.pictures.provenance import exif_with, png_text, read_facts
from code_jax.priors.hash import prior_hash
from code_jax.runs.commands import command_of

FAST = ["--ode-steps", "2", "--langevin-steps", "2", "--batch-size", "2"]

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "a picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)).save(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "argv",
    [
        ["--preset", "global", "--fit", "crop", "--seed", "7"],
        ["--depth", "0.5,0.2", "--eta", "none", "--samples", "2", "--dynamic-threshold", "0.98,1.3", "--mask"],
        ["--method", "ddim", "--depth", "0.123456", "--precision", "bfloat16"],
        ["--format", "jpeg", "--quality", "80", "--keep-size"],
        ["--format", "webp", "--suffix", "_restored"],
    ],
)
def test_the_command_that_info_prints_makes_the_result_again(tiny_folder, picture, tmp_path, capsys, argv):
    if "--mask" in argv:
        mask = tmp_path / "mask.png"
        Image.fromarray(np.repeat(np.uint8([0, 255]), [5, 5])[None].repeat(12, 0)).save(mask)
        argv = [*argv, str(mask)]
    fast = ["--ode-steps", "2", "--batch-size", "2"] if "ddim" in argv else FAST  # which has no Langevin steps
    assert main(["restore", str(picture), "--out", str(tmp_path / "out"), "--prior", tiny_folder, *fast, *argv]) == 0
    result = max(path for path in (tmp_path / "out").iterdir() if path.suffix in (".png", ".jpg", ".webp"))
    capsys.readouterr()
    assert main(["info", str(result), "--input", str(picture)]) == 0
    shown = capsys.readouterr().out
    assert re.search(rf"^version +{code_jax.__version__}$", shown, re.MULTILINE)
    words = shlex.split(shown.splitlines()[-1])
    assert words[:3] == ["code-jax", "restore", str(picture)]
    words[words.index("DIR")] = str(tmp_path / "again")
    if "MASK" in words:
        words[words.index("MASK")] = str(mask)
        given_ = np.asarray(Image.open(picture).resize((8, 8), Image.Resampling.LANCZOS))
        assert np.array_equal(np.asarray(Image.open(result))[:, :3], given_[:, :3])
    assert main(words[1:]) == 0
    assert (tmp_path / "again" / result.name).read_bytes() == result.read_bytes()


def test_another_input_is_told_apart(tiny_folder, picture, tmp_path, capsys):
    assert main(["restore", str(picture), "--out", str(tmp_path / "out"), "--prior", tiny_folder, *FAST]) == 0
    other = tmp_path / "other.png"
    Image.open(picture).transpose(Image.Transpose.ROTATE_180).save(other)
    result = str(tmp_path / "out" / picture.name)
    assert main(["info", result, "--input", str(other)]) == 2
    assert "was not made from" in capsys.readouterr().err


def test_what_is_not_ours_is_one_line(picture, tmp_path, capsys):
    (tmp_path / "text.png").write_text("no picture")
    text = PngImagePlugin.PngInfo()
    text.add_text("code_jax", "{")
    Image.new("RGB", (8, 8)).save(tmp_path / "broken.png", pnginfo=text)
    text = PngImagePlugin.PngInfo()
    text.add_text("code_jax", "[1]")
    Image.new("RGB", (8, 8)).save(tmp_path / "list.png", pnginfo=text)
    for path in (tmp_path / "text.png", tmp_path / "broken.png", tmp_path / "list.png", tmp_path / "absent.png"):
        assert main(["info", str(path)]) == 2
        shown = capsys.readouterr().err
        assert shown.count("\n") == 1 and path.name in shown


def test_of_a_picture_that_is_no_result_info_tells_what_would_be_done(tiny_folder, tmp_path, capsys):
    Image.new("LA", (19, 11), (7, 9)).save(tmp_path / "a picture.png")
    assert main(["info", str(tmp_path / "a picture.png"), "--prior", tiny_folder]) == 0
    shown = capsys.readouterr().out
    assert "PNG, 19x11 pixels, gray, 8 bits, transparency" in shown
    assert "24 evaluations of the network\n" in shown and "the prior's size; --keep-size brings it back" in shown
    words = shlex.split(shown.splitlines()[-1].replace("restored", str(tmp_path / "restored")))
    assert main([*words[1:], *FAST]) == 0 and "restored 1" in capsys.readouterr().out
    assert (tmp_path / "restored" / "a picture.png").exists()


ANY_JSON = [None, True, -1, 2**70, 0.5, "x", "\x1b[2J", "\ud800", [1], [[[]]], {"a": 1}, [10**9, 10**9], float("nan")]


@pytest.mark.parametrize(
    "field", ["version", "settings", "prior_hash", "input_hash", "mask_hash", "seed", "sample", "micro_batch", "size", "x"]
)
def test_whatever_stands_in_a_field_info_ends_in_words(field, tmp_path, capsys, picture):
    for value in ANY_JSON:
        for facts in ({field: value}, {"settings": {field: value}}):
            Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=png_text(facts))
            for argv in ([], ["--input", str(picture)]):
                status = main(["info", str(tmp_path / "a.png"), *argv])
                shown = capsys.readouterr()
                assert status in (0, 2) and (status == 0 or shown.err.count("\n") == 1)
                assert shown.out.replace("\n", "").isprintable() and shown.err.replace("\n", "").isprintable()


def test_deep_and_broken_json_pipes_and_folders_are_one_line(tmp_path, capsys):
    for name, text in {"deep": "[" * 100_000, "cut": '{"a":', "digits": "1" * 5000}.items():
        info = PngImagePlugin.PngInfo()
        info.add_text("code_jax", text)
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png", pnginfo=info)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / os.fsdecode(b"\xff\x1b.png")).write_bytes(b"")
    for path in sorted(tmp_path.iterdir()):
        assert main(["info", str(path)]) == 2
        shown = capsys.readouterr().err
        assert shown.count("\n") == 1 and shown[:-1].isprintable()


def test_the_command_holds_any_name(tmp_path):
    """Each word is given back by a shell, byte for byte; a name with a dash is no option."""
    for name in ("-dash.png", "a b's.png", "new\nline.png", os.fsdecode(b"caf\xe9\x1b.png"), "日本\u3000語.png"):
        line = command_of({}, name, out=name)
        assert line.isprintable()
        script = f"code-jax() {{ printf '%s\\0' \"$@\"; }}; {line}"
        words = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout.split(b"\0")
        expected = os.fsencode(name if name[0] != "-" else f"./{name}")
        assert words[:4] == [b"restore", expected, b"--out", expected]


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF", "AVIF"])
def test_exif_holds_the_facts_beside_what_was_there(kind, tmp_path):
    before = Image.Exif()
    before[0x013B], before.get_ifd(0x8769)[0x9003] = "Ada", "2024:01:02 03:04:05"
    Image.new("RGB", (16, 16)).save(tmp_path / "picture", kind, exif=exif_with({"seed": 3, "name": "ü"}, before.tobytes()))
    assert read_facts(tmp_path / "picture") == {"version": code_jax.__version__, "seed": 3, "name": "ü"}
    with Image.open(tmp_path / "picture") as picture:
        after = picture.getexif()
        assert after[0x013B] == "Ada" and after.get_ifd(0x8769)[0x9003] == "2024:01:02 03:04:05"
    other = Image.Exif()
    other[0x9C9C] = "a comment of another program".encode("utf-16-le")
    Image.new("RGB", (16, 16)).save(tmp_path / "other", kind, exif=other)
    with pytest.raises(code_jax.UserError, match="says nothing of its origin"):
        read_facts(tmp_path / "other")


@given(facts=st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.floats(allow_nan=False))))
def test_any_facts_are_read_back(facts):
    import io

    file = io.BytesIO()
    facts = {name: value for name, value in facts.items() if name not in ("settings", "version")}
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=png_text(facts))
    assert read_facts(file) == json.loads(json.dumps(facts)) | {"version": code_jax.__version__}


def test_a_priors_hash_is_of_its_weights_in_whatever_format(tiny, tiny_folder, tmp_path):
    code_jax.save_prior(tiny, tmp_path / "ours", format="orbax")
    digest = prior_hash(tiny)
    assert prior_hash(code_jax.load_prior(tiny_folder)) == prior_hash(code_jax.load_prior(tmp_path / "ours")) == digest
    leaves, structure = jax.tree.flatten(tiny.params)
    nudged = [leaves[0] + 1e-6, *leaves[1:]]
    assert prior_hash(tiny.replace(params=jax.tree.unflatten(structure, nudged))) != digest
