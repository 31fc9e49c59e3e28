"""A cluster of private servers: loopback, each with its own folder and bus port, stopped by pid."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from redis import Redis

from stores.adapters.cluster_map import SLOTS
from tests.support.valkey import READY_S_MAX, ValkeyServer, free_port

NODE_TIMEOUT_MS = 1_500
ATTEMPT_S = 6.0
"""More than a server takes for an orderly failover, or to give it up."""
CALM_NODE_TIMEOUT_MS = 20_000
"""Where no node is to fail: on a busy machine one is silent for a while."""


class ValkeyCluster:
    """Servers that share all slots; more can be added."""

    def __init__(self, base: Path, program: str, node_timeout_ms: int = NODE_TIMEOUT_MS) -> None:
        self._node_timeout_ms = node_timeout_ms
        self._base = base
        self._program = program
        self.servers: list[ValkeyServer] = []
        self._bus: dict[int, int] = {}

    def start(self, primaries: int = 3) -> None:
        for _ in range(primaries):
            self._start()
        for n, server in enumerate(self.servers):
            first, last = n * SLOTS // primaries, (n + 1) * SLOTS // primaries - 1
            self.ask(server, "CLUSTER", "ADDSLOTSRANGE", first, last)
            self.ask(server, "CLUSTER", "SET-CONFIG-EPOCH", n + 1)
        for server in self.servers[1:]:
            self._meet(server)
        self.wait_ok()

    def _start(self) -> ValkeyServer:
        folder = self._base / f"node-{len(self.servers)}"
        folder.mkdir(parents=True)
        bus = free_port()
        server = ValkeyServer(
            folder,
            None,
            (
                "--cluster-enabled", "yes", "--cluster-port", str(bus),
                "--cluster-node-timeout", str(self._node_timeout_ms),
                "--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0",
            ),
            self._program,
        )  # fmt: skip
        server.start()
        self._bus[server.port] = bus
        self.servers.append(server)
        return server

    def _meet(self, server: ValkeyServer) -> None:
        self.ask(self.servers[0], "CLUSTER", "MEET", "127.0.0.1", server.port, self._bus[server.port])

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers[:3])

    def ask(self, server: ValkeyServer, *command: str | int) -> object:
        with contextlib.closing(Redis(port=server.port, socket_timeout=5, decode_responses=True)) as client:
            return client.execute_command(*command)

    def id_of(self, server: ValkeyServer) -> str:
        return str(self.ask(server, "CLUSTER", "MYID"))

    def owner_of(self, slot: int) -> ValkeyServer:
        """As the first server sees it."""
        ports = {server.port: server for server in self.servers}
        for first, last, (_, port, *_), *_ in self._slots():
            if first <= slot <= last:
                return ports[port]
        raise AssertionError(f"nobody serves {slot}")

    def _slots(self) -> Sequence[Sequence[object]]:
        with contextlib.closing(Redis(port=self.servers[0].port, socket_timeout=5, decode_responses=True)) as client:
            client.set_response_callback("CLUSTER SLOTS", lambda reply: reply)
            found: Sequence[Sequence[object]] = client.execute_command("CLUSTER", "SLOTS")
            return found

    def wait_ok(self, servers: Sequence[ValkeyServer] = ()) -> None:
        """Until all (or these) serve all slots, and know everybody."""
        asked = servers or self.servers
        _until(lambda: all(self._is_ok(server) for server in asked), "the cluster did not come up")

    def _is_ok(self, server: ValkeyServer) -> bool:
        return server.ask("PING") == b"+PONG" and "cluster_state:ok" in self._info(server)

    def _info(self, server: ValkeyServer) -> str:
        with contextlib.closing(Redis(port=server.port, socket_timeout=5)) as client:
            client.set_response_callback("CLUSTER INFO", lambda reply: reply)
            return bytes(client.execute_command("CLUSTER INFO")).decode()

    # -- what an operator does

    def add(self) -> ValkeyServer:
        """A new primary without slots, that all know."""
        server = self._start()
        self._meet(server)
        count = f"cluster_known_nodes:{len(self.servers)}"
        _until(lambda: all(count in self._info(one) for one in self.servers), "a new node was not met")
        self.wait_ok()
        return server

    def replicate(self, primary: ValkeyServer) -> ValkeyServer:
        """A new replica of it, that has all it has."""
        server = self.add()
        self.follow(server, primary)
        return server

    def follow(self, server: ValkeyServer, primary: ValkeyServer) -> None:
        """Makes a replica of it."""
        self.ask(server, "CLUSTER", "REPLICATE", self.id_of(primary))
        _until(lambda: "master_link_status:up" in self._replication(server), "a replica did not come up")

    def fail_over(self, replica: ValkeyServer) -> None:
        """In order, so it has all that its primary has. On a busy machine an attempt may expire; then once more."""

        def over() -> bool:
            if "role:master" in self._replication(replica):
                return True
            self.ask(replica, "CLUSTER", "FAILOVER")
            deadline = time.monotonic() + ATTEMPT_S
            while "role:master" not in self._replication(replica) and time.monotonic() < deadline:
                time.sleep(0.02)
            return "role:master" in self._replication(replica)

        _until(over, "a replica did not take over")
        self.wait_primary(replica)

    def wait_primary(self, server: ValkeyServer) -> None:
        """Until it has taken over, and all that run know."""
        _until(lambda: "role:master" in self._replication(server), "a replica did not take over")
        self.wait_ok([one for one in self.servers if one.ask("PING")])

    def _replication(self, server: ValkeyServer) -> str:
        with contextlib.closing(Redis(port=server.port, socket_timeout=5)) as client:
            client.set_response_callback("INFO", lambda reply, **_: reply)
            return bytes(client.execute_command("INFO", "replication")).decode()

    def begin_moving(self, slot: int, source: ValkeyServer, target: ValkeyServer) -> None:
        self.ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source))
        self.ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(target))

    def move_keys(self, slot: int, source: ValkeyServer, target: ValkeyServer, count: int = 1_000_000) -> int:
        """Some keys of a slot that is being moved."""
        keys = self.ask(source, "CLUSTER", "GETKEYSINSLOT", slot, count)
        assert isinstance(keys, list)
        if keys:
            self.ask(source, "MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "KEYS", *keys)
        return len(keys)

    def end_moving(self, slot: int, target: ValkeyServer) -> None:
        for server in (target, *(one for one in self.servers if one is not target)):
            self.ask(server, "CLUSTER", "SETSLOT", slot, "NODE", self.id_of(target))

    def move(self, slot: int, target: ValkeyServer, one_by_one: bool = False) -> None:
        source = self.owner_of(slot)
        self.begin_moving(slot, source, target)
        while self.move_keys(slot, source, target, 1 if one_by_one else 1_000):
            pass
        self.end_moving(slot, target)

    def stop(self) -> None:
        for server in self.servers:
            server.stop()


def _until(there: Callable[[], bool], why: str) -> None:
    deadline = time.monotonic() + READY_S_MAX
    while not there():
        assert time.monotonic() < deadline, why
        time.sleep(0.02)


@contextlib.contextmanager
def cluster(base: Path, program: str, node_timeout_ms: int = NODE_TIMEOUT_MS) -> Iterator[ValkeyCluster]:
    """Three primaries."""
    made = ValkeyCluster(base, program, node_timeout_ms)
    try:
        made.start()
        yield made
    finally:
        made.stop()
