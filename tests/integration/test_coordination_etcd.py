"""Coordination on a real etcd on a bad day: killed, frozen, compacted, cut off, one of several, with users and TLS."""

import asyncio
import datetime
import ipaddress
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cli.links import Link
from cli.servers import free_ports
from cli.waiting import until
from core import limits
from core.errors import Corrupt, LeaseLost, StoreUnavailable
from core.system import steady_clock_ms
from deploy.local import starting
from deploy.local.etcd import Etcd
from stores.adapters.etcd_coordination import EtcdCoordination
from stores.adapters.etcd_gateway import EtcdGateway, EtcdPlace, encoded
from stores.coordination import PROCESS, View
from stores.lease import Lease
from tests.contract.coordination import IAD, LEASE_MS, SEEN_S_MAX, member, shown, watching
from tests.support.etcd import etcd_at
from tests.support.servers import needs

pytestmark = pytest.mark.integration
_prefixes = itertools.count()
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def own_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """To be killed and frozen."""
    with etcd_at(tmp_path_factory.mktemp("etcd")) as server:
        yield server


class Clients:
    def __init__(self) -> None:
        self.prefix = f"planb-test/{os.getpid()}-{next(_prefixes)}"
        self._made: list[EtcdCoordination] = []

    def at(self, *urls: str, **options: object) -> EtcdCoordination:
        self._made.append(EtcdCoordination(EtcdGateway(EtcdPlace(urls, **options)), self.prefix))  # type: ignore[arg-type]
        return self._made[-1]

    async def close(self) -> None:
        for one in self._made:
            await one.close()


@pytest_asyncio.fixture
async def clients() -> AsyncIterator[Clients]:
    made = Clients()
    yield made
    await made.close()


async def test_what_stood_in_etcd_stands_there_after_a_kill_and_a_lease_lasts_over_it(
    own_etcd: Etcd, clients: Clients
) -> None:
    a = clients.at(own_etcd.url)
    await a.open(member("a"), limits.LEASE_MS_MAX)
    held = await a.take("a", PROCESS)
    await a.chart(IAD)
    own_etcd.kill()
    with pytest.raises(StoreUnavailable, match="etcd"):
        await a.renew("a")
    await own_etcd.start()
    assert await a.renew("a") == limits.LEASE_MS_MAX
    assert await a.look() == View({PROCESS: held}, {"a": member("a")}, {2: IAD})
    await a.end("a")
    await a.open(member("b"), LEASE_MS)
    assert (await a.take("b", PROCESS)).token > held.token


async def test_a_call_to_an_etcd_that_stands_still_ends_in_time(own_etcd: Etcd, clients: Clients) -> None:
    a = clients.at(own_etcd.url)
    await a.open(member("a"), LEASE_MS)
    own_etcd.pause()
    try:
        began_s = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await a.look()
        assert time.monotonic() - began_s < 2 * limits.COORDINATION_CALL_MS_MAX / 1_000
    finally:
        own_etcd.resume()
    assert (await a.look()).members.keys() <= {"a"}


async def compact(coordination: EtcdCoordination) -> None:
    """Forgets all history."""
    answer = await coordination._etcd.call("/v3/kv/range", {"key": encoded("x")})
    await coordination._etcd.call("/v3/kv/compaction", {"revision": answer["header"]["revision"]})


async def test_a_watch_from_a_revision_that_was_compacted_ends_at_once(etcd: Etcd, clients: Clients) -> None:
    """etcd says so; who does not listen waits for ever."""
    a = clients.at(etcd.url)
    _, revision = await a._looked()
    for n in range(5):
        await a.rechart(IAD._replace(name=f"dc{n}"))
    await compact(a)
    async with asyncio.timeout(SEEN_S_MAX):
        assert [one async for one in a._etcd.watch(f"{clients.prefix}/", revision + 1)] == []


async def test_a_watch_that_was_cut_off_over_a_compaction_sees_the_newest_state(etcd: Etcd, clients: Clients) -> None:
    link = Link("here", "etcd", free_ports(1)[0], etcd.port)
    await link.start()
    a, far = clients.at(etcd.url), clients.at(f"http://127.0.0.1:{link.port}")
    try:
        async with watching(far) as seen:
            await a.chart(IAD)
            assert await shown(seen, View({}, {}, {2: IAD}))
            link.cut()
            for n in range(20):
                await a.rechart(IAD._replace(name=f"dc{n}"))
            await compact(a)
            await a.unchart(2)
            await a.chart(IAD._replace(number=3))
            await compact(a)
            link.heal()
            assert await shown(seen, View({}, {}, {3: IAD._replace(number=3)}))
            await a.unchart(3)
            assert await shown(seen, View({}, {}, {}))
    finally:
        await link.stop()


