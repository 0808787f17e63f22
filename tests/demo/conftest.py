import contextlib
import os
import re
import signal
import subprocess
import sys

import pytest

from tests.demo.browser import Page, choose_tiny, noise


@contextlib.contextmanager
def demo(*options, cache):
    """A demo of its own process, and the address that it printed."""
    environment = os.environ | {"XDG_CACHE_HOME": str(cache), "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    command = [sys.executable, "-m", "code_jax", "demo", "--port", "0", *options]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        said = server.stdout.readline()
        yield re.search(r"http://\S+/", said)[0], server
        server.send_signal(signal.SIGINT)


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def address(tiny_folder, cache):
    """A demo that offers the bundled prior and a tiny one."""
    with demo("--prior", "eurosat-64", "--prior", tiny_folder, cache=cache) as (address, _):
        yield address


@pytest.fixture
def page(address, tmp_path_factory):
    page = Page(address, tmp_path_factory.mktemp("downloads"))
    yield page
    page.close()


@pytest.fixture
def ready(page, tiny_folder, tmp_path):
    """The page with the tiny prior and a small picture."""
    choose_tiny(page, tiny_folder)
    page.upload(noise(tmp_path, 0))
    page.ready()
    return page
