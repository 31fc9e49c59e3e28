"""Routes of all write primitives, made from the registry once: a request costs no reflection."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import pydantic
from aiohttp import web

from api import problems
from api.batches import Batch, Item
from api.calls import Call, Calls, key_of
from api.clock_header import HEADER as X_CLOCK
from api.clock_header import ClockHeader
from api.cursors import Cursors
from api.decoding import decode_object, problem, refused
from api.fields import body_of, merge, path_of, query_of, too_large
from api.front import Plain, Wire, ok
from api.operations import field_names, place_of_action
from api.position import At, position_of
from api.problems import of_validation
from api.rates import Kind, Rate, Rates
from api.together import Begun, Together, fits
from api.tokens import SessionNow
from api.writes import Answer, Writes
from core import limits
from core.action import Action, Position
from core.errors import Forbidden, Invalid, NotFound, PlanBError
from core.invites import claimed
from stores.at_hand import NotAtHand

Handler = Callable[[web.Request], Awaitable[web.Response]]
_encode = msgspec.json.Encoder().encode


class Choice(NamedTuple):
    """One of the actions that share method and path."""

    action: type[Action]
    when: tuple[tuple[str, str], ...]
    drop: tuple[str, ...]
    """Selectors that are no fields of the request."""


def choose(choices: Sequence[Choice], fields: dict[str, Any]) -> Choice:
    """The one whose `when` matches; one without `when` is the default. Invalid names the selector and its values."""
    default = None
    for choice in choices:
        if not choice.when:
            default = choice
        elif all(_is(fields.get(name), value) for name, value in choice.when):
            return choice
    if default is None:
        name = choices[0].when[0][0]
        values = sorted({value for choice in choices for at, value in choice.when if at == name})
        text = f"must be {' or '.join(values)}"
        raise Invalid(f"{name}: {text}", errors=[problem(name, text)])
    return default


def _is(given: Any, wanted: str) -> bool:
    return bool(given == wanted or (isinstance(given, bool) and wanted == str(given).lower()))


def is_plain(actions: Sequence[type[Action]]) -> bool:
    """Whether a method and path belong to one action, and all its fields are in the body."""
    place = place_of_action(actions[0])
    return len(actions) == 1 and not (place.path or place.query or actions[0].route.when or actions[0].needs_position)


class WriteRoutes:
    """Builds handlers; `json_response` is shared with the reads."""

    def __init__(self, writes: Writes, calls: Calls, cursors: Cursors, clock: ClockHeader, rates: Rates) -> None:
        self._writes = writes
        self._calls = calls
        self._cursors = cursors
        self._clock = clock
        self._rates = rates

    def _rate(self, action: type[Action]) -> Rate:
        kind = Kind.MESSAGES if action.name == "message.send" else Kind.WRITES
        return self._rates.of(kind, f"{action.route.method} {action.route.path}")

    def handler(self, actions: Sequence[type[Action]]) -> Handler:
        """For the actions that share one method and path."""
        choices = [
            Choice(
                action,
                action.route.when,
                tuple(name for name, _ in action.route.when if name not in field_names(action.Request)),
            )
            for action in actions
        ]
        places = [place_of_action(action) for action in actions]
        selectors = {name for choice in choices for name, _ in choice.when}
        in_query = frozenset().union(*(place.query for place in places))
        in_path = places[0].path
        reserved = in_path | in_query
        single = choices[0] if len(choices) == 1 and not selectors else None
        positioned = any(action.needs_position for action in actions)
        enter, submit, rate = self._calls.enter, self._writes.submit, self._rate(actions[0])

        async def handle(request: web.Request) -> web.Response:
            call = await enter(request)
            rate.enter(call.caller.user)
            fields = await body_of(request, call.caller.user)
            position = self._position(fields, call) if positioned else call.position
            merge(fields, path_of(request) if in_path else {}, query_of(request, in_query), reserved)
            choice = single or choose(choices, fields)
            for name in choice.drop:
                fields.pop(name, None)
            try:
                answer = await submit(choice.action, fields, call.caller, call.key, call.prefer, position)
            except (NotFound, Forbidden) as error:
                raise self._calls.or_later(error, call, position) from error
            return self.answer(answer, call)

        return handle

    def _position(self, fields: dict[str, Any], call: Call) -> Position | None:
        """From the body's `cursor` and `at`, which are no fields of the request; else from X-Cursor."""
        cursor, at = fields.pop("cursor", None), fields.pop("at", None)
        if cursor is None and at is None:
            return call.position
        try:
            stated = At.model_validate(at) if at is not None else None
        except pydantic.ValidationError as error:
            raise of_validation(error, "at") from error
        opened = self._cursors.open(cursor, call.caller.user) if cursor is not None else None
        return position_of(opened, stated)

    def plain(self, action: type[Action], session: SessionNow) -> Plain:
        """The same past the framework, for an action whose fields are all in its body (api/front.py)."""
        return _PlainWrites(self._writes, self._calls, self._clock, action, session, self._rate(action))

    def answer(self, answer: Answer, call: Call) -> web.Response:
        """The JSON answer. A link is signed here, also in an answer that is given again: it is kept unsigned."""
        body = answer.body
        if "link" in body and (link := claimed(body["link"])) is not None:
            body = {**body, "link": self._writes.links.signed(link)}
        return web.Response(
            body=_encode(body),
            status=answer.status,
            headers=self._headers(answer, call),
            content_type="application/json",
        )

    def _headers(self, answer: Answer, call: Call) -> dict[str, str]:
        return _headers(self._clock.value(), answer, call)

    def batch_handler(self, action: type[Action]) -> Handler:
        """`{"messages": [{"key": …, …}, …]}`: in order, each with its own outcome in `results` (api/batches.py)."""
        rate = self._rate(action)

        async def handle(request: web.Request) -> web.Response:
            call = await self._calls.enter(request)
            if call.key:
                raise refused("give each message of a batch its own `key`", "Idempotency-Key")
            body = await body_of(request, call.caller.user, limits.BODY_BYTES_MAX)
            merge(body, {}, query_of(request, frozenset()), frozenset())
            items = [_item(one) for one in _items(body)]
            rate.enter(call.caller.user, len(items))
            batch = Batch(
                self._writes, action, call.caller, call.position, items, lambda error: self._judged(error, call)
            )
            results = [self._result(outcome) for outcome in await batch.run(call.prefer)]
            return web.Response(
                body=_encode({"results": results}),
                headers={X_CLOCK: self._clock.value()},
                content_type="application/json",
            )

        return handle

    def _judged(self, error: PlanBError, call: Call) -> PlanBError:
        return self._calls.or_later(error, call) if isinstance(error, (NotFound, Forbidden)) else error

    def _result(self, outcome: Answer | PlanBError) -> dict[str, Any]:
        if isinstance(outcome, PlanBError):
            return {"problem": problems.member(outcome)}
        return outcome.body | {"durability": outcome.durability}


