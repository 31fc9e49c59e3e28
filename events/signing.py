"""Ed25519 over a record's chained hash: who wrote a lane, provable by any DC that has the public keys.

One signature per group commit, on its last record, vouches for every record before it by the hash chain. Records
behind the last signature are hints until the next one is there.
"""

from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from core.errors import ConfigError, Corrupt
from core.ids import Lane, lane_of
from events.record import Record, chain

KEY_BYTES = 32
"""Of a private key: a seed, random bytes. A public key has as many."""


class Signer:
    """Signs for one DC. 44 µs a signature."""

    def __init__(self, private: bytes) -> None:
        """`private` is the 32-byte seed; ConfigError for anything else."""
        try:
            self._key = Ed25519PrivateKey.from_private_bytes(private)
        except ValueError as error:
            raise ConfigError("a DC's private key has 32 bytes", private=str(error)) from error

    @property
    def public(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def sign(self, hash: bytes) -> bytes:
        """64 bytes."""
        return self._key.sign(hash)


class Verifier:
    """Checks what other DCs signed. 138 µs a signature."""

    def __init__(self, keys: Mapping[int, bytes]) -> None:
        """`keys` maps a DC's number to its 32 public bytes; ConfigError for a malformed one."""
        try:
            self._keys = {dc: Ed25519PublicKey.from_public_bytes(key) for dc, key in keys.items()}
        except ValueError as error:
            raise ConfigError("a DC's public key has 32 bytes", private=str(error)) from error

    def verify(self, record: Record) -> None:
        """Returns if the record's DC signed its hash; Corrupt otherwise, also for an unsigned one or an unknown DC.

        Says nothing about whether the hash is that of the body: see `vouched`.
        """
        dc = Lane.of(record.lane).dc
        key = self._keys.get(dc)
        if key is None:
            raise Corrupt(f"no public key of DC {dc} is known")
        try:
            key.verify(record.signature, record.hash)
        except InvalidSignature as error:
            raise Corrupt(f"lane {record.lane} seq {record.seq} is not signed by its DC") from error

    def vouched(self, previous: bytes, records: Sequence[Record]) -> int:
        """How many of these dense records of one lane may be believed: those through the last signed one.

        `previous` is the believed hash that they follow (GENESIS for seq 1). Corrupt if the chain, the places, the
        order of ids or the signature is wrong anywhere.
        """
        last = 0
        for i, record in enumerate(records):
            if record.hash != chain(previous, record.lane, record.seq, record.id, record.kind, record.body):
                raise Corrupt(f"lane {record.lane} seq {record.seq} does not follow by hash from what is here")
            if lane_of(record.id) != record.lane:
                raise Corrupt(f"lane {record.lane} seq {record.seq} carries an id of lane {lane_of(record.id)}")
            if i and not _follows(records[i - 1], record):
                raise Corrupt(f"lane {record.lane} is not in order at seq {record.seq}")
            previous = record.hash
            if record.signature:
                last = i + 1
        if last:
            self.verify(records[last - 1])
        return last


def _follows(before: Record, record: Record) -> bool:
    return record.lane == before.lane and record.seq == before.seq + 1 and record.id > before.id
