"""A flood of each sort of record: what is held stays small, what went is counted, and what is told stays true."""

from __future__ import annotations

import pytest

from chain.errors import InvalidRequestError
from chain.given import Entry
from chain.history import History
from chain.lapsed import NOTHING, Names
from chain.report.turn import Turns
from chain.window import MAX_UNKNOWN, Window
from tests.audit.test_window import Book as Taken

FLOOD = 500
END = 10**9


class Book(Taken):
    """Records by hand that a window takes, and the window that is read anew where it has to be."""

    def enrol(self, holder: str, name: str = "", under: str = "") -> None:
        who = {"id": f"spiffe://a.test/{name or holder}", "kind": "agent", "owner": "team"}
        self.write("enrolled", holder=holder, principal=who | ({"under": under} if under else {}))

    def strike(self, name: str, kind: str = "holder") -> None:
        self.write("revoked", kind=kind, name=name, cause="")

    def ask(self, name: str, expires: int = END) -> None:
        self.write("approval_requested", id=name, tool="bank.pay", expires=expires)

    def stop(self, name: str, scope: str = "agent", until: int = 0) -> None:
        self.write("suspended", scope=scope, name=name, mode="suspended", until=until, cause="", author="ops")

    def lift(self, name: str, scope: str = "agent") -> None:
        self.write("lifted", scope=scope, name=name, cause="", author="ops")

    def live(self) -> list[str]:
        return list(self.window.live(self.entries[-1].seconds))

    def whole(self) -> list[str]:
        return list(History(self.entries).live(self.entries[-1].seconds))

    def again(self) -> None:
        self.window = self.window.again()
        for entry in self.entries:
            self.window.take(entry)
        assert not self.window.lapsed


@pytest.fixture
def book() -> Book:
    return Book(Window(8, 16, 16))


def test_within_its_bounds_nothing_is_let_go_of(book: Book) -> None:
    for number in range(8):
        book.enrol(f"k{number}")
        book.enrol(f"k{number}", f"other{number}")
        book.give(f"d{number}", holder=f"k{number}", exp=number)
        book.stop(f"s{number}", until=number)
        book.lift(f"s{number}")
        book.ask(f"a{number}", expires=1)
        book.write("approval_resolved", id=f"a{number}", verdict="deny", state="denied")
    for number in range(16):
        book.strike(f"n{number}")
        book.write("revoked", id=f"r{number}", cause="")
        book.write("decided", leaf="d0", effect="DENY", tool=f"t{number}", **{"class": "read"})
        book.write("policy_activated", digest=f"p{number}", rules=[])
    for number in range(MAX_UNKNOWN):
        book.write(f"unheard-{number}")
    whole = History(book.entries)
    assert [one.entry for one in book.window.given.values()] == [one.entry for one in whole.given.values()]
    for name in ("asked", "enrolled", "borne", "tools", "policies", "suspended", "controls", "struck",
                 "revoked", "decided", "kinds"):  # fmt: skip
        assert getattr(book.window, name) == getattr(whole, name), name
    assert book.window.roster.principals == whole.roster.principals
    assert book.window.gone == NOTHING
    assert not book.window.lapsed


def test_a_flood_of_requests_leaves_those_that_wait_for_somebody(book: Book) -> None:
    book.ask("glass")
    book.write("approval_resolved", id="glass", verdict="approve", state="approved", emergency=True)
    book.write("approval_consumed", id="glass")
    book.ask("waits")
    for number in range(FLOOD):
        book.ask(f"over{number}", expires=1 if number % 3 else END)
        if number % 3 == 0:
            said = {"verdict": "deny", "state": "denied"} if number % 2 else {"verdict": "approve", "state": "approved"}
            book.write("approval_resolved", id=f"over{number}", **said)
            if not number % 2:
                book.write("approval_consumed", id=f"over{number}")
        assert sum(1 + len(one.words) + len(one.uses) for one in book.window.asked.values()) <= 16
    assert {"glass", "waits"} <= book.window.asked.keys()
    assert book.window.gone.requests + len(book.window.asked) == FLOOD + 2
    assert not book.window.lapsed


