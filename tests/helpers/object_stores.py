"""An object store: an S3 server in a process of its own, on this machine."""

import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.helpers.commands import COMMAND, free_port

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}


@contextmanager
def s3_server(**environment: str) -> Iterator[str]:
    """Its endpoint; it has a bucket named `bucket`."""
    host, port = "127.0.0.1", str(free_port())
    server = subprocess.Popen(
        [COMMAND.with_name("moto_server"), "-H", host, "-p", port],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    endpoint = f"http://{host}:{port}"
    try:
        for _ in range(600):
            try:
                put = urllib.request.Request(f"{endpoint}/bucket", method="PUT")
                urllib.request.urlopen(put).close()
                break
            except OSError:
                assert server.poll() is None
                time.sleep(0.1)
        yield endpoint
    finally:
        server.kill()
        server.wait()


def objects(client: Any, prefix: str) -> dict[str, bytes]:
    """Every object and its content, as `tree` has files."""
    found = {}
    pages = client.get_paginator("list_objects_v2")
    for page in pages.paginate(Bucket="bucket", Prefix=prefix):
        for entry in page.get("Contents", ()):
            body = client.get_object(Bucket="bucket", Key=entry["Key"])["Body"]
            found[entry["Key"].removeprefix(prefix)] = body.read()
    return found
