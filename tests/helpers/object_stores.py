"""An object store: an S3 server in a process of its own, on this machine."""

import os
import socket
import subprocess
import threading
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


@contextmanager
def stuck_server(*, says: bytes = b"") -> Iterator[str]:
    """Endpoint of a server that takes every request, says so much, and no more."""

    def serve() -> None:
        while True:
            try:
                connection = listening.accept()[0]
            except OSError:  # the end
                return
            connection.recv(2**16)
            connection.sendall(says)
            taken.append(connection)

    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
    for connection in taken:
        connection.close()


def objects(client: Any, prefix: str) -> dict[str, bytes]:
    """Every object and its content, as `tree` has files."""
    found = {}
    pages = client.get_paginator("list_objects_v2")
    for page in pages.paginate(Bucket="bucket", Prefix=prefix):
        for entry in page.get("Contents", ()):
            body = client.get_object(Bucket="bucket", Key=entry["Key"])["Body"]
            found[entry["Key"].removeprefix(prefix)] = body.read()
    return found
