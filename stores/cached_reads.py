"""Reads of the relational store through a bounded cache.

The cache is invalidated by `apply` after each transaction. A read that was under way during an invalidation is not kept
(`_generation`), so a stale row is never cached.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from core import limits
from stores.ports import RelationalStore
from stores.weighed_cache import WeighedCache

T = TypeVar("T")


class CachedReads:
    """Whoever changes rows says so: `_generation` grows, and what changed is forgotten."""

    def __init__(self, relational: RelationalStore) -> None:
        self._relational = relational
        self._cache = WeighedCache(limits.VIEW_CACHE_MAX, limits.VIEW_CACHE_BYTES_MAX)
        self._generation = 0
        self.keeps = True
        """False while nobody says what changes: then every read asks the store."""

    def forget_all(self, keeps: bool) -> None:
        """Nothing that was read until now is kept; what is read from now on is, if it `keeps`."""
        self._generation += 1
        self._cache.clear()
        self.keeps = keeps

    def _forget(self, *keys: tuple[str, ...]) -> None:
        for key in keys:
            self._cache.pop(key, None)

    async def _cached(self, key: tuple[str, ...], load: Callable[[], Awaitable[T]]) -> T:
        cache = self._cache
        if key in cache:
            cache.move_to_end(key)
            return cast(T, cache[key])
        generation = self._generation
        value = await load()
        self._keep(generation, key, value)
        return value

    def _keep(self, generation: int, key: tuple[str, ...], value: Any) -> None:
        """What was read since `generation`, unless something was invalidated meanwhile."""
        if generation == self._generation and self.keeps:
            self._cache.keep(key, value)

    async def _one(self, table: str, key: str, value: str, build: Callable[[dict[str, Any]], T]) -> T | None:
        place = table, value
        if place in self._cache:  # every write asks for a session and a user: no more calls than needed
            self._cache.move_to_end(place)
            return cast("T | None", self._cache[place])

        async def load() -> T | None:
            rows = await self._relational.rows(table, {key: value})
            return build(rows[0]) if rows else None

        return await self._cached(place, load)
