"""One example of each answer of a read, for the description of the API. Tests hold them against their types."""

from typing import Any

from api import answers
from api.answers import Answer

_PROFILE = {"id": "Ugrace", "name": "Grace", "avatar": "", "about": "Compilers"}
_PLACE = {
    "cursor": "PC1.…",
    "position": {"dc": "fra", "epoch": 3, "pts": 7, "channels": {"C1234567890123450999": 44}},
}
_CHAT = {
    "id": "G1234567890123450881",
    "kind": "group",
    "title": "Lunch",
    "about": "",
    "avatar": "",
    "creator": "Uada",
    "owner": "Uada",
    "entry": "open",
    "dissolved": False,
}
_MESSAGE = {
    "id": "1234567890123456789",
    "conversation": "D1234567890123456700",
    "from": "Ugrace",
    "key": "5c1f7d3e-8a55-4c02-9f0e-0e8b8c7b1a2d",
    "class": "7127175737515299284",
    "text": "Hello",
    "edited": None,
    "recalled": False,
    "reactions": {"👍": ["Uada"]},
    "reply_to": None,
    "system": False,
}
_SETTINGS = {
    "conversation": "D1234567890123456700",
    "pin": None,
    "muted_until_ms": None,
    "marked_unread": False,
    "unread_mentions": 1,
    "unread_mentions_more": False,
    "draft": {"text": "Dear Grace, ", "reply_to": None, "revision": "1234567890123456790"},
    "read": {"257": "1234567890123456001"},
    "cleared": {},
}

_REFRESHED = {
    "token": "eyJhbGciOiJIUzI1NiIsImtpZCI6Ij….….…",
    "token_life_s": 3_600,
    "refresh_token": "PR1.5f0c….….…",
    "session": "s1234",
    "user": "Uada",
}

EXAMPLES: dict[type[Answer], dict[str, Any]] = {
    answers.LoggedIn: _REFRESHED | {"expires_ms": 1_900_000_000_000},
    answers.Refreshed: _REFRESHED,
    answers.LoggedOut: {"id": "1234567890123456789", "session": "s1234", "durability": "remote"},
    answers.PublicProfile: _PROFILE | {"handle": "grace"},
    answers.Handle: {"handle": "grace", "user": _PROFILE},
    answers.Me: {
        "id": "Uada",
        "name": "Ada",
        "avatar": "",
        "about": "",
        "handle": "ada_l",
        "dnd": None,
        "session": "s1234",
    },
    answers.Invites: {
        "invites": [
            {
                "invite": "i123",
                "link": "PL1.lbRHMTIz.c2lnbmF0dXJl",
                "creator": "Uada",
                "made": "1234567890123456789",
                "expires_ms": None,
                "uses_max": 10,
                "used": 3,
                "approval": False,
            }
        ]
    },
    answers.Bans: {"users": [_PROFILE], "after": None},
    answers.InviteShown: {
        "chat": "G1234567890123450881",
        "kind": "group",
        "title": "Lunch",
        "about": "",
        "avatar": "",
        "approval": False,
        "present": False,
    },
    answers.JoinRequests: {
        "requests": [{"event": "1234567890123456789", "user": _PROFILE, "invite": None}],
        "after": None,
    },
    answers.MyJoinRequests: {"requests": [{"event": "1234567890123456789", "chat": "G1234567890123450881"}]},
    answers.Presences: {"presence": [{"user": "Ugrace", "online": True}]},
    answers.Block: {"user": "Ulinus", "blocked": True},
    answers.Blocks: {"users": [_PROFILE], "after": None},
    answers.Contacts: {
        "contacts": [{"user": _PROFILE, "state": "contact", "since": "1234567890123456789"}],
        "after": None,
    },
    answers.Devices: {"devices": [{"device": "phone", "provider": "fcm", "home": "fra", "pushes": True}]},
    answers.ScheduledMessages: {
        "scheduled": [
            {
                "scheduled": "S123",
                "at_ms": 1_900_000_000_000,
                "message": {"to": "Ugrace", "text": "Happy birthday"},
                "failure": None,
            }
        ]
    },
    answers.Sessions: {
        "sessions": [{"session": "s1234", "device": "phone", "expires_ms": 1_900_000_000_000, "current": True}]
    },
    answers.ChatOfMine: _CHAT | {"me": {"present": True, "role": "owner"}},
    answers.Members: {
        "members": [{"user": "Uada", "role": "owner", "joined": "1234567890123450881"}],
        "count": 1,
        "after": None,
    },
    answers.History: {
        "conversation": "D1234567890123456700",
        "messages": [_MESSAGE],
        "replies": {"1234567890123456789": {"count": 1, "more": False, "newest": "1234567890123457045"}},
        "next_before": "1234567890123456789",
        "next_after": None,
    },
    answers.Mentions: {
        "conversation": "G1234567890123456700",
        "messages": [
            _MESSAGE | {"conversation": "G1234567890123456700", "text": "Ada, lunch?", "mentions": ["Uada"]},
        ],
        "count": 1,
        "more": False,
        "next_after": None,
    },
    answers.Thread: {
        "thread": "1234567890123456789",
        "root": _MESSAGE,
        "replies": [
            _MESSAGE
            | {
                "id": "1234567890123457045",
                "class": "5527175737515299284",
                "key": "0b1c7d3e-8a55-4c02-9f0e-0e8b8c7b1a2d",
                "text": "Hello to you, too",
                "reply_to": "1234567890123456789",
                "thread": "1234567890123456789",
            }
        ],
        "count": 1,
        "count_more": False,
        "next_before": None,
        "next_after": None,
    },
    answers.Dialogs: {
        "dialogs": [
            _SETTINGS
            | {
                "kind": "direct",
                "peer": {"user": _PROFILE},
                "present": True,
                "top": _MESSAGE,
                "top_more": False,
                "unread": 1,
                "unread_more": False,
            }
        ],
        "after": None,
        **_PLACE,
    },
    answers.Updates: {
        "updates": [
            {"pts": 7, "update": {"event": "1234567890123456789", "type": "message", "message": _MESSAGE}},
            {
                "pts": 44,
                "channel": "C1234567890123450999",
                "update": {
                    "event": "1234567890123456790",
                    "type": "member",
                    "chat": "C1234567890123450999",
                    "user": "Ugrace",
                    "present": True,
                    "role": "",
                },
            },
        ],
        "more": False,
        "reset": False,
        "uncovered": [],
        **_PLACE,
    },
    answers.State: {"user": "Uada", **_PLACE},
}
