"""The server as a process: what it answers, and to whom."""

import concurrent.futures
import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import numpy as np
import pytest

import code_jax.demo
from code_jax.demo.events import data_url
from code_jax.demo.server import serve
from code_jax.errors import UserError
from tests.demo.conftest import demo

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
    *found, end = [json.loads(line) for line in ask(address, path, json.dumps(form))[2].splitlines()]
    assert end == {"event": "end"} or (found == [] and end["event"] == "error")
    return found


def form_of(tiny_folder, which):
    return {
        "prior": tiny_folder, "picture": data_url(PICTURES[which]), "seed": str(which), "sigma": "2", "relative-step": "0.2",
        "eta": "none", "ode-steps": "5", "langevin-steps": "5",
    }  # fmt: skip


def test_every_answer_confines_the_page_to_its_own_address(address):
    for path in ("/", "/page.js", "/page.css", "/icon.svg", "/options", "/samples/fog.png", "/absent"):
        status, headers, _ = ask(address, path)
        assert status == (404 if path == "/absent" else 200)
        assert headers["content-security-policy"].startswith("default-src 'self'; img-src 'self' data: blob:;")
    for file in (Path(code_jax.demo.__file__).parent / "page").iterdir():
        outside = set(re.findall(r"https?://[^\s\"')]+", file.read_text())) - {"http://www.w3.org/2000/svg"}
        assert not outside


def test_paths_lead_nowhere_else(address):
    assert ask(address, "/samples/..%2f..%2fload.py")[0] == 404
    assert ask(address, "/restore")[0] in (404, 405)


FORM = {"Content-Type": "application/x-www-form-urlencoded"}
UPLOAD = {"Content-Type": "multipart/form-data; boundary=x"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example"},
        {"Host": "127.0.0.1.rebound.example"},
        {"Host": "localhost@rebound.example"},
        {"Host": "localhost."},
        {"Host": ""},
        {"Origin": "http://elsewhere.example"} | FORM,
        {"Origin": "http://elsewhere.example"} | UPLOAD,
        {"Origin": "null"} | UPLOAD,
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "file://"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Sec-Fetch-Site": "same-site"} | FORM,
    ],
)
def test_pages_of_others_are_refused(address, tiny_folder, headers):
    for path, body in [("/options", None), ("/picture", json.dumps(form_of(tiny_folder, 0))), ("/restore", "{}")]:
        status, answered, told = ask(address, path, body, **headers)
        assert status == 403 and told.startswith(b"code-jax demo: ") and told.count(b"\n") == 1
        assert "access-control-allow-origin" not in answered


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]"])
def test_the_page_itself_is_let_in_by_each_of_its_names(address, name):
    own = f"{name}:{urllib.parse.urlsplit(address).port}"
    assert ask(address, "/restore", "{}", Host=own, Origin=f"http://{own}", **{"Sec-Fetch-Site": "same-origin"})[0] == 200
    assert ask(address, "/", Host=own, **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})[0] == 200  # a link


@pytest.mark.slow
def test_over_a_network_a_token_is_asked_for(tiny_folder, cache):
    proxy = {"Host": "proxy.example", "Origin": "https://proxy.example"}
    with demo("--prior", tiny_folder, "--allow-host", "proxy.example", cache=cache) as (address, _):
        token = urllib.parse.urlsplit(address).path
        assert re.fullmatch(r"/[\w-]{22}/", token)
        for headers in ({}, proxy):
            assert ask(address, f"{token}options", **headers)[0] == 200
            assert ask(address, f"{token}restore", "{}", **headers)[0] == 200
            for path in ("/", "/options", "/page.js", f"{token[:-2]}x/options", f"/x{token}options", "/\xe9/options"):
                assert ask(address, urllib.parse.quote(path), **headers)[0] == 403
        assert ask(address, token[:-1])[1]["location"] == token[1:]
        assert ask(address, f"{token}options", Host="other.example")[0] == 403
        assert ask(address, f"{token}restore", "{}", Origin="https://other.example")[0] == 403


