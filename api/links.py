"""Links into chats, as their bearers have them: what one allows is in it, signed with the key that all DCs share.

So a datacenter that has not heard of a link yet knows it for a true one, and nothing that is stored or logged lets
anybody in.
"""

from api.signing import Signer
from core import limits
from core.invites import PREFIX, Link, payload, read


class Links:
    def __init__(self, key: bytes) -> None:
        self._signer = Signer(key, PREFIX, limits.LINK_CHARS_MAX)

    def signed(self, link: Link) -> str:
        """For whoever may hand it on."""
        return self._signer.seal(payload(link))

    def opened(self, text: str) -> Link | None:
        """What it allows; None for one that was not signed here."""
        signed = self._signer.open(text)
        return None if signed is None else read(signed)
