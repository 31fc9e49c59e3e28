"""A client of Plan B for asyncio: typed calls, writes that are repeated safely, updates without a gap.

It knows the wire (docs/client-protocol.md, docs/websocket.md) and nothing of the server; aiohttp is all it needs.
"""

from planb_sdk.client import Client
from planb_sdk.errors import ApiError, Closed, OutboxFull, PlanBError, Replaced, Unauthenticated, Unreachable
from planb_sdk.model import (
    Chat,
    Contact,
    Dialog,
    Draft,
    Invite,
    JoinRequest,
    KeptDraft,
    Member,
    Message,
    Position,
    Profile,
    PushDevice,
    Receipt,
    Replies,
    ScheduledMessage,
    Session,
    Thread,
    Update,
)
from planb_sdk.options import Options
from planb_sdk.state import State
from planb_sdk.stats import Stats
from planb_sdk.tokens import Pair

__all__ = [
    "ApiError",
    "Chat",
    "Client",
    "Closed",
    "Contact",
    "Dialog",
    "Draft",
    "Invite",
    "JoinRequest",
    "KeptDraft",
    "Member",
    "Message",
    "Options",
    "OutboxFull",
    "Pair",
    "PlanBError",
    "Position",
    "Profile",
    "PushDevice",
    "Receipt",
    "Replaced",
    "Replies",
    "ScheduledMessage",
    "Session",
    "State",
    "Stats",
    "Thread",
    "Unauthenticated",
    "Unreachable",
    "Update",
]