def test_of_requests_that_wait_the_latest_stay_and_an_emergency_outlives_them(book: Book) -> None:
    book.ask("glass")
    book.write("approval_resolved", id="glass", verdict="approve", state="approved", emergency=True)
    for number in range(FLOOD):
        book.ask(f"waits{number}")
    assert "glass" in book.window.asked
    assert f"waits{FLOOD - 1}" in book.window.asked
    assert "waits0" not in book.window.asked
    assert len(book.window.asked) <= 16


def test_a_word_on_a_request_that_went_is_not_lost(book: Book) -> None:
    for number in range(FLOOD):
        book.ask(f"waits{number}")
    assert not book.window.lapsed
    book.write("approval_resolved", id="unheard", verdict="approve", state="approved")
    assert not book.window.lapsed, "nobody asked for that"
    book.write("approval_resolved", id="waits0", verdict="approve", state="approved", emergency=True)
    assert book.window.lapsed
    book.again()
    assert [word.body["emergency"] for word in book.window.asked["waits0"].words] == [True]
    assert len(book.window.asked) <= 16


def test_where_too_many_requests_come_back_nothing_is_told() -> None:
    book = Book(Window(8, 16, 100))
    for number in range(FLOOD):
        book.ask(f"waits{number}")
    for number in range(40):
        book.write("approval_resolved", id=f"waits{number}", verdict="approve", state="approved")
    with pytest.raises(InvalidRequestError, match="16 records of approvals"):
        book.again()


@pytest.mark.parametrize("kind", ["holder", "key", "task", "issuer"])
def test_a_flood_of_names_that_were_revoked_leaves_those_that_fell_something(book: Book, kind: str) -> None:
    book.give("falls", holder="bad")
    book.give("stands", holder="good")
    name = {"holder": "bad", "key": "s", "task": "", "issuer": "i"}[kind]
    book.strike(name, kind)
    for number in range(FLOOD):
        book.strike(f"n{number}")
        assert len(book.window.struck) <= 16
    assert book.live() == book.whole() == (["stands"] if kind == "holder" else [])
    assert (kind, name) in book.window.struck
    assert book.window.gone.revocations + len(book.window.struck) == FLOOD + 1
    assert not book.window.lapsed


def test_a_signal_floods_as_a_revocation_does(book: Book) -> None:
    for number in range(FLOOD):
        book.write("signalled", kind="session-revoked", keys=[f"n{number}", f"m{number}"])
        assert len(book.window.struck) <= 16
    assert book.window.gone.revocations + len(book.window.struck) == 2 * FLOOD


def test_a_flood_of_ids_that_were_revoked_leaves_those_that_are_held(book: Book) -> None:
    book.give("falls")
    book.give("stands")
    book.write("revoked", id="falls", cause="")
    for number in range(FLOOD):
        book.write("revoked", id=f"r{number}", cause="")
        assert len(book.window.revoked) <= 16
    assert book.live() == book.whole() == ["stands"]
    assert book.window.gone.revocations + len(book.window.revoked) == FLOOD + 1


@pytest.mark.parametrize("body", [{"kind": "holder", "name": "late"}, {"id": "late"}])
def test_what_was_revoked_long_ago_is_not_told_to_stand(book: Book, body: dict[str, str]) -> None:
    book.write("revoked", **body, cause="")
    for number in range(FLOOD):
        book.strike(f"n{number}")
        book.write("revoked", id=f"r{number}", cause="")
    book.give("stands", holder="stranger")
    assert not book.window.lapsed
    book.give("late", holder="late")
    assert book.window.lapsed
    book.again()
    assert book.live() == book.whole() == ["stands"]
    assert len(book.window.struck) <= 16


def test_where_more_names_were_revoked_than_fit_and_all_fell_something_nothing_is_told(book: Book) -> None:
    for number in range(8):
        book.give(f"d{number}", holder=f"h{number}")
        book.window.given[f"d{number}"].names = (f"h{number}", f"b{number}")
    for number in range(16):
        book.strike(f"{'hb'[number % 2]}{number // 2}")
    assert book.live() == []
    with pytest.raises(InvalidRequestError, match="16 names were revoked that delegations here bear"):
        book.strike("s", "key")


