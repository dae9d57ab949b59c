"""The laws, over everything that can be generated: containment, attenuation, linkage, determinism, the cache."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import combinations, product
from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from chain import jcs
from chain.base64url import b64decode
from chain.check import check
from chain.claims import decode
from chain.constraint import AnyConstraint, Exact
from chain.containment import Containment, Profile
from chain.decision import Decision
from chain.delegation import Chain
from chain.errors import InvalidTokenError
from chain.grant import LABELS, Grant
from chain.live import Live
from chain.mint import grant
from chain.reason import Reason
from chain.request import Request
from chain.token import Verifier
from tests.support import ALICE, BOB, CAROL, HOLDERS, PEP, Json, World, child, entry, honest, root, rule, seal, text

SEEDED = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=200)
SOME = settings(SEEDED, max_examples=250)
MANY = settings(SEEDED, max_examples=3_000)

_decode = msgspec.json.Decoder(AnyConstraint).decode

# -- containment, exhaustively over a small world ---------------------------------------------------------

ATOMS: list[Any] = [True, False, 1, 1.0, 0, -0.0, 2, 1.5, "1", "", None, [], {}]
UNIVERSE: list[Any] = [
    *ATOMS,
    [1],
    [1.0],
    [True],
    ["1"],
    [1, 2],
    [2, 1],
    [1, 1],
    [[1]],
    [[True]],
    {"a": 1},
    {"a": True},
    {"a": [1]},
]
SCALARS: list[Any] = [True, 1, 1.0, "1", None, 2]
MEMBERS: list[Any] = [True, 1, "1", None, [1], [True], {"a": 1}]


def small_world() -> list[Json]:
    sets = [list(values) for size in range(3) for values in combinations(MEMBERS, size)]
    found = [rule("exact", value=value) for value in SCALARS]
    found += [rule("one_of", values=values) for values in sets if values]
    for kind, member in (("not_one_of", "excluded"), ("contains", "required"), ("subset", "allowed")):
        found += [rule(kind, **{member: values}) for values in sets]
    bounds: list[Any] = [None, 0, 1, 1.0, 2]
    for low, high, low_in, high_in in product(bounds, bounds, (True, False), (True, False)):
        members = {"min": low, "max": high}
        members = {name: value for name, value in members.items() if value is not None}
        found.append(rule("range", **members, min_inclusive=low_in, max_inclusive=high_in))
    found.append(rule("wildcard"))
    found += [rule("path_containment", root=root) for root in ("/", "/a", "/a/b", "/ab")]
    return found


def decoded(value: Json) -> AnyConstraint:
    made: AnyConstraint = _decode(text(value))
    return made


PATHS = ["/", "/a", "/a/b", "/ab", "/a/../b", "a"]
PLAIN = [decoded(value) for value in small_world()]
VALUES = [*UNIVERSE, *PATHS]
PERMITTED = [frozenset(place for place, value in enumerate(VALUES) if one.permits(value)) for one in PLAIN]


@pytest.mark.parametrize("profile", Profile)
def test_containment_is_sound_reflexive_and_transitive(profile: Profile) -> None:
    """Every pair of the small world; and every triple, along the answers."""
    contained: list[set[int]] = []
    for above, outer in enumerate(PLAIN):
        inside = {below for below, inner in enumerate(PLAIN) if Containment(profile).holds(outer, inner)}
        assert above in inside, outer
        unsound = [PLAIN[below] for below in inside if not PERMITTED[below] <= PERMITTED[above]]
        assert not unsound, (outer, unsound)
        contained.append(inside)
    for above, inside in enumerate(contained):
        for below in inside:
            assert contained[below] <= inside, (PLAIN[above], PLAIN[below])
    assert len(PLAIN) == 226
    assert sum(map(len, contained)) > 3_900


def composites() -> list[AnyConstraint]:
    """Every pair of a few plain ones that overlap in each way, under `all` and `any`, and pairs of those."""
    few = [
        rule("exact", value=1),
        rule("exact", value="1"),
        rule("one_of", values=[1, "1", True]),
        rule("not_one_of", excluded=[1]),
        rule("not_one_of", excluded=[True, "1"]),
        rule("range", min=1),
        rule("range", max=1, max_inclusive=False),
        rule("contains", required=[1]),
        rule("subset", allowed=[1, True]),
        rule("wildcard"),
    ]
    pairs = [rule(kind, constraints=[a, b]) for kind in ("all", "any") for a, b in combinations(few, 2)]
    nested = [rule(kind, constraints=[a, b]) for kind in ("all", "any") for a, b in zip(pairs, pairs[7:], strict=False)]
    single = [rule(kind, constraints=[a]) for kind in ("all", "any") for a in few]
    return [decoded(value) for value in [*few, *single, *pairs, *nested]]


@pytest.mark.parametrize("profile", Profile)
def test_containment_of_small_composites_is_sound(profile: Profile) -> None:
    """Every pair of them; the sound profile misses little that is truly contained in these values."""
    every = composites()
    permitted = [frozenset(place for place, value in enumerate(VALUES) if one.permits(value)) for one in every]
    answers = [
        (a, b)
        for a, outer in enumerate(every)
        for b, inner in enumerate(every)
        if Containment(profile).holds(outer, inner)
    ]
    assert all((place, place) in set(answers) for place in range(len(every)))
    assert not [(every[a], every[b]) for a, b in answers if not permitted[b] <= permitted[a]]
    assert len(every) > 250
    assert len(answers) > (15_000 if profile is Profile.SOUND else 3_000), len(answers)


def test_sound_accepts_all_that_aat_01_accepts() -> None:
    """And more: it is why there are two."""
    aat, sound = (
        {(a, b) for a, outer in enumerate(PLAIN) for b, inner in enumerate(PLAIN) if Containment(p).holds(outer, inner)}
        for p in (Profile.AAT_01, Profile.SOUND)
    )
    assert aat < sound


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_equality_is_jcs_equality(value: Any) -> None:
    same = [other for other in VALUES if jcs.key(other) == jcs.key(value)]
    assert same == [other for other in VALUES if jcs.dumps(other) == jcs.dumps(value)]
    assert [type(other) is bool for other in same] == [type(value) is bool] * len(same)
    if not isinstance(value, list | dict):
        exact = Exact(value=value)
        assert [other for other in VALUES if exact.permits(other)] == same


# -- containment, at random --------------------------------------------------------------------------------

scalars = st.sampled_from(SCALARS)
members = st.lists(st.sampled_from(MEMBERS), max_size=3)
numbers = st.sampled_from([0, 1, 1.0, 1.5, 2, -1])


def ranges() -> st.SearchStrategy[Json]:
    optional = {"min": numbers, "max": numbers, "min_inclusive": st.booleans(), "max_inclusive": st.booleans()}
    return st.fixed_dictionaries({"constraint_type": st.just("range")}, optional=optional)


leaves = st.one_of(
    scalars.map(lambda value: rule("exact", value=value)),
    members.filter(bool).map(lambda values: rule("one_of", values=values)),
    members.map(lambda values: rule("not_one_of", excluded=values)),
    members.map(lambda values: rule("contains", required=values)),
    members.map(lambda values: rule("subset", allowed=values)),
    ranges(),
    st.just(rule("wildcard")),
    st.sampled_from(["/", "/a", "/a/b"]).map(lambda path: rule("path_containment", root=path)),
)
trees = st.recursive(
    leaves,
    lambda inner: st.tuples(st.sampled_from(["all", "any"]), st.lists(inner, min_size=1, max_size=3)).map(
        lambda made: rule(made[0], constraints=made[1])
    ),
    max_leaves=8,
)


PAIRS: dict[str, Any] = {"above": trees, "below": trees, "profile": st.sampled_from(Profile)}


@SOME
@given(**PAIRS)
def test_containment_of_composites_is_sound(above: Json, below: Json, profile: Profile) -> None:
    outer, inner = decoded(above), decoded(below)
    if Containment(profile).holds(outer, inner):
        for value in VALUES:
            assert outer.permits(value) or not inner.permits(value), value


@SOME
@given(**PAIRS)
def test_containment_of_composites_is_reflexive_and_narrows(above: Json, below: Json, profile: Profile) -> None:
    """A tree is inside itself; with a clause more it is inside, with an alternative more it is outside or equal."""
    one, another = decoded(above), decoded(below)
    assert Containment(profile).holds(one, decoded(above))
    both = decoded(rule("all", constraints=[above, below]))
    either = decoded(rule("any", constraints=[above, below]))
    if profile is Profile.SOUND:
        assert Containment(profile).holds(one, both)
        assert Containment(profile).holds(either, one)
    for value in VALUES:
        assert both.permits(value) == (one.permits(value) and another.permits(value))
        assert either.permits(value) == (one.permits(value) or another.permits(value))


@SEEDED
@given(one=trees, two=trees, three=trees)
def test_containment_in_steps_is_sound(one: Json, two: Json, three: Json) -> None:
    """What is inside what is inside: whether or not it is seen directly, no value escapes the outermost."""
    narrowed = rule("all", constraints=[one, two])
    further = rule("all", constraints=[narrowed, three])
    outer, inner, innermost = decoded(one), decoded(narrowed), decoded(further)
    assert Containment().holds(outer, inner)
    assert Containment().holds(inner, innermost)
    assert all(outer.permits(value) for value in VALUES if innermost.permits(value))


# -- grants ------------------------------------------------------------------------------------------------

TOOLS = ("t", "u")
ARGUMENTS = ("x", "y")
arguments = st.dictionaries(st.sampled_from(ARGUMENTS), trees, max_size=2)
tools = st.dictionaries(st.sampled_from(TOOLS), arguments, max_size=2)
PURPOSES = ("a", "a.b", "ab", "a.b.c")
limits = st.fixed_dictionaries(
    {},
    optional={
        "classes": st.lists(st.sampled_from(["read", "write", "act"]), unique=True),
        "classification": st.sampled_from(LABELS),
        "purposes": st.lists(st.sampled_from(PURPOSES), max_size=2),
    },
)
grants = st.builds(lambda tools, limits: grant({"tools": tools, "limits": limits}), tools, limits)


GRANTS: dict[str, Any] = {"parent": grants, "child_grant": grants}


@SOME
@given(**GRANTS)
def test_covers_is_no_excess(parent: Grant, child_grant: Grant) -> None:
    for profile in Profile:
        found = list(child_grant.excess(parent, profile))
        assert parent.covers(child_grant, profile) is (not found)
        assert all(one.field and one.parent and one.child for one in found)
        assert found == list(child_grant.excess(parent, profile))
    assert parent.covers(parent)
    assert parent.covers(parent, Profile.AAT_01)


LONG: list[tuple[Any, dict[str, Any]]] = [
    (test_containment_of_composites_is_sound, PAIRS),
    (test_containment_of_composites_is_reflexive_and_narrows, PAIRS),
    (test_covers_is_no_excess, GRANTS),
]


@pytest.mark.slow
@pytest.mark.skipif("'slow' not in config.option.markexpr", reason="thousands of trees: -m slow")
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("law", "over"), LONG)
def test_the_laws_of_containment_hold_over_many(law: Any, over: dict[str, Any]) -> None:
    MANY(given(**over)(law.hypothesis.inner_test))()


# -- chains ------------------------------------------------------------------------------------------------

calls = st.builds(
    lambda tool, arguments, purpose, label: Request(
        tool=tool, arguments=arguments, purpose=purpose, classification=label, holder="x", audience=PEP
    ),
    st.sampled_from([*TOOLS, "v"]),
    st.dictionaries(st.sampled_from(ARGUMENTS), st.sampled_from(VALUES), max_size=2),
    st.sampled_from([None, *PURPOSES, "b"]),
    st.sampled_from([None, *LABELS]),
)


def narrowing(given_tools: Json, more: Json) -> Json:
    """Make a grant narrower without asking the core how: fewer tools, one more clause on every argument."""
    kept = {tool: rules for tool, rules in given_tools.items() if tool != more["drop"]}
    return {
        tool: {name: rule("all", constraints=[wider, more["clause"]]) for name, wider in rules.items()}
        for tool, rules in kept.items()
    }


steps = st.lists(st.fixed_dictionaries({"drop": st.sampled_from([*TOOLS, None]), "clause": leaves}), max_size=3)


def built(first: Json, given_limits: Json, narrower: list[Json]) -> list[str]:
    tokens = [seal(root(HOLDERS[0], authorization_details=[entry(first, given_limits or None)]))]
    for place, more in enumerate(narrower):
        by, to = HOLDERS[place % 3], HOLDERS[(place + 1) % 3]
        tokens_tools = json.loads(seal_text(tokens[-1]))["authorization_details"][0]["tools"]
        tokens.append(seal(child(tokens[-1], to, tools=narrowing(tokens_tools, more)), by))
    return tokens


def seal_text(token: str) -> str:
    return b64decode(token.split(".")[1].encode()).decode()


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def asked(world: World, chain: Chain, request: Request, now: float = 0) -> Decision:
    """Decide over the channel, without the ledger."""
    leaf = request.model_copy(update={"holder": chain.leaf.holder, "request_id": "0123456789abcdef"})
    return check(chain, leaf, state(world), now or world.clock.now).decision


def state(world: World) -> Live:
    return world.authority._desk.live


@SEEDED
@given(first=tools, given_limits=limits, narrower=steps, request=calls)
def test_a_longer_chain_never_permits_more(
    world: World, first: Json, given_limits: Json, narrower: list[Json], request: Request
) -> None:
    """For every prefix: what the longer chain permits, the shorter one did."""
    tokens = built(first, given_limits, narrower)
    verifier = world.fresh()
    permitted = [
        asked(world, verifier.verify(tokens[:length]), request).allowed for length in range(1, len(tokens) + 1)
    ]
    assert permitted == sorted(permitted, reverse=True)


@SEEDED
@given(parent=tools, below=tools, above_limits=limits, below_limits=limits, request=calls)
def test_what_a_child_permits_its_parent_permits(
    world: World, parent: Json, below: Json, above_limits: Json, below_limits: Json, request: Request
) -> None:
    """For any two grants at all: if the chain is authentic, the leaf's own grant permits no more than the root's.

    Asked of grants that stand alone, so that containment must hold by itself and not by the conjunction.
    """
    kind = entry({}, {"classes": []})["type"]
    first = seal(root(authorization_details=[entry(parent, above_limits or None, kind)]))
    tokens = [first, seal(child(first, authorization_details=[entry(below, below_limits or None, kind)]), ALICE)]
    verifier = world.fresh()
    try:
        verifier.verify(tokens)
    except InvalidTokenError:
        reject()
    alone = verifier.verify([seal(root(jti="alone", authorization_details=[entry(below, below_limits or None, kind)]))])
    if asked(world, alone, request).allowed:
        assert asked(world, verifier.verify([first]), request).allowed


@SEEDED
@given(first=tools, given_limits=limits, narrower=steps, request=calls)
def test_check_is_deterministic_and_writes_nothing(
    world: World, first: Json, given_limits: Json, narrower: list[Json], request: Request
) -> None:
    tokens = built(first, given_limits, narrower)
    chain, live = world.fresh().verify(tokens), state(world)
    before = (world.store.head, dict(live._nonces), set(live.revoked), dict(live._principals))
    answers = [asked(world, chain, request) for _ in range(3)]
    answers.append(asked(world, world.fresh().verify(tokens), request))
    assert all(answer == answers[0] for answer in answers)
    assert before == (world.store.head, dict(live._nonces), set(live.revoked), dict(live._principals))


@SEEDED
@given(data=st.data())
def test_the_cache_never_changes_an_answer(world: World, data: st.DataObject) -> None:
    """A warm verifier and a fresh one agree on every sequence of tokens, in whatever order they are asked."""
    warm = Verifier(world.verifier.anchors, world.verifier.rules, remember=data.draw(st.sampled_from([1, 4, 1_000])))
    pool = SOME_TOKENS
    for _ in range(6):
        tokens = data.draw(st.lists(st.sampled_from(pool), min_size=1, max_size=4))
        assert outcome(warm, tokens) == outcome(world.fresh(), tokens)
    for tokens in (pool[:1], pool[:2], pool[:3], pool[:2], pool[1:3]):
        assert outcome(warm, tokens) == outcome(world.fresh(), tokens)


def outcome(verifier: Verifier, tokens: list[str]) -> Any:
    try:
        chain = verifier.verify(tokens)
    except InvalidTokenError as error:
        return error.reason, error.hop, str(error)
    return chain.digests, chain.facts, chain.expires, [hop.claims for hop in chain.hops]


def some_tokens() -> list[str]:
    tokens = honest()
    second = seal(child(tokens[0], exp=1_800_000_500), ALICE)
    corrupt = tokens[1].rpartition(".")[0] + "." + "A" * 86
    empty = seal(child(tokens[0], authorization_details=[]), ALICE)
    return [*tokens, second, seal(child(second, CAROL), BOB), corrupt, empty, seal(root(jti="two")), "x"]


SOME_TOKENS = some_tokens()

# -- what is signed, link by link --------------------------------------------------------------------------


def five_hops() -> list[str]:
    tokens = [seal(root())]
    for place in range(4):
        tokens.append(seal(child(tokens[-1], HOLDERS[(place + 1) % 3]), HOLDERS[place % 3]))
    return tokens


@pytest.mark.parametrize("hops", range(1, 6))
def test_any_hop_dropped_or_swapped_fails(world: World, hops: int) -> None:
    tokens = five_hops()[:hops]
    assert len(world.fresh().verify(tokens)) == hops
    for place in range(hops - 1):  # dropping the last one leaves a prefix, which is a chain of its own
        with pytest.raises(InvalidTokenError) as raised:
            world.fresh().verify(tokens[:place] + tokens[place + 1 :])
        assert raised.value.hop == place
    for one, two in combinations(range(hops), 2):
        swapped = list(tokens)
        swapped[one], swapped[two] = swapped[two], swapped[one]
        with pytest.raises(InvalidTokenError) as raised:
            world.fresh().verify(swapped)
        assert raised.value.hop == one
    for one, two in product(range(hops), repeat=2):
        with pytest.raises(InvalidTokenError) as raised:
            world.fresh().verify([*tokens[:one], tokens[two], *tokens[one:]])
        assert raised.value.reason is Reason.JTI_DUPLICATE


@pytest.mark.parametrize("hops", range(1, 6))
def test_any_edited_byte_fails(world: World, hops: int) -> None:
    """Every byte of every token, through a verifier that is warm and one that is not."""
    tokens = five_hops()[:hops]
    warm = world.fresh()
    warm.verify(tokens)
    for hop in range(hops):
        positions = range(0, len(tokens[hop]), 1 if hops == 2 else 17)
        for place in positions:
            old = tokens[hop][place]
            for new in {"A", "B", ".", "=", "\n"} - {old}:
                edited = list(tokens)
                edited[hop] = tokens[hop][:place] + new + tokens[hop][place + 1 :]
                with pytest.raises(InvalidTokenError) as raised:
                    warm.verify(edited)
                assert raised.value.hop is not None
                assert raised.value.hop <= hop + 1


def edits(payload: Json) -> Iterator[tuple[str, Json]]:
    """Everything a holder could sign differently without changing its own key."""
    yield "iat", {"iat": payload["iat"] - 1}
    yield "exp", {"exp": payload["exp"] + 1}
    yield "iss", {"iss": "urn:other"}
    yield "del_depth", {"del_depth": payload["del_depth"] + 1}
    yield "del_max_depth", {"del_max_depth": payload["del_max_depth"] + 1}
    yield "par_hash", {"par_hash": "x"}
    yield "tools", {"authorization_details": [entry(payload["authorization_details"][0]["tools"] | {"new": {}})]}


@pytest.mark.parametrize("hop", range(1, 5))
def test_any_edited_claim_signed_by_the_right_key_fails(world: World, hop: int) -> None:
    tokens = five_hops()
    payload = json.loads(seal_text(tokens[hop]))
    by = HOLDERS[(hop - 1) % 3]
    assert decode(text(payload))[0].del_depth == hop
    for name, edit in edits(payload):
        with pytest.raises(InvalidTokenError) as raised:
            world.fresh().verify([*tokens[:hop], seal(payload | edit, by)])
        assert raised.value.hop == hop, name
    # The same claims signed once more are another signature of the same statement: still a chain.
    assert len(world.fresh().verify([*tokens[:hop], seal(payload, by)])) == hop + 1


@SEEDED
@given(
    value=st.recursive(
        st.sampled_from(ATOMS),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=8,
    )
)
def test_canonical_json_agrees_with_the_reference(value: Any) -> None:
    assert jcs.dumps(value) == rfc8785.dumps(value)
    assert jcs.key(jcs.loads(jcs.dumps(value))) == jcs.key(value)
    assert jcs.dumps(jcs.loads(jcs.dumps(value))) == jcs.dumps(value)