class _PlainCall(NamedTuple):
    call: Call
    begun: Begun


class _PlainWrites:
    """Answers the plain requests of one action: together what needs no more than is at hand, alone what does."""

    def __init__(
        self,
        writes: Writes,
        calls: Calls,
        clock: ClockHeader,
        action: type[Action],
        session: SessionNow,
        rate: Rate,
    ) -> None:
        self._writes = writes
        self._calls = calls
        self._clock = clock
        self._action = action
        self._session = session
        self._rate = rate
        self._together = Together(writes, action) if fits(action) else None

    async def alone(self, headers: Mapping[str, str], body: bytes) -> Wire:
        """See api/front.py."""
        call = await self._calls.of(headers)
        self._rate.enter(call.caller.user)
        try:
            answer = await self._writes.submit(
                self._action, _fields(body), call.caller, call.key, call.prefer, call.position
            )
        except (NotFound, Forbidden) as error:
            raise self._calls.or_later(error, call) from error
        return ok(_encode(answer.body), _headers(self._clock.value(), answer, call))

    def begin(self, headers: Mapping[str, str], body: bytes, now_ms: int) -> _PlainCall | None:
        """See api/front.py."""
        if self._together is None:
            return None
        try:
            call = self._calls.now(headers, self._session, now_ms)
        except NotAtHand:
            return None
        if call.prefer == "remote":
            return None
        self._rate.enter(call.caller.user)
        fields = _fields(body)
        try:
            return _PlainCall(call, self._together.begin(fields, call.caller, call.key, call.position, now_ms))
        except NotAtHand:
            self._rate.give_back(call.caller.user)  # it enters again, alone
            return None
        except (NotFound, Forbidden) as error:
            raise self._calls.or_later(error, call) from error

    async def finish(self, begun: Sequence[_PlainCall]) -> list[Wire | Exception]:
        """See api/front.py."""
        assert self._together is not None, "something was begun"
        await self._together.finish([one for _, one in begun])
        clock = self._clock.value()
        return [self._answer(clock, call, one) for call, one in begun]

    def _answer(self, clock: str, call: Call, begun: Begun) -> Wire | Exception:
        try:
            answer = begun.answer()
        except (NotFound, Forbidden) as error:
            return self._calls.or_later(error, call)
        except Exception as error:
            return error
        return ok(_encode(answer.body), _headers(clock, answer, call))


def _fields(body: bytes) -> dict[str, Any]:
    if len(body) > limits.REQUEST_BYTES_MAX:
        raise too_large(limits.REQUEST_BYTES_MAX)
    return decode_object(body)


def _headers(clock: str, answer: Answer, call: Call) -> dict[str, str]:
    headers = {X_CLOCK: clock}
    if call.prefer or answer.durability != "local":
        headers["Preference-Applied"] = f"durability={answer.durability}"
    if answer.replayed:
        headers["Idempotency-Replayed"] = "true"
    return headers


def _item(one: Any) -> Item | PlanBError:
    """One message of a batch; its `key` is no field of the request."""
    try:
        if not isinstance(one, dict):
            raise refused("must be an object", "messages")
        key = one.pop("key", "")
        if not isinstance(key, str):
            raise refused("must be a string", "key")
        return Item(one, key_of(key) if key else "")
    except PlanBError as error:
        return error


def _items(body: dict[str, Any]) -> list[Any]:
    for name in body:
        if name != "messages":
            raise refused("unknown field", name[:64])
    items = body.get("messages")
    if not isinstance(items, list) or not 0 < len(items) <= limits.BATCH_MESSAGES_MAX:
        raise refused(f"must be a list of 1 to {limits.BATCH_MESSAGES_MAX} messages", "messages")
    return items