@pytest.mark.parametrize(("allowed", "host"), [("*", "127.0.0.1"), ("a/b", "127.0.0.1"), ("", "192.0.2.7"), ("", "no such host")])
def test_what_cannot_be_listened_for_is_named(allowed, host):
    with pytest.raises(UserError, match=re.escape(allowed or host)):
        serve([], "float32", host, 0, [allowed] if allowed else [], print)


@pytest.mark.slow
def test_what_cannot_be_interrupted_is_ended_and_others_begin_anew(tiny_folder, cache):
    """Half a million windows an evaluation: whoever cancels that waits for none of it, and nobody else notices."""
    wide = form_of(tiny_folder, 0) | {"fit": "tile", "picture": data_url(np.zeros((2600, 3400, 3), np.uint8))}
    with demo("--prior", tiny_folder, cache=cache) as (address, server):
        alone = events(address, "/restore", form_of(tiny_folder, 1))
        with concurrent.futures.ThreadPoolExecutor() as pool:
            with asking(address, "/restore", json.dumps(wide)) as leaver:
                while b'"latent"' not in leaver.fp.readline():
                    pass
                time.sleep(1)  # in the midst of the first evaluation
                beside = pool.submit(events, address, "/restore", form_of(tiny_folder, 1))
            left = time.monotonic()
            (before,) = workers(server.pid)
            while workers(server.pid) == {before}:
                time.sleep(0.02)
            assert time.monotonic() - left < 2
            again = beside.result()
        assert [event for event in again if event["event"] == "result"] == alone[-1:]
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=5) == 130 and not workers(server.pid)


def workers(pid):
    """Children of a process that compute, by number."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    numbers = children.read_text().split() if children.exists() else []
    return {number for number in numbers if "spawn_main" in Path(f"/proc/{number}/cmdline").read_text()}


@pytest.mark.slow
def test_two_at_once_do_not_mix_and_one_that_leaves_disturbs_nobody(address, tiny_folder):
    forms = [form_of(tiny_folder, which) for which in (0, 1)]
    alone = [events(address, "/restore", form) for form in forms]
    assert [event["event"] for event in alone[0]][-1] == "result"
    with asking(address, "/restore", json.dumps(forms[0] | {"langevin-steps": "2000"})) as leaver:
        leaver.readline()
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda k: events(address, "/restore", forms[k % 2]), range(6)))
    assert alone[0] != alone[1]
    assert [untimed(each) for each in together] == [untimed(each) for each in alone] * 3


def untimed(order):
    """What an order's events say, whenever they came, since it was begun: a machine that is busy may begin it anew."""
    begun = [number for number, event in enumerate(order, 1) if event["event"] == "again"]
    return [event for event in order[max(begun, default=0) :] if event["event"] != "progress"]


def test_mistakes_are_one_event(address, tiny_folder):
    for body in (b"", b"[]", b"\xff", json.dumps({"prior": 3}).encode()):
        told = [json.loads(line)["event"] for line in ask(address, "/restore", body)[2].splitlines()]
        assert told in (["error"], ["error", "end"])
    (error,) = events(address, "/sweep", form_of(tiny_folder, 0) | {"sigmas": "0.1 x", "relative-steps": "1"})
    assert error == {"event": "error", "message": "sigmas is '0.1 x'; give numbers such as 0.5 1 2"}
    status, _, answer = ask(address, "/restore", b" " * (64 * 2**20 + 1))
    assert status == 413 and "larger than 64 MB" in json.loads(answer)["message"]


def test_a_port_that_is_taken_is_named(address):
    port = urllib.parse.urlsplit(address).port
    with pytest.raises(UserError, match=f"cannot listen at 127.0.0.1:{port}: it is taken, or not this machine's; try --port 0"):
        serve([], "float32", "127.0.0.1", port, [], print)


def test_a_prior_that_cannot_be_had_is_a_line_and_status_2(cache):
    command = [sys.executable, "-m", "code_jax", "demo", "--port", "0", "--prior", "no such prior"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"XDG_CACHE_HOME": str(cache)})
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("code-jax: error: no prior 'no such prior'")
