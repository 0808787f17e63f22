"""The server as a process: what it answers, and to whom."""

import concurrent.futures
import contextlib
import http.client
import json
import re
import subprocess
import sys
import urllib.parse
from pathlib import Path

import numpy as np

import code_jax.demo
from code_jax.demo.events import data_url

PICTURES = [np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8) for seed in range(2)]


@contextlib.contextmanager
def asking(address, path, body=None, **headers):
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(address).netloc, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET" if body is None else "POST", path, body, headers)
        with connection.getresponse() as answer:
            yield answer


def ask(address, path, body=None, **headers):
    with asking(address, path, body, **headers) as answer:
        return answer.status, answer.headers, answer.read()


def events(address, path, form):
    return [json.loads(line) for line in ask(address, path, json.dumps(form))[2].splitlines()]


def form_of(tiny_folder, which):
    return {
        "prior": tiny_folder, "picture": data_url(PICTURES[which]), "seed": str(which), "depth": "0.5", "relative-step": "0.2",
        "eta": "none", "ode-steps": "5", "langevin-steps": "5",
    }  # fmt: skip


def test_every_answer_confines_the_page_to_its_own_address(address):
    for path in ("/", "/page.js", "/page.css", "/icon.svg", "/options", "/samples/veil_19.png", "/absent"):
        status, headers, _ = ask(address, path)
        assert status == (404 if path == "/absent" else 200)
        assert headers["content-security-policy"].startswith("default-src 'self'; img-src 'self' data: blob:;")
    for file in (Path(code_jax.demo.__file__).parent / "page").iterdir():
        outside = set(re.findall(r"https?://[^\s\"')]+", file.read_text())) - {"http://www.w3.org/2000/svg"}
        assert not outside


def test_another_host_and_another_path_are_refused(address):
    assert ask(address, "/", Host="rebound.example")[0] == 400
    assert ask(address, "/samples/..%2f..%2fload.py")[0] == 404
    assert ask(address, "/restore")[0] in (404, 405)


def test_two_at_once_do_not_mix_and_one_that_leaves_disturbs_nobody(address, tiny_folder):
    forms = [form_of(tiny_folder, which) for which in (0, 1)]
    alone = [events(address, "/restore", form) for form in forms]
    assert [event["event"] for event in alone[0]][-1] == "result"
    with asking(address, "/restore", json.dumps(forms[0] | {"langevin-steps": "2000"})) as leaver:
        leaver.readline()
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda k: events(address, "/restore", forms[k % 2]), range(6)))
    assert alone[0] != alone[1]
    assert together == alone * 3


def test_mistakes_are_one_event(address, tiny_folder):
    for body in (b"", b"[]", b"\xff", json.dumps({"prior": 3}).encode()):
        (line,) = ask(address, "/restore", body)[2].splitlines()
        assert json.loads(line)["event"] == "error"
    (error,) = events(address, "/sweep", form_of(tiny_folder, 0) | {"depths": "0.1 x", "relative-steps": "1"})
    assert error == {"event": "error", "message": "depths is '0.1 x'; give numbers such as 0.2 0.4 0.6"}
    status, _, answer = ask(address, "/restore", b" " * (64 * 2**20 + 1))
    assert status == 413 and "larger than 64 MB" in json.loads(answer)["message"]


def test_a_port_that_is_taken_is_one_line_and_status_2(address, tiny_folder):
    port = str(urllib.parse.urlsplit(address).port)
    command = [sys.executable, "-m", "code_jax", "demo", "--prior", tiny_folder, "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"code-jax: error: cannot listen at 127.0.0.1:{port}: it is taken, or not this machine's; try --port 0"
    )
