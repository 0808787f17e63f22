import uuid

import pytest

from code_jax.storage import address
from tests.storage.emulator import emulator


@pytest.fixture
def google():
    """A stand-in of Google's storage, empty."""
    with emulator() as served:
        address._opened.cache_clear()
        yield served
    address._opened.cache_clear()


@pytest.fixture(scope="session")
def amazon():
    """moto's server; a bucket "pictures"."""
    import boto3
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    endpoint = "http://{}:{}".format(*running.get_host_and_port())
    settings = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "SECRET-KEY", "AWS_REGION": "us-east-1"}
    settings |= {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="pictures")
        yield client
    running.stop()


@pytest.fixture(params=["file", "gs", pytest.param("s3", marks=pytest.mark.s3)])
def folder(request, tmp_path):
    """An empty address of every storage that can be written."""
    if request.param == "file":
        (tmp_path / "folder").mkdir()
        return address.place(f"file://{tmp_path}/folder")
    request.getfixturevalue({"gs": "google", "s3": "amazon"}[request.param])
    return address.place(f"{request.param}://pictures/{uuid.uuid4().hex}")


@pytest.fixture
def hurried(monkeypatch):
    """Retries that a test can wait for."""
    from datetime import timedelta

    from code_jax.storage import bucket

    backoff = {"init_backoff": timedelta(milliseconds=1), "max_backoff": timedelta(milliseconds=5), "base": 2}
    monkeypatch.setattr(bucket, "RETRY", bucket.RETRY | {"backoff": backoff, "max_retries": 3})
    monkeypatch.setattr(bucket, "CLIENT", bucket.CLIENT | {"read_timeout": "400ms"})
