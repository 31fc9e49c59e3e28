"""A process that applies a story over real stores, to be killed: `python -m tests.support.crash_child <folder>
<log url> <hot url>`. Says "recovered" when it has started. The story is in `<folder>/story`, the end state goes into
`<folder>/state`, both pickled."""

import asyncio
import pickle
import sys
from itertools import repeat
from pathlib import Path

from events.adapters.valkey import ValkeyLog
from stores.adapters.hot_url import hot_at
from stores.adapters.sqlite_messages import SqliteMessageStore
from stores.adapters.sqlite_relational import SqliteRelationalStore
from tests.support.crash import Strike
from tests.support.crash_site import Site, Story, live, state_of
from tests.support.mesh import START_MS


class ChildSite(Site):
    async def take(self, folder: Path, log_url: str, hot_url: str) -> None:
        self.log = await ValkeyLog.connect(log_url)
        self.relational = await SqliteRelationalStore.open(folder / "relational.db", clock=lambda: START_MS)
        self.messages = await SqliteMessageStore.open(folder / "messages.db")
        self.hot = hot_at(hot_url)


async def main(folder: Path, log_url: str, hot_url: str) -> None:
    story: Story = pickle.loads((folder / "story").read_bytes())
    site = ChildSite()
    await site.take(folder, log_url, hot_url)
    life = await live(site, repeat(Strike()))
    print("recovered", flush=True)
    for records in story.cut():
        await site.log.store(records)
        assert await life.apply(records)
    assert await life.survive(life.applier.tick)
    (folder / "state").write_bytes(pickle.dumps(await state_of(story, life, any_order=True)))
    await life.end()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
