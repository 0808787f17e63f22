import os
import re
import subprocess
import sys

import pytest


@pytest.fixture(scope="session")
def address(tiny_folder, tmp_path_factory):
    """A demo of its own process, offering the bundled prior and a tiny one."""
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "code_jax", "demo", "--port", "0", "--prior", "eurosat-64", "--prior", tiny_folder]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        said = server.stdout.readline()
        yield re.search(r"http://\S+/", said)[0]
        server.terminate()
