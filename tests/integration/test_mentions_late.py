"""Mentions and reads on both sides of a cut, through the lanes of two whole datacenters."""

from typing import Any

from cli.waiting import until
from core import ids
from core.event import Event
from core.system import wall_clock_ms
from tests.support.replicated import ReplicatedDc, World


async def test_what_is_unread_of_mentions_is_the_same_after_a_cut_and_nothing_late_is_swallowed() -> None:
    async with World("fra", "ams") as world:
        fra, ams = world["fra"], world["ams"]
        for user in ("Ua", "Ub", "Uc"):
            await fra.one.do("user.upsert", "sys", user=user, name=user)
        made = await fra.one.do("group.create", "Ua", "g", kind="group", title="g", users=["Ub", "Uc"])
        chat = made.args.chat

        async def name(dc: ReplicatedDc, who: str, key: str, *users: str) -> Event:
            return await dc.one.do("message.send", who, key, to=chat, text=key, mentions=list(users))

        async def read(dc: ReplicatedDc, message: Event) -> None:
            request: dict[str, Any] = {"peer": chat, "message": str(message.id)}
            await dc.one.do("dialog.read", "Ub", position=dc.one.position(), **request)

        async def unread(dc: ReplicatedDc, user: str = "Ub") -> list[int]:
            found, more = await dc.one.view.unread_mentions(user, chat)
            assert not more
            return found

        before = await name(fra, "Ua", "before", "Ub")
        await world.settled()
        world.cut("fra", "ams")
        here = await name(fra, "Uc", "here", "Ub")
        there = await name(ams, "Ua", "there", "all")
        unseen = await name(ams, "Uc", "unseen", "Ub")
        taken_back = await name(ams, "Uc", "taken back", "Ub")
        await ams.one.do("message.recall", "Uc", message=str(taken_back.id), **{"for": "all"})
        copies = [await name(dc, "Ua", "retried", "Ub") for dc in (fra, ams)]

        async def later() -> bool:
            """Within one tick the lane decides which id is the greater one."""
            return ids.tick_at(wall_clock_ms()) > ids.tick_at(ids.time_ms_of(unseen.id))

        assert await until(later, 5)
        last = await name(fra, "Ua", "last", "Ub")
        assert last.id > unseen.id, "a scalar mark would swallow what ams wrote"
        await read(fra, here)
        await read(ams, there)
        assert await unread(fra) == [copies[0].id, last.id]
        assert await unread(ams) == [unseen.id, copies[1].id]
        await read(fra, last)
        assert await unread(fra) == []
        world.mend("fra", "ams")
        await world.settled()
        for dc in (fra, ams):
            assert await unread(dc) == [unseen.id], dc.name
            assert await unread(dc, "Uc") == [there.id], dc.name
            assert before.id not in await unread(dc)
        await read(ams, last)
        await world.settled()
        for dc in (fra, ams):
            assert await unread(dc) == [], dc.name
