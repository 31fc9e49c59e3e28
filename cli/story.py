"""The demo's story: datacenters hold conversations, are cut apart, converge, and one burns and is rebuilt. Where they
stand on servers beside them, these break, too, one after the other.

Every sentence that the story is to prove is a claim; the demo succeeds only if all of them hold.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any

from cli.cast import Cast
from cli.conflicts import Conflicts
from cli.conversation import Conversation, name_of, own, user_id
from cli.engine_faults import Breaking, partitions
from cli.engines import Fault
from cli.narrator import OWNER, Narrator, Told
from cli.planet import Planet
from cli.voices import Voices
from cli.waiting import until
from planb_sdk import Client, Message, Options, Stats

Say = Callable[[str], None]

SHARE_CUT, SHARE_HEALED, SHARE_BROKEN, SHARE_SNAPSHOT, SHARE_BURNT, SHARE_HOME = 0.3, 0.45, 0.6, 0.75, 0.9, 0.95
"""How much of the conversations is told when a chapter ends."""
LAST_WORDS = 40
LAST_SPEAKERS = 5
DELIVERED_S_MAX = 60.0
BROKEN_S_MAX = 300.0
"""So long clients wait for a datacenter whose servers break: one in Java is up again in less on a busy machine."""


class Story:
    """Plays once. `say` gets a line per chapter."""

    def __init__(self, planet: Planet, conversations: Iterable[Conversation], seed: int, say: Say) -> None:
        self._planet = planet
        self._seed = seed
        self._say = say
        engines = any(site.engines for site in planet.sites.values())
        patient = Options(give_up_s=BROKEN_S_MAX) if engines else None
        self._cast = Cast(planet.regions, planet.sys_key, options=patient)
        self._narrator = Narrator(self._cast, conversations)
        names = tuple(planet.sites)
        self._home, self._refuge, self._burnt = names[0], names[-2], names[-1]
        self.claims: dict[str, bool] = {}
        self._acknowledged: dict[tuple[str, str], str] = {}
        """(user, key) -> event, of the last words."""
        home = planet.site(self._home)
        self._cut: Sequence[Fault] = ()
        """Links that break; the last one leaves Pulsar's alone."""
        if home.engines:
            self._cut = partitions(planet, self._home, self._burnt, home.engines.stopped_s / 4)
        self._faults = [*(home.engines.faults if home.engines else ()), *self._cut]
        self._voices: Voices | None = None
        self._breaking: Breaking | None = None

    async def play(self) -> dict[str, Any]:
        """The JSON of the headless demo; `ok` says whether every claim holds."""
        await self._cast.open()
        try:
            return await self._play()
        finally:
            if self._voices:
                await self._voices.close()
            await self._cast.close()

    async def _play(self) -> dict[str, Any]:
        cast, narrator = self._cast, self._narrator
        self._say(f"users, chats and watchers in {len(self._planet.sites)} datacenters")
        await self._open()
        await narrator.tell(SHARE_CUT)
        await cast.settled()
        lag_ms = await self._lag()

        self._say(f"{self._burnt} is cut off; everybody goes on, also with conflicting edits")
        conflicts = Conflicts(cast, left=self._home, right=self._burnt)
        await conflicts.prepare()
        for name in self._planet.sites:
            if name != self._burnt:
                self._planet.cut(name, self._burnt)
                cast.cut(name, self._burnt)
        await asyncio.gather(narrator.tell(SHARE_HEALED), conflicts.provoke())
        self._say("the links heal")
        for name in self._planet.sites:
            if name != self._burnt:
                self._planet.heal(name, self._burnt)
                cast.heal(name, self._burnt)
        healed = await cast.settled()
        self.claims["digests are equal after the cut"] = len(set(healed.values())) == 1
        self.claims |= await conflicts.outcome()

        if self._breaking:
            await self._breaking.all(self._faults, (SHARE_HEALED, SHARE_BROKEN))

        self._say("a snapshot is taken while writing goes on")
        snapshot, _ = await asyncio.gather(self._planet.site(self._burnt).snapshot(), narrator.tell(SHARE_SNAPSHOT))

        self._say(f"{self._burnt} is killed in the middle of a sentence, and its disks are deleted")
        await self._burn()
        self._say(f"its users go on in {self._refuge}")
        await cast.delivered()
        await narrator.tell(SHARE_BURNT)

        self._say(f"{self._burnt} is rebuilt from object storage and the others' lanes")
        rebuild = await self._rebuild()
        self._say("its users come home; the rest is told")
        await self._come_home()
        if self._breaking and self._cut:
            again = self._cut[-1]
            what = f"{again.what}, after the rebuild"
            await self._breaking.one(again._replace(what=what), SHARE_HOME)
        await narrator.tell(1.0)
        digests = await cast.settled()
        self.claims["digests are equal at the end"] = len(set(digests.values())) == 1
        return await self._result(snapshot, rebuild, digests, lag_ms, conflicts)

    # -- chapters

    async def _open(self) -> None:
        cast, narrator = self._cast, self._narrator
        speakers = [own(f"last-words-{n}") for n in range(LAST_SPEAKERS)]
        for nick in speakers:
            cast.settle_at(nick, self._burnt)
        voices = {name: own(f"voice-{name}") for name in self._planet.sites} if self._faults else {}
        for name, nick in voices.items():
            cast.settle_at(nick, name)
        await cast.make([*cast.watchers.values(), OWNER, *speakers, *voices.values()])
        owner = cast.client(OWNER)
        members = [user_id(nick) for nick in (*cast.watchers.values(), *speakers, *voices.values())]
        self._last_words = (await owner.create_supergroup("last words", members)).chat
        if voices:
            self._voices = Voices(cast, self._last_words, voices, BROKEN_S_MAX)
            home = self._planet.site(self._home)
            self._breaking = Breaking(home, cast, narrator, self._voices, self._say)
        await narrator.prepare()
        directs = [
            nick for tale in narrator.tales if tale.conversation.kind == "direct" for nick in tale.conversation.nicks
        ]
        cast.watch([*cast.watchers.values(), *directs])
        await cast.watching_now()
        self._speakers = speakers

    async def _burn(self) -> None:
        """kill -9 while clients write there: what was acknowledged and is lost there, they send again elsewhere."""
        site = self._planet.site(self._burnt)
        spoken = asyncio.Event()
        words = [asyncio.create_task(self._speak(nick, spoken)) for nick in self._speakers]
        await spoken.wait()
        site.kill()
        site.burn()
        self._cast.switch_homes(self._burnt, self._refuge)
        await asyncio.gather(*words)

    async def _speak(self, nick: str, spoken: asyncio.Event) -> None:
        client = self._cast.client(nick)
        for n in range(LAST_WORDS):
            receipt = await client.send(self._last_words, f"{name_of(nick)} says {n}")
            self._acknowledged[user_id(nick), receipt.key] = receipt.id
            if len(self._acknowledged) >= LAST_WORDS * LAST_SPEAKERS // 4:
                spoken.set()

    async def _rebuild(self) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        restored = await self._planet.rebuild(self._burnt)
        digests = await self._cast.settled()
        seconds = loop.time() - began_s
        async with self._cast.sys(self._burnt) as sys:
            counters = (await sys.call("GET", "/sys/v1/status"))["counters"]
        equal = len(set(digests.values())) == 1
        self.claims["the rebuilt datacenter's digest equals the others'"] = equal
        return {
            "rows": restored["rows"],
            "replayed_events": counters["events"],
            "seconds": round(seconds, 3),
            "digest_equal": equal,
            "snapshot": restored["snapshot"],
            "incarnation": restored["incarnation"],
        }

    async def _come_home(self) -> None:
        await self._cast.come_home(self._burnt)
        client = self._cast.client(self._speakers[0])
        receipt = await client.send(self._last_words, "home again")
        self._acknowledged[user_id(self._speakers[0]), receipt.key] = receipt.id
        own = self._planet.site(self._burnt).url
        self.claims["writing to the rebuilt datacenter works"] = client.region == own

    # -- the account

    async def _lag(self) -> dict[str, float]:
        """Over all pairs of DCs, before the cut: a cut would be measured otherwise."""
        p50, p99 = [], []
        for name in self._planet.sites:
            async with self._cast.sys(name) as sys:
                for lag in (await sys.call("GET", "/sys/v1/status"))["lag_ms"].values():
                    p50.append(lag["p50_ms"])
                    p99.append(lag["p99_ms"])
        return {"p50": median(p50) if p50 else 0.0, "p99": max(p99, default=0.0)}

    async def _result(
        self,
        snapshot: dict[str, Any],
        rebuild: dict[str, Any],
        digests: dict[str, str],
        lag_ms: dict[str, float],
        conflicts: Conflicts,
    ) -> dict[str, Any]:
        if self._breaking:
            self.claims |= self._breaking.claims
        missed = await self._missed()
        doubled = sum(w.doubled + len(w.order) - len(set(w.order)) for w in self._cast.watching.values())
        in_order = [await self._same_everywhere(tale) for tale in self._narrator.tales]
        lost = await self._lost()
        self.claims |= {
            "no client missed a message": not missed,
            "no client was shown anything twice": doubled == 0,
            "every datacenter has every message, in one order, each nick's own in its order": all(in_order),
            "nothing acknowledged is lost": not lost,
        }
        async with self._cast.sys(self._home) as sys:
            status = await sys.call("GET", "/sys/v1/status")
            listed = (await sys.call("GET", "/sys/v1/conflicts"))["conflicts"]
        self.claims["the conflicts are listed"] = len(listed) >= conflicts.expected
        tales = [tale.conversation for tale in self._narrator.tales]
        return {
            "ok": all(self.claims.values()),
            "seed": self._seed,
            "messages": self._narrator.messages,
            "events": status["counters"]["events"],
            "conflicts": len(listed),
            "missed": len(missed),
            "missed_messages": missed[:20],
            "clients": {name_of(nick): _figures(watcher.client.stats) for nick, watcher in self._cast.watching.items()},
            "doubled": doubled,
            "lost_local": len(lost),
            "lost": lost,
            "resent": sum(self._cast.client(nick).stats.resent for nick in self._speakers),
            "digests": digests,
            "digests_equal": len(set(digests.values())) == 1,
            "lag_ms": lag_ms,
            "snapshot": snapshot,
            "rebuild": rebuild,
            "faults": self._breaking.accounts if self._breaking else [],
            "input": {
                "conversations": len(tales),
                "lines": sum(tale.lines for tale in tales),
                "skipped": sum(tale.skipped for tale in tales),
                "empty": sum(tale.empty for tale in tales),
                "refused": [
                    {"file": r.file, "line": r.line, "nick": r.nick, "bytes": r.size, "reason": r.reason}
                    for tale in tales
                    for r in tale.refused
                ],
            },
            "claims": self.claims,
        }

    async def _missed(self) -> list[str]:
        """What a watcher should have got and did not, after time to get it."""

        async def nothing_missing() -> bool:
            return not self._missing()

        await until(nothing_missing, DELIVERED_S_MAX)
        return self._missing()

    def _missing(self) -> list[str]:
        missing = []
        for tale in self._narrator.tales:
            direct = tale.conversation.kind == "direct"
            watchers = tale.conversation.nicks if direct else tuple(self._cast.watchers.values())
            expected = {(user_id(nick), key) for nick, keys in tale.keys.items() for key in keys}
            for nick in watchers:
                gone = expected - self._cast.watching[nick].shown.keys()
                missing += [f"{name_of(nick)}: {sender} {key}" for sender, key in gone]
        for nick in self._cast.watchers.values():
            gone = self._spoken.keys() - self._cast.watching[nick].shown.keys()
            missing += [f"{name_of(nick)}: {sender} {key}" for sender, key in gone]
        return missing

    async def _same_everywhere(self, tale: Told) -> bool:
        """Every DC shows the same messages in the same order, and they are what was said."""
        if not tale.said:
            return True
        direct = tale.conversation.kind == "direct"
        shown: list[list[Message]] = []
        for name in self._planet.sites:
            nick = tale.conversation.nicks[0] if direct else self._cast.watchers[name]
            peer = tale.peer or user_id(tale.conversation.nicks[1])
            shown.append(await _history(self._cast.also_at(nick, name), peer))
        by_nick: dict[str, list[str]] = {}
        for nick, said in tale.said:
            by_nick.setdefault(user_id(nick), []).append(said)
        got: dict[str, list[str | None]] = {}
        for message in shown[0]:
            if not message.system:
                got.setdefault(message.sender, []).append(message.text)
        return all(other == shown[0] for other in shown) and got == by_nick

    async def _lost(self) -> list[str]:
        """Acknowledged words of this chat that no datacenter has."""
        reader = self._cast.watchers[self._home]
        client = self._cast.also_at(reader, self._home)
        have = {(m.sender, m.key) async for m in client.history(self._last_words)}
        return [f"{sender} {key}" for sender, key in self._spoken if (sender, key) not in have]

    @property
    def _spoken(self) -> dict[tuple[str, str], str]:
        """(user, key) -> event: what was acknowledged in that chat."""
        return {**self._acknowledged, **(self._voices.acknowledged if self._voices else {})}


def _figures(stats: Stats) -> dict[str, int]:
    return {name: getattr(stats, name) for name in ("received", "repeated", "holes", "resumes", "resets", "reconnects")}


async def _history(client: Client, peer: str) -> list[Message]:
    """Ascending by id; lines about the chat among them."""
    found = [message async for message in client.history(peer)]
    found.reverse()
    return found
