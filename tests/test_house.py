"""The house, read from the sources: imports go one way, a file is of one noun, and nobody asks which method it is."""

import ast
import re
from pathlib import Path

import code_jax
from code_jax.editing import methods

ROOT = Path(code_jax.__file__).parent.parent
PACKAGES = ("code_jax", "checkpoints_convert")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
ROOMS = (  # each imports from those before it, and from no other
    *("errors", "version", "shapes", "documents", "durable", "cache", "progress", "interruption", "renamed", "late_answers"),
    *("storage", "cluster"),
    *("diffusion", "models", "checkpoints_convert", "corruptions", "metrics", "pictures", "devices", "priors"),
    *("editing", "training", "runs", "evaluation", "bench", "code_jax", "demo", "cli", "__main__"),
)
CONVERTING = {  # who imports checkpoints_convert, always within a function: reading weights costs nobody else its time
    "priors": "weights of other frameworks make priors, and priors are written for them",
    "metrics": "the published weights of LPIPS and Inception are pickles, which it reads as data",
}
LONGEST = 300  # lines of a file


def _room(module):
    first, *rest = module.split(".")
    return rest[0] if first == "code_jax" and rest else first


def _imports(path):
    """(module, whether within a function or for a type checker alone) of every import of the house in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        found = []
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
            found = [f"{node.module}.{alias.name}" if node.module == "code_jax" else node.module for alias in node.names]
        yield from ((module, node not in tree.body) for module in found if module.split(".")[0] in PACKAGES)


def _edges():
    """(file, room, imported room, lazily) of every import between rooms."""
    for path in FILES:
        name = path.relative_to(ROOT).as_posix()
        own = _room(name.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        for module, lazily in _imports(path):
            if own != _room(module):
                yield name, own, _room(module), lazily


EDGES = list(_edges())


def test_every_room_has_its_place():
    assert {room for _, one, other, _ in EDGES for room in (one, other)} <= set(ROOMS)


def test_imports_go_one_way():
    assert not [edge for edge in EDGES if ROOMS.index(edge[2]) > ROOMS.index(edge[1])]


def test_no_two_rooms_import_each_other():
    pairs = {(own, other) for _, own, other, _ in EDGES}
    assert not {pair for pair in pairs if pair[::-1] in pairs}


def test_converters_are_imported_where_weights_are_read_and_only_then():
    found = {(own, lazily) for _, own, other, lazily in EDGES if other == "checkpoints_convert"}
    assert found == {(own, True) for own in CONVERTING}


def test_a_file_is_of_one_noun():
    files = [*FILES, *(ROOT / "tests").rglob("*.py")]
    assert not [str(path) for path in files if len(path.read_text(encoding="utf-8").splitlines()) > LONGEST]


def _names_compared(tree):
    """Texts that something is compared with: by an operator, a pattern, or the start or end of a text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("startswith", "endswith"):
            parts = node.args
        else:
            continue
        yield from (part.value for each in parts for part in ast.walk(each) if isinstance(part, ast.Constant))


def _kinds_asked(tree):
    """Names of the types that isinstance is asked of."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
            yield from (part.attr if isinstance(part, ast.Attribute) else part.id for part in ast.walk(node.args[1])
                        if isinstance(part, (ast.Attribute, ast.Name)))  # fmt: skip
        elif isinstance(node, ast.MatchClass):
            yield ast.unparse(node.cls)


def test_nobody_asks_which_method_it_is():
    for path in FILES:
        if methods.__path__[0] not in str(path):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert not {*_names_compared(tree)} & {*methods.names(), *methods.rows()}, path
            assert not {*_kinds_asked(tree)} & {"EditConfig", "OfficialSettings"}, path
    for path in (ROOT / "code_jax").rglob("*.js"):
        compared = re.findall(r"""[=!]==? ?["'`]([^"'`]*)["'`]""", path.read_text(encoding="utf-8"))
        assert not {*compared} & {*methods.names(), *methods.rows()}, path
