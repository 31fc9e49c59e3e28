"""Two and three DCs in one process, over real HTTP."""

from tests.support.replicated import World


async def test_what_is_written_in_one_dc_is_applied_in_the_other_both_ways() -> None:
    async with World("fra", "ams") as world:
        fra, ams = world["fra"], world["ams"]
        await fra.one.do("user.upsert", "sys", user="Uada", name="Ada")
        await ams.one.do("user.upsert", "sys", user="Ubob", name="Bob")
        await world.settled()
        for dc in (fra, ams):
            for user, name in (("Uada", "Ada"), ("Ubob", "Bob")):
                found = await dc.one.view.user(user)
                assert found is not None
                assert found.name == name
        assert len(await world.totals()) == 1
