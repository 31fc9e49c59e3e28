"""The event log on Pulsar: its admin API, its brokers, and what a namespace of ours is set to."""

from typing import Any
from urllib.parse import urlsplit

from cli import event_log
from cli.checks.notes import Notes
from cli.settings import Settings
from core.errors import ConfigError, LogUnavailable
from core.limits import PULSAR_MESSAGE_BYTES_MAX
from core.system import steady_clock_ms

OLDEST = 4


async def log(settings: Settings, notes: Notes) -> None:
    try:
        from events.adapters.pulsar import namespaces
        from events.adapters.pulsar_admin import Admin
        from events.adapters.pulsar_wire import answers
    except ModuleNotFoundError as error:
        raise ConfigError(f'stores.log_url needs {error.name}: install "planb[engines]"') from error
    stores, token = settings.stores, event_log.token(settings)
    where = f"its admin API at {stores.pulsar.admin_url}"
    admin = Admin(str(stores.pulsar.admin_url), stores.pulsar.tenant, token=token)
    try:
        began = steady_clock_ms()
        version = (await admin.text("/brokers/version")).strip()
        found = await admin.ask("GET", "/brokers/configuration/runtime")
        took_ms = steady_clock_ms() - began
        fact = f"Pulsar {version}, cluster {found.get('clusterName')}, at {stores.pulsar.admin_url}, {took_ms} ms"
        if int(version.partition(".")[0]) < OLDEST:
            notes.wrong(fact, f"Pulsar {OLDEST}.0 or newer")
        else:
            notes.ok(fact)
        _broker_settings(found, notes)
        for namespace in namespaces(settings.dc.number):
            await _namespace(admin, namespace, notes)
    except ConfigError as error:
        notes.failed(error, "secrets.pulsar_token_file: a token of the tenant's administrator", where)
    except LogUnavailable as error:
        notes.failed(error, "start it; stores.pulsar.admin_url is its webServicePort", where)
    finally:
        await admin.close()
    why = await answers(stores.log_url, token, f"persistent://{stores.pulsar.tenant}/dc-{settings.dc.number}/probe")
    if why:
        notes.down(
            f"brokers at {urlsplit(stores.log_url).netloc} do not answer: {why}",
            "start them; stores.log_url is their brokerServicePort",
        )
    else:
        notes.ok(f"brokers at {urlsplit(stores.log_url).netloc} let us in")


def _broker_settings(found: dict[str, Any], notes: Notes) -> None:
    largest = int(found.get("maxMessageSize", 5 << 20))
    if largest < PULSAR_MESSAGE_BYTES_MAX:
        notes.wrong(
            f"maxMessageSize is {largest}",
            f"maxMessageSize={PULSAR_MESSAGE_BYTES_MAX} of brokers and bookies",
        )


async def _namespace(admin: Any, namespace: str, notes: Notes) -> None:
    """What the first start has set may have been changed."""
    policies = await admin.ask("GET", f"/namespaces/{admin.tenant}/{namespace}", missing=404)
    name = f"{admin.tenant}/{namespace}"
    if policies is None:
        notes.ok(f"{name} is not there yet: the first start makes it")
        return
    ttl = policies.get("message_ttl_in_seconds") or 0
    expires = policies.get("subscription_expiration_time_minutes") or 0
    if ttl:
        notes.wrong(
            f"{name}: messages expire after {ttl} s, needed or not",
            f"pulsar-admin namespaces set-message-ttl {name} -ttl 0",
        )
    if expires:
        notes.wrong(
            f"{name}: subscriptions expire after {expires} min, and with them what keeps the lanes",
            f"pulsar-admin namespaces set-subscription-expiration-time {name} -t 0",
        )
    if not ttl and not expires:
        topics = len(await admin.topics(namespace))
        notes.ok(f"{name}: nothing expires, {topics} lane{'' if topics == 1 else 's'}")
