"""The websocket over which a client receives, and its presence. It only tells: everything a client does is REST, and
whatever is lost here is found by pts and fetched with POST /v1/updates (docs/websocket.md).
"""

from broker.deps import BrokerDeps
from broker.hub import Hub
from broker.routes import add_routes

__all__ = ["BrokerDeps", "Hub", "add_routes"]
