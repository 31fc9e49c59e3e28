"""One signature on the last record of a group commit vouches for all before it, and for nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from core.errors import ConfigError, Corrupt
from core.ids import Lane
from core.system import entropy
from events.record import GENESIS, Record
from events.signing import KEY_BYTES, Signer, Verifier
from tests.support.lanes import EMPTY, records_after

FRA = Lane(3, 1, 4).number
IAD = Lane(4, 0, 0).number
SIGNER, OTHER = Signer(entropy(KEY_BYTES)), Signer(entropy(KEY_BYTES))
VERIFIER = Verifier({3: SIGNER.public, 4: OTHER.public})


def signed(records: list[Record], *places: int, signer: Signer = SIGNER) -> list[Record]:
    return [replace(r, signature=signer.sign(r.hash)) if i in places else r for i, r in enumerate(records)]


LANE = signed(records_after(EMPTY, FRA, 6), 1, 3)


def test_a_public_key_follows_from_the_private_one() -> None:
    assert len(SIGNER.public) == KEY_BYTES
    assert SIGNER.public != OTHER.public
    seed = entropy(KEY_BYTES)
    assert Signer(seed).public == Signer(seed).public
    assert len(SIGNER.sign(GENESIS)) == 64


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_malformed_key_is_a_wrong_setting(size: int) -> None:
    with pytest.raises(ConfigError):
        Signer(bytes(size))
    with pytest.raises(ConfigError):
        Verifier({1: bytes(size)})


def test_a_dcs_signature_is_accepted() -> None:
    VERIFIER.verify(LANE[1])


@pytest.mark.parametrize(
    "forged",
    [
        LANE[0],
        replace(LANE[1], signature=b"x" * 64),
        replace(LANE[1], hash=LANE[2].hash),
        signed(LANE, 1, signer=OTHER)[1],
        replace(LANE[1], lane=IAD),
        replace(LANE[1], lane=Lane(9, 0, 0).number),
    ],
    ids=["unsigned", "garbage", "another hash", "another DC's key", "another DC's lane", "an unknown DC"],
)
def test_anything_else_is_not(forged: Record) -> None:
    with pytest.raises(Corrupt):
        VERIFIER.verify(forged)


def test_records_through_the_last_signature_are_vouched_for_and_the_rest_are_hints() -> None:
    assert VERIFIER.vouched(GENESIS, LANE) == 4
    assert VERIFIER.vouched(GENESIS, LANE[:3]) == 2
    assert VERIFIER.vouched(GENESIS, LANE[:1]) == 0
    assert VERIFIER.vouched(GENESIS, []) == 0
    assert VERIFIER.vouched(LANE[1].hash, LANE[2:]) == 2


def test_records_that_do_not_follow_what_is_here_are_refused() -> None:
    with pytest.raises(Corrupt):
        VERIFIER.vouched(GENESIS, LANE[1:])
    with pytest.raises(Corrupt):
        VERIFIER.vouched(GENESIS, [LANE[0], LANE[2]])


@given(
    at=st.integers(0, 5),
    change=st.sampled_from(
        [
            {"body": b"other"},
            {"seq": 99},
            {"id": LANE[0].id},
            {"lane": IAD},
            {"kind": 1},
            {"hash": b"x" * 32},
        ]
    ),
)
def test_no_change_of_any_record_goes_unnoticed(at: int, change: dict[str, object]) -> None:
    records = list(LANE)
    records[at] = replace(records[at], **change)  # type: ignore[arg-type]
    if records == LANE:
        return
    with pytest.raises(Corrupt):
        VERIFIER.vouched(GENESIS, records)


def test_an_id_that_does_not_grow_is_refused_even_if_it_is_signed() -> None:
    first = records_after(EMPTY, FRA, 2)
    again = records_after(EMPTY._replace(seq=0, hash=first[0].hash), FRA, 1)[0]  # the id of seq 1, a second time
    with pytest.raises(Corrupt):
        VERIFIER.vouched(GENESIS, signed([first[0], again], 1))
