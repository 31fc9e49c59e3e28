"""What an event came to among others, said by the law of what it wrote."""

from core import verdicts
from core.contacts import Asking
from core.handles import Row
from core.membership import Add, Membership

CHAT, USER, PEER = "G1", "Ua", "Ub"


def test_of_an_add() -> None:
    def says(found: Membership, id: int = 10) -> str:
        return verdicts.of_add(found, CHAT, USER, 1, id)

    add = {1: Add(10, {2: 5})}
    assert says(Membership(add)) == "holds: Ua is in G1 by it"
    assert says(Membership(add, kicked={2: 5})) == "holds: Ua is in G1 by it; it knew of kick 5"
    assert says(Membership(add, kicked={2: 7})).startswith("lost against kick 7: a kick beats every add")
    assert says(Membership(add, {1: 10}, left_at=12)) == "ended: a leave of Ua had seen it (his last one is 12)"
    assert says(Membership(add), 9) == "replaced by 10, a later add of Ua by the same process"


def test_of_a_leave_and_a_kick() -> None:
    here = Membership({1: Add(10, {}), 2: Add(11, {})}, {1: 10}, left_at=12)
    assert verdicts.of_leave(here, CHAT, USER) == "Ua is in G1 all the same: by add 11, which the leave had not seen"
    assert verdicts.of_leave(here._replace(left={1: 10, 2: 11}), CHAT, USER) == "holds: Ua is not in G1"
    kicked = here._replace(kicked={3: 13})
    says = verdicts.of_kick(kicked, CHAT, USER, 3, 13)
    assert says == "holds: Ua is not in G1; it beats add 11, which did not know it"
    back = kicked._replace(adds={**kicked.adds, 1: Add(14, {3: 13})})
    assert verdicts.of_kick(back, CHAT, USER, 3, 13) == "Ua is in G1 again: by add 14, which knew of it"
    assert verdicts.of_kick(back, CHAT, USER, 3, 9).startswith("replaced by 13")


def test_of_a_contact() -> None:
    def says(mine: Asking, his: Asking, id: int = 10) -> str:
        return verdicts.of_request(mine, his, USER, PEER, 1, id)

    asked = Asking({1: 10})
    assert says(asked, Asking()) == "holds: Ua asks Ub, no request of whom holds"
    assert says(asked, Asking({2: 9})) == "holds, as does request 9 of Ub: the two are contacts"
    assert says(Asking({1: 10}, {1: 10}), Asking()) == "ended: a deletion had seen it"
    assert says(asked, Asking(), 8).startswith("replaced by 10")
    assert verdicts.of_deletion(Asking({1: 10}, {1: 10}), USER, PEER) == "holds: no request of Ua to Ub is left"
    late = Asking({1: 10, 2: 11}, {1: 10})
    says_late = verdicts.of_deletion(late, USER, PEER)
    assert says_late == "Ua asks Ub all the same: by request 11, which the deletion had not seen"


def test_of_a_handle() -> None:
    rows = [Row(10, USER, "claim"), Row(11, PEER, "claim"), Row(12, USER, "claim"), Row(13, PEER, "release")]
    rows += [Row(20, USER, "release"), Row(21, PEER, "claim")]

    def says(id: int) -> str:
        return verdicts.of_handle(rows, "ada", id)

    assert says(10) == "ended by release 20; it won against claim 11"
    assert says(11) == "lost against claim 10 of Ua: ada was taken, and the earlier claim wins for good"
    assert says(12) == "changes nothing: ada was Ua's then, by claim 10"
    assert says(13) == "changes nothing: ada was not Ub's then"
    assert says(20) == "holds: it ended claim 10 of ada"
    assert says(21) == "holds: ada is Ub's"
