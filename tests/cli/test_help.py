"""The help of every command, and completion in real shells."""

import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from code_jax.cli.main import main, parse, parser_of_all
from code_jax.cli.runtime import INTERRUPTED

PARSER = parser_of_all()
COMMANDS = next(action.choices for action in PARSER._actions if action.choices)
ROWS, COLUMNS = 40, 80
ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits_a_screen_and_its_examples_are_commands(name, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    with pytest.raises(SystemExit) as ended:
        main([*name.split(), "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) <= ROWS
    assert max(map(len, shown.splitlines())) <= COLUMNS
    examples = re.findall(r"code-jax [^#|)\n]+", shown.partition("examples:\n")[2])
    assert examples
    for example in examples:
        argv = shlex.split(example)[1:]
        if "--help" not in argv:
            assert callable(parse(argv).run)


def test_without_a_command_there_is_the_help_and_the_status_of_wrong_usage(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    assert main([]) == 2
    assert capsys.readouterr() == ("", PARSER.format_help())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained_in_full_help(name, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    parser = COMMANDS[name]
    shown = parser.help_of()
    assert max(map(len, shown.splitlines())) <= COLUMNS
    for action in parser._actions:
        assert action.help and all(f"  {option}" in shown or f", {option}" in shown for option in action.option_strings)
    if "--help-all" in shown:
        with pytest.raises(SystemExit):
            main([name, "--help-all"])
        assert capsys.readouterr().out == shown != parser.format_help()


COMPLETIONS = [
    ("code-jax res", "restore"),
    ("code-jax restore --lang", "--langevin --langevin-steps"),
    ("code-jax restore --preset g", "global"),
    ("code-jax restore --fit ", "auto crop pyramid resize tile"),
    ("code-jax convert --to d", "diffusers"),
    ("code-jax corrupt --fit ", ""),
]


def script(shell, capsys):
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


def test_bash_completes(capsys):
    code = script("bash", capsys)
    for line, expected in COMPLETIONS:
        words = [*line.split(), ""] if line.endswith(" ") else line.split()
        setup = f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; _code_jax; printf '%s\\n' ${{COMPREPLY[@]}}"
        done = subprocess.run(["bash", "-c", code + setup], capture_output=True, text=True, check=True)
        assert (sorted(done.stdout.split()), done.stderr) == (expected.split(), ""), line
    bound = subprocess.run(["bash", "-c", code + "complete -p code-jax"], capture_output=True, text=True, check=True)
    assert bound.stdout == "complete -o default -F _code_jax code-jax\n"  # and files where there is nothing else


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh on this machine")
def test_zsh_reads_the_script(capsys):
    check = "COMP_WORDS=(code-jax res); COMP_CWORD=1; print ${+functions[_code_jax]} $_comps[code-jax]"
    done = subprocess.run(["zsh", "-f", "-c", script("zsh", capsys) + check], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "1" and "_code_jax" in done.stdout and not done.stderr


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish on this machine")
def test_fish_completes(capsys):
    code = script("fish", capsys)
    for line, expected in COMPLETIONS[:-1]:
        ask = f"complete -C {shlex.quote(line)}"
        done = subprocess.run(["fish", "--no-config", "-c", f"{code}\n{ask}"], capture_output=True, text=True, check=True)
        assert sorted(row.split("\t")[0] for row in done.stdout.splitlines()) == expected.split(), line


def test_a_command_line_is_read_without_jax():
    program = (
        "import sys, code_jax; from code_jax.cli.main import main; main(['completion', 'bash']); assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


def test_an_interrupt_among_the_imports_is_one_line(tmp_path):
    """It is sent when the process has JAX's library in its memory, and has imported little more."""
    command = [sys.executable, "-m", "code_jax", "restore", "code_jax/priors/samples", "--out", str(tmp_path / "out")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        while "jaxlib" not in Path(f"/proc/{process.pid}/maps").read_text() and time.monotonic() < until:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=60)
    assert (process.returncode, said, errors) == (130, "", f"{INTERRUPTED}\n")
    assert not (tmp_path / "out").exists()
