"""Every command and every Python block of the README and the guide is run, on tiny pictures and with few steps.

A block of commands runs in a folder of its own, line by line; what stands for a user's own file or for a download is replaced by
`stand_ins`, and the evaluations are made few by `FEWER`. What cannot be run here is listed in `NOT_RUN`: anything else that
these pages tell a user to type is run, and fails this test if it cannot be. The commands beside the measured tables are parsed.
"""

import importlib
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import code_jax
from code_jax.cli.main import main, parse
from code_jax.evaluation.entry import read_values
from code_jax.priors import load as loading
from tests.conftest import ONE_LEVEL, tiny_prior

ROOT = Path(__file__).parent.parent
RUN = ("README.md", "notebooks/README.md", "notebooks/recipes/shards.md")
RECIPES = tuple(str(path.relative_to(ROOT)) for path in sorted((ROOT / "notebooks" / "recipes").glob("*.md")))
MEASURED = "tests/benchmarks/README.md"
PAGES = tuple(dict.fromkeys((*RUN, *RECIPES, MEASURED)))
TEXT = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}

NOT_RUN = (
    r"pip install .*",  # tried in fresh environments by .ci/run, as is what follows
    r"pytest.*",
    r"git clone ADDRESS code_jax|cd code_jax",
)
FEWER = {
    "restore": ["--ode-steps", "2", "--langevin-steps", "2"],
    "sweep": ["--ode-steps", "2", "--langevin-steps", "2"],
    "bench": ["--ode-steps", "2", "--langevin-steps", "2", "--runs", "1", "--points", "2", "--batch-size", "1"],
    "train": ["--steps", "2", "--batch-size", "4", "--held-out", "2"],
    "demo": ["--port", "0"],
    "evaluate": ["--methods", "inputs,ddim", "--set", "num_steps=2", "--protocol", "oracle"],
}
LANGUAGES = {"sh", "python", "bibtex"}
HUB_ID = re.compile(r"google/ddpm-\S+")
pytestmark = pytest.mark.usefixtures("own_cache")


def _blocks(page):
    """(language, text) of each fenced or indented block."""
    fenced = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    found = [(match[1], match[2]) for match in fenced.finditer(TEXT[page])]
    indented = re.findall(r"(?:(?<=\n\n)|\A)((?:(?: {4}.*)?\n)+)", fenced.sub("", TEXT[page]))
    texts = [re.sub(r"^ {4}", "", text, flags=re.MULTILINE).strip("\n") for text in indented]
    return found + [("bibtex" if text.startswith("@") else "sh", text) for text in texts if text.strip()]


BLOCKS = [block for page in RUN for block in _blocks(page)]
COMMANDS = [text for language, text in BLOCKS if language == "sh"]
PYTHON = [text for language, text in BLOCKS if language == "python"]
INLINE = [command for page in PAGES for command in re.findall(r"`(code-jax [^`]+)`", TEXT[page])]


def _commands(text):
    """The commands of a block, one by one, without prompts and comments."""
    lines = text.replace("\\\n", " ").splitlines()
    parts = [part for line in lines for part in re.split(r"&&|;", re.sub(r"(^|\s)#.*", "", line.removeprefix("$ ")))]
    return [part.strip() for part in parts if part.strip()]


@pytest.fixture(scope="module")
def small():
    """A prior of the bundled one's size with a tiny network: the bundled one itself is run by .ci/run."""
    return tiny_prior(**ONE_LEVEL | {"sample_size": (64, 64), "add_attention": False})


@pytest.fixture
def stand_ins(tmp_path, tiny_folder, small, monkeypatch):
    """What the pages' names stand for here, in the folder that commands are run in."""
    load = loading.load_prior
    bundled = loading.bundled_priors()
    monkeypatch.setattr(loading, "load_prior", lambda name, **given: small if name in bundled else load(name, **given))
    (tmp_path / "code_jax").symlink_to(ROOT / "code_jax")
    for folder in ("pictures", "clean"):
        (tmp_path / folder).mkdir()
        for seed in range(8):
            pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{seed}.png")
    Image.open(tmp_path / "pictures" / "0.png").save(tmp_path / "photo.png")
    Image.open(tmp_path / "pictures" / "0.png").save(tmp_path / "strokes.png")
    Image.new("L", (40, 40), 255).save(tmp_path / "mask.png")
    recipe = {"network": tiny_prior(**ONE_LEVEL).function.network.config.to_diffusers(), "recipe": {"warmup": 1}}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    monkeypatch.chdir(tmp_path)
    names = {"PICTURE_OR_FOLDER...": "pictures", "PICTURES": "pictures", "FOLDER": "pictures", "FOLDER_OR_ZIP": "pictures"}
    names |= {"PICTURE": "photo.png", "INPUT": "photo.png", "MASK": "mask.png", "RESULT": "DIR/photo.png"}
    return names | {name: "recipe.json" for name in ("small", "base")} | {"PRIOR": tiny_folder, "SOURCE": tiny_folder}


@pytest.fixture(autouse=True)
def served_at_once(monkeypatch):
    """`code-jax demo` comes back when it would begin to wait for a browser."""
    import uvicorn

    monkeypatch.setattr(uvicorn.Server, "run", lambda *_, sockets: [socket.close() for socket in sockets])


@pytest.mark.parametrize("text", COMMANDS)
def test_the_commands_run(text, stand_ins, tiny_folder, capsys):
    for command in _commands(text):
        if any(re.fullmatch(pattern, command) for pattern in NOT_RUN):
            continue
        words = [HUB_ID.sub(tiny_folder, stand_ins.get(word, word)) for word in shlex.split(command)]
        program, *argv = words[3:] if words[:3] == ["python", "-m", "code_jax"] else words
        assert program == "code-jax", f"a command that this test cannot run: {command}"
        assert main([*argv, *FEWER.get(argv[0], [])]) == 0, f"{command}: {capsys.readouterr().err}"


@pytest.mark.parametrize("command", INLINE)
def test_commands_in_the_text_parse(command):
    try:
        parsed = parse(shlex.split(re.sub(r"^code-jax$", "code-jax --help", command))[1:])
        assert callable(parsed.run) and isinstance(read_values(getattr(parsed, "set", [])), dict)
    except SystemExit as ended:  # --help
        assert ended.code == 0


def test_benchmarks_that_are_named_exist_and_can_begin():
    named = {name for text in TEXT.values() for name in re.findall(r"python -m\s(tests\.benchmarks\.\w+)", text)}
    for name in named:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as absent:
            assert absent.name in ("torch", "diffusers"), name  # of the extra `parity`


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", TEXT[page]):
        assert ((ROOT / page).parent / target).exists(), target


def test_the_readme_is_a_screen_and_a_page():
    assert len(TEXT["README.md"].encode()) <= 7000


def test_the_python_blocks_run_in_their_order(stand_ins, small, monkeypatch):
    pictures = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), np.uint8)
    monkeypatch.setattr(code_jax, "load_prior", lambda name: small)
    names = {"photographs": code_jax.from_uint8(pictures)}
    for text in PYTHON:
        exec(compile(text, "README.md", "exec"), names)
    assert PYTHON and np.isfinite([names["distance"], *names["apart"]]).all()
    assert [each.size for each in names["restored"]] == [(64, 64)] * 8


def test_the_languages_of_blocks_are_known():
    assert {language for language, _ in BLOCKS} <= LANGUAGES and len(COMMANDS) >= 3