def test_a_flood_of_suspensions_and_what_lifts_them_leaves_what_stands(book: Book) -> None:
    book.give("stands", holder="good")
    book.give("stopped", holder="bad")
    book.stop("bad")
    book.stop("good")
    book.lift("good")
    for number in range(FLOOD):
        book.stop(f"s{number}")
        book.lift(f"s{number}")
        assert len(book.window.controls) <= 16 + len(book.window.suspended)
        assert len(book.window.suspended) <= 2
    assert book.live() == book.whole() == ["stands"]
    assert book.window.controls[0] is book.window.suspended["agent", "bad"]
    assert [one.body["name"] for one in book.window.controls[1:3]] == ["good", "good"], "it stopped what is held"
    assert book.window.gone.stops + (len(book.window.controls) - 1) / 2 == FLOOD + 1
    assert book.window.gone.since == 0


def test_how_a_delegation_stood_is_told_from_when_it_is_known(book: Book) -> None:
    book.give("ended")
    book.write("revoked", id="ended", cause="")
    book.give("stands")
    for _ in range(FLOOD):
        book.stop("h")
        book.lift("h")
    since, now = book.window.gone.since, book.entries[-1].seconds
    known, whole = Turns(book.window, now, since), Turns(History(book.entries), now)
    found, full = (turns.of(turns._history.given["stands"]) for turns in (known, whole))
    assert found[0].time == since
    assert [one for one in found if one.time > since] == [one for one in full if one.time > since]
    assert len(book.window.controls) <= 16
    ended = known.of(book.window.given["ended"])
    assert [(one.time, one.status) for one in ended] == [(2000, "revoked")], "when it was revoked is known for good"


def test_suspensions_that_are_over_by_themselves_go_and_others_stay() -> None:
    book = Book(Window(8, 16, 16))
    book.give("stopped", holder="bad")
    book.stop("bad")
    for number in range(FLOOD):
        book.stop(f"s{number}", until=number + 3)
        assert len(book.window.suspended) <= 16
        assert len(book.window.controls) <= 16 + 16
    book.lift("never")
    assert book.live() == book.whole() == []


def test_more_suspensions_that_stand_than_fit_are_refused(book: Book) -> None:
    for number in range(16):
        book.stop(f"s{number}")
    assert len(book.window.suspended) == 16
    with pytest.raises(InvalidRequestError, match="16 suspensions stand"):
        book.stop("more")


def test_a_flood_of_enrolments_leaves_who_holds_something_and_whoever_it_works_under(book: Book) -> None:
    book.enrol("boss")
    book.enrol("worker", under="boss")
    book.enrol("owner", "dana")
    book.give("stands", holder="worker")
    book.window.given["stands"].facts = {"owner": "spiffe://a.test/dana"}
    for number in range(FLOOD):
        book.enrol(f"k{number}")
        assert len(book.window.enrolled) <= 16
        assert book.window.enrolled.keys() == book.window.borne.keys() == book.window.roster.principals.keys()
        assert book.window.enrolled.keys() == book.window._heard.keys()
    assert {"boss", "worker", "owner", f"k{FLOOD - 1}"} <= book.window.enrolled.keys()
    assert book.window.parties("worker") == ["spiffe://a.test/worker", "spiffe://a.test/boss"]
    assert book.window.roster.keys_of("spiffe://a.test/dana") == {"owner"}
    assert book.window.gone.enrolled + len(book.window.enrolled) == FLOOD + 3
    assert not book.window.lapsed


def test_who_held_something_lately_outlives_who_never_did(book: Book) -> None:
    for holder, under in (("boss", ""), ("idle", ""), ("worker", "boss")):
        book.enrol(holder, under=under)
    for number in range(12):
        book.enrol(f"k{number}")
    book.give("over", holder="worker", exp=1)
    for number in range(8):
        book.give(f"more{number}", exp=2, holder="h")
    assert "over" not in book.window.given
    for number in range(12, 15):
        book.enrol(f"k{number}")
    assert {"boss", "worker"} <= book.window.enrolled.keys()
    assert "idle" not in book.window.enrolled


def test_who_was_enrolled_anew_outlives_who_was_not(book: Book) -> None:
    book.enrol("anew")
    for number in range(15):
        book.enrol(f"k{number}")
    book.enrol("anew")
    assert "k0" not in book.window.enrolled
    assert "anew" in book.window.enrolled


def test_one_key_that_is_enrolled_again_and_again_fills_nothing(book: Book) -> None:
    for number in range(FLOOD):
        book.enrol("k", under=f"boss{number}")
        book.enrol("k", f"name{number % 4}")
    assert len(book.window.enrolled) == 1
    assert len(book.window.borne["k"]) == 5
    assert len(book.window.roster._by_id) <= 16
    assert len(book.window.roster._workers) <= 17
    assert book.window.gone.enrolled == 0