async def test_a_watch_on_a_line_that_swallows_everything_is_begun_anew(
    own_etcd: Etcd, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "COORDINATION_SILENT_MS_MAX", 1_500)
    a = clients.at(own_etcd.url)
    async with watching(a) as seen:
        assert await shown(seen, View({}, {}, {}))
        own_etcd.pause()
        await asyncio.sleep(2)  # longer than it waits
        own_etcd.resume()
        await a.chart(IAD)
        assert await shown(seen, View({}, {}, {2: IAD}))


async def test_an_endpoint_that_does_not_answer_is_followed_by_the_next(etcd: Etcd, clients: Clients) -> None:
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
    a = clients.at(nobody, etcd.url)
    await a.open(member("a"), LEASE_MS)
    assert (await a.take("a", PROCESS)).member.id == "a"
    async with watching(a) as seen:
        assert await shown(seen, await a.look())
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1"):
        await clients.at(nobody).look()


async def test_what_somebody_else_wrote_under_the_prefix_is_named(etcd: Etcd, clients: Clients) -> None:
    a = clients.at(etcd.url)
    await a._etcd.call("/v3/kv/put", {"key": encoded(f"{clients.prefix}/members/x"), "value": encoded("hello")})
    with pytest.raises(Corrupt, match="members/x in etcd is not what Plan B wrote"):
        await a.look()
    await a._etcd.call("/v3/kv/deleterange", {"key": encoded(f"{clients.prefix}/members/x")})
    await a._etcd.call("/v3/kv/put", {"key": encoded(f"{clients.prefix}/elsewhere"), "value": encoded("hello")})
    assert await a.look() == View({}, {}, {})


# -- users


async def test_users_are_asked_for_their_password_and_tokens_that_are_over_are_renewed(
    tmp_path: Path, clients: Clients
) -> None:
    password = tmp_path / "password"
    password.write_text("secret\n")
    needs("etcd")
    server = Etcd(tmp_path / "etcd")
    try:
        await server.start()
        open_door = clients.at(server.url)
        for path, body in (
            ("user/add", {"name": "root", "password": "root's"}),
            ("user/grant", {"user": "root", "role": "root"}),
            ("user/add", {"name": "planb", "password": "secret"}),
            ("role/add", {"name": "planb"}),
            ("role/grant", {"name": "planb", "perm": {
                "permType": "READWRITE", "key": encoded(clients.prefix), "range_end": encoded(clients.prefix + "~"),
            }}),
            ("user/grant", {"user": "planb", "role": "planb"}),
            ("enable", {}),
        ):  # fmt: skip
            await open_door._etcd.call(f"/v3/auth/{path}", body)
        with pytest.raises(StoreUnavailable, match="user name is empty"):
            await open_door.look()
        a = clients.at(server.url, user="planb", password_file=password)
        await a.open(member("a"), LEASE_MS)
        held = await a.take("a", PROCESS)
        assert await a.renew("a") == LEASE_MS
        a._etcd._token = "a token that is over.1"
        async with watching(a) as seen:
            assert await shown(seen, View({PROCESS: held}, {"a": member("a")}, {}))
        assert (await a.take("a", PROCESS)) == held
        (tmp_path / "other").write_text("wrong")
        with pytest.raises(StoreUnavailable, match=r"user planb: .*authentication failed") as refused:
            await clients.at(server.url, user="planb", password_file=tmp_path / "other").look()
        assert "wrong" not in str(refused.value)
    finally:
        server.kill()


# -- TLS


def certificate(folder: Path) -> tuple[Path, Path]:
    """Of 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "etcd")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "cert.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


class SecureEtcd(Etcd):
    """Speaks TLS, to those only whose certificate it knows."""

    def __init__(self, folder: Path, cert: Path, key: Path) -> None:
        super().__init__(folder)
        command = self.child._command
        plain = f"urls=http://{starting.HOST}:{self.port}"
        command[:] = [one.replace(plain, f"urls={self.secure_url}") for one in command]
        command += [f"--cert-file={cert}", f"--key-file={key}", "--client-cert-auth", f"--trusted-ca-file={cert}"]

    @property
    def secure_url(self) -> str:
        return f"https://{starting.HOST}:{self.port}"


async def test_tls_is_spoken_to_whom_we_know_and_with_our_own_certificate(tmp_path: Path, clients: Clients) -> None:
    needs("etcd")
    cert, key = certificate(tmp_path)
    server = SecureEtcd(tmp_path / "etcd", cert, key)
    server.child.start()
    try:
        a = clients.at(server.secure_url, ca_file=cert, cert_file=cert, key_file=key)

        async def answers() -> bool:
            try:
                await a.look()
            except StoreUnavailable:
                return False
            return True

        assert await until(answers, 30), server.child.why_ended()
        await a.open(member("a"), LEASE_MS)
        assert (await a.take("a", PROCESS)).member.id == "a"
        async with watching(a) as seen:
            assert await shown(seen, await a.look())
        with pytest.raises(StoreUnavailable):
            await clients.at(server.secure_url, ca_file=cert).look()
        with pytest.raises(StoreUnavailable, match="certificate"):
            await clients.at(server.secure_url, cert_file=cert, key_file=key).look()
    finally:
        server.kill()


# -- processes that are stopped

CONTENDER = """
import asyncio, json, random, sys
from core.system import entropy, steady_clock_ms
from stores.adapters.etcd_coordination import EtcdCoordination
from stores.adapters.etcd_gateway import EtcdGateway, EtcdPlace
from stores.coordination import PROCESS, Member
from stores.lease import Lease