def test_a_principal_that_is_none_is_let_go_of_as_others_are(book: Book) -> None:
    for number in range(FLOOD):
        book.write("enrolled", holder=f"k{number}", principal={"owner": ""})
    assert len(book.window.enrolled) <= 16
    assert book.window.roster.principals == {}


def test_more_identities_of_who_holds_something_than_fit_are_refused(book: Book) -> None:
    book.give("stands", holder="k")
    for number in range(16):
        book.enrol("k", f"name{number}")
    assert len(book.window.borne["k"]) == 16
    with pytest.raises(InvalidRequestError, match="16 identities are enrolled"):
        book.enrol("k", "more")


@pytest.mark.parametrize(("holder", "bound", "owner"), [
    ("old", "", ""), ("worker", "", ""), ("x", "spiffe://a.test/old", ""), ("x", "", "spiffe://a.test/old"),
])  # fmt: skip
def test_who_was_enrolled_long_ago_is_not_told_to_be_nobody(book: Book, holder: str, bound: str, owner: str) -> None:
    book.enrol("old")
    book.stop("spiffe://a.test/old")
    for number in range(FLOOD):
        book.enrol(f"k{number}")
    book.enrol("worker", under="old")
    assert "old" not in book.window.enrolled
    book.give("stranger", holder="stranger")
    assert not book.window.lapsed
    more = ({"bound": bound} if bound else {}) | ({"facts": {"owner": owner}} if owner else {})
    book.write("issued", id="late", parent=None, holder=holder, issuer="i", signer="s", hop=0, iat=0, exp=END, **more)
    assert book.window.lapsed
    book.again()
    assert book.live() == book.whole() == (["stranger", "late"] if owner else ["stranger"])
    assert book.window.roster.keys_of("spiffe://a.test/old") == {"old"}
    assert len(book.window.enrolled) <= 16


@pytest.mark.parametrize("flood", ["before", "after"])
def test_who_comes_to_work_under_somebody_of_long_ago_is_not_told_to_stand(book: Book, flood: str) -> None:
    book.enrol("old")
    book.stop("old")
    given = [("before", "early"), ("after", "late")]
    for when, name in given:
        if when == flood:
            book.give(name, holder="held")
        if when == "before":
            for number in range(FLOOD):
                book.enrol(f"k{number}")
    book.enrol("other", under="old")
    assert not book.window.lapsed, "whoever holds nothing"
    book.enrol("held", under="old")
    assert book.window.lapsed
    book.again()
    assert book.live() == book.whole() == []


@pytest.mark.parametrize("more", range(5))
def test_who_came_to_be_worked_under_is_known_when_it_is_enrolled_anew(book: Book, more: int) -> None:
    """Twice removed: what is held works under one who is enrolled later, and that one under one of long ago."""
    book.enrol("old")
    for number in range(FLOOD + more):
        book.enrol(f"k{number}")
    book.give("stands", holder="held")
    book.enrol("held", under="middle")
    assert not book.window.lapsed
    book.enrol("middle", under="old")
    assert book.window.lapsed
    book.again()
    assert book.window.parties("held") == History(book.entries).parties("held")


def test_a_key_of_long_ago_for_who_answers_is_known_when_it_is_enrolled_anew(book: Book) -> None:
    book.enrol("old", "before")
    for number in range(FLOOD):
        book.enrol(f"k{number}")
    book.give("stands")
    book.window.given["stands"].facts = {"owner": "spiffe://a.test/dana"}
    for number in range(8):
        book.give(f"over{number}", exp=1)
    book.enrol("old", "dana")
    assert book.window.lapsed


def test_who_is_near_is_known_after_names_went(book: Book) -> None:
    book.give("stands", holder="held")
    for number in range(FLOOD):
        book.strike(f"n{number}")
    book.enrol("held", under="n0")
    assert book.window.lapsed, "whoever it works under was revoked"
    book.again()
    assert ("holder", "n0") in book.window.struck


def test_a_flood_of_tools_leaves_those_that_are_granted(book: Book) -> None:
    def call(tool: str) -> None:
        book.write("decided", leaf="stands", effect="ALLOW", tool=tool, **{"class": "read"})

    book.write("issued", id="stands", parent=None, holder="h", issuer="i", signer="s", hop=0, iat=0, exp=END,
               grant={"tools": {"mail.read": {}}})  # fmt: skip
    call("mail.read")
    for number in range(FLOOD):
        call(f"t{number}")
        assert len(book.window.tools) <= 16
    assert "mail.read" in book.window.tools
    assert book.window.gone.tools + len(book.window.tools) == FLOOD + 1
    assert not book.window.lapsed
    book.write("issued", id="late", parent=None, holder="h", issuer="i", signer="s", hop=0, iat=0, exp=END,
               grant={"tools": {"t0": {}}})  # fmt: skip
    assert book.window.lapsed
    book.again()
    assert {"mail.read", "t0"} <= book.window.tools.keys()


def test_a_flood_of_policies_leaves_the_latest(book: Book) -> None:
    for number in range(FLOOD):
        book.write("policy_activated", digest=f"p{number}", rules=[])
        assert len(book.window.policies) <= 16
    assert book.window.policies[-1].body["digest"] == f"p{FLOOD - 1}"
    assert book.window.gone.policies + len(book.window.policies) == FLOOD


def test_a_flood_of_kinds_is_counted(book: Book) -> None:
    for number in range(FLOOD):
        book.write(f"unheard-{number}")
    book.write("key_changed")
    assert len(book.window.unknown) == MAX_UNKNOWN
    assert book.window.kinds["key_changed"] == 1
    assert book.window.gone.unknown == FLOOD - MAX_UNKNOWN


def test_calls_under_what_is_not_held_are_counted_together(book: Book) -> None:
    book.give("held")
    for number in range(FLOOD):
        book.write("decided", leaf=f"d{number}", effect="ALLOW", tool="t")
        book.write("decided", leaf="held", effect="ALLOW", tool="t")
    assert set(book.window.gone.allowed) == {"", "held"}
    assert sum(book.window.gone.allowed.values()) + len(book.window.decided) == 2 * FLOOD


def test_what_was_made_from_a_tree_that_went_goes_with_it(book: Book) -> None:
    book.give("a", exp=1)
    book.give("alone", "unheard", exp=2)
    assert "alone" in book.window.given, "as long as nothing went"
    for number in range(8):
        book.give(f"more{number}", exp=1)
    assert "a" not in book.window.given
    gone, held = book.window.gone.delegations, len(book.window.given)
    for number in range(FLOOD):
        book.give(f"late{number}", "a", exp=1)
    assert len(book.window.given) == held
    assert book.window.gone.delegations == gone + FLOOD
    book.give("stands", "unheard")
    assert book.live() == book.whole() == ["stands"]


def test_where_too_much_comes_back_nothing_is_told(book: Book) -> None:
    for number in range(FLOOD):
        book.strike(f"n{number}")
    for number in range(8):
        book.give(f"late{number}", holder=f"n{number}")
    book.again()
    for number in range(8, 16):
        book.enrol(f"n{number - 8}", under=f"n{number}")
    with pytest.raises(InvalidRequestError, match="16 facts of before are told of again"):
        book.again()


def test_a_name_that_went_is_known_again_and_few_others_are_taken_for_it() -> None:
    names = Names()
    assert not names
    assert ("holder", "k0") not in names
    for number in range(20_000):
        names.add(("holder", f"k{number}"))
    names.add(("holder", "\ud800"))
    assert names
    assert all(("holder", f"k{number}") in names for number in range(20_000))
    assert ("holder", "\ud800") in names
    assert sum(("key", f"k{number}") in names for number in range(20_000)) == 0
    assert len(names._bits) == 8 << 20


def test_each_record_is_taken_whatever_went_before(book: Book) -> None:
    """The twin of all of the above: after a flood of everything, one more of each is held."""
    for number in range(FLOOD):
        book.enrol(f"k{number}")
        book.strike(f"n{number}")
        book.ask(f"a{number}", expires=1)
        book.stop(f"s{number}")
        book.lift(f"s{number}")
    book.give("last", holder="last")
    book.enrol("last")
    book.strike("other")
    book.ask("latest")
    book.stop("later")
    window: Window = book.window
    assert "last" in window.given
    assert "last" in window.enrolled
    assert ("holder", "other") in window.struck
    assert "latest" in window.asked
    assert ("agent", "later") in window.suspended
    assert isinstance(window.last, Entry)