async def main(url, prefix, name):
    random.seed(name)
    while True:
        lost = asyncio.get_running_loop().create_future()
        coordination = EtcdCoordination(EtcdGateway(EtcdPlace([url])), prefix)
        lease = Lease(coordination, Member(f"{name}-{entropy(4).hex()}"), lease_ms=3_000, steady_ms=steady_clock_ms,
                      on_lost=lambda error: lost.done() or lost.set_result(error))
        await lease.join()
        held = await lease.wait_for(PROCESS, lambda held: None)
        for _ in range(random.randrange(20, 400)):
            if lost.done():
                break
            if not lease.refusal():
                print(json.dumps([name, lease.held[PROCESS].token, steady_clock_ms()]), flush=True)
            await asyncio.sleep(0.01)
        await lease.leave()
        await coordination.close()

asyncio.run(main(*sys.argv[1:]))
"""


def contender(url: str, prefix: str, name: str, acts: Path) -> subprocess.Popen[bytes]:
    with acts.open("ab") as out:
        return subprocess.Popen([sys.executable, "-c", CONTENDER, url, prefix, name], stdout=out, cwd=ROOT)


async def test_of_processes_that_are_stopped_for_longer_than_their_lease_never_two_act(
    etcd: Etcd, clients: Clients, tmp_path: Path
) -> None:
    """Each writes down when it acts, by the one steady clock of this machine. An act that was looked for before it was
    stopped is written down when it goes on: such a line is the last of its holder, and the log's fence is for it."""
    acts = tmp_path / "acts"
    children = [contender(etcd.url, clients.prefix, f"p{n}", acts) for n in range(3)]
    stops: list[tuple[int, int]] = []

    def written() -> list[tuple[str, int, int]]:
        return [tuple(json.loads(line)) for line in acts.read_text().splitlines()]

    async def holder() -> str:
        before = len(written())

        async def acted() -> str:
            found = written()
            return found[-1][0] if len(found) > before else ""

        return await until(acted, 30)

    try:
        for _ in range(4):
            name = await holder()
            assert name, "nobody acts"
            child = children[int(name[1:])]
            os.kill(child.pid, signal.SIGSTOP)
            try:

                async def another_acts(stopped: str = name) -> bool:
                    return written()[-1][0] != stopped

                assert await until(another_acts, 30), "nobody takes over"
            finally:
                os.kill(child.pid, signal.SIGCONT)
            stops.append((int(name[1:]), steady_clock_ms()))
            assert all(one.poll() is None for one in children)
    finally:
        for child in children:
            child.kill()
            child.wait()
    found = sorted(written(), key=lambda act: act[2])
    tokens = [token for _, token, _ in found]
    assert len(set(tokens)) > len(stops)
    late = [at for at, (one, two) in enumerate(itertools.pairwise(tokens)) if two < one]
    assert len(late) <= len(stops), "the one act between look and stop, each time"
    for at in late:
        assert tokens[at + 1 : at + 3] != [tokens[at + 1]] * 2, "who wakes up acts on"


async def test_a_lease_that_etcd_lost_is_taken_again_when_nobody_else_did(own_etcd: Etcd, clients: Clients) -> None:
    coordination = clients.at(own_etcd.url)
    lost: list[LeaseLost] = []
    lease = Lease(coordination, member("a"), lease_ms=LEASE_MS, steady_ms=steady_clock_ms, on_lost=lost.append)
    await lease.join()
    held = await lease.take(PROCESS)
    await coordination._etcd.call("/v3/lease/revoke", {"ID": coordination._leases["a"]})

    async def again() -> bool:
        return not lease.refusal() and lease.held[PROCESS].token > held.token

    assert await until(again, SEEN_S_MAX)
    assert not lost
    assert lease.member.id == "a.2"
    await lease.leave()
    assert await coordination.look() == View({}, {}, {})
