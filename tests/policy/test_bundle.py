"""A bundle is taken whole or not at all, and the one before goes on."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from chain import bundles
from chain.bundle import MAX_BYTES, MAX_FILES, SCHEMA, load
from chain.bundles import default
from chain.errors import ChainError, NotFoundError, PolicyError
from chain.reason import Reason
from chain.state import LABELS, Settings
from tests.policy.folder import ANY_CALL, ANY_HOP, ANYTHING, TYPES, activate, bundle, policy
from tests.support import ALICE, World, root, seal, verifier

READ = 'Chain::Action::"read"'


def extra(text: str) -> dict[str, str]:
    return bundle() | {"extra.cedar": text}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            '// x;\n\n@id("a")\npermit (principal, action, resource)\nwhen { principal.knd == "x" };',
            "extra.cedar:3: `a`: attribute `knd` on entity type `Chain::Principal` not found",
        ),
        ('@id("a") permit (principal, action == Chain::Action::"reed", resource);', "extra.cedar:1: `a`: unrecognized"),
        ('@id("a")\npermit (principal,\n  action resource);', "extra.cedar:3: unexpected token `resource`"),
        ('@id("b") permit (principal, action, resource);\n@id("a") permit (', "extra.cedar:2: "),
        ("permit (principal, action, resource);", 'extra.cedar:1: every policy needs an `@id("…")`'),
        ('@id("a b") permit (principal, action, resource);', "extra.cedar:1: every policy needs an"),
        ("@id permit (principal, action, resource);", "extra.cedar:1: every policy needs an"),
        (
            '@id("call") permit (principal, action, resource);',
            "rules.cedar:2: the id `call` stands at extra.cedar:1 too",
        ),
        (
            '@id("a") permit (principal, action, resource);\n@id("a") forbid (principal, action, resource);',
            "extra.cedar:2: the id `a` stands at extra.cedar:1 too",
        ),
        ('\n@id("a") permit (principal == ?principal, action, resource);', "extra.cedar:2: templates are not taken"),
        (
            f'@id("a") @approval("1") permit (principal, action == {READ}, resource);',
            "extra.cedar:1: `a` asks for approval, and only a `forbid` can",
        ),
        ('@id("a") @approval("1") forbid (principal, action, resource);', "`a` asks for approval of an approval"),
        (f'@id("a") @approval("0") forbid (principal, action == {READ}, resource);', "of `0`, not of 1 to 64 people"),
        (f'@id("a") @approval("65") forbid (principal, action == {READ}, resource);', "of `65`, not of 1 to 64"),
        (f'@id("a") @approval("²") forbid (principal, action == {READ}, resource);', "not of 1 to 64 people"),
        (f'@id("a") @approval("-1") forbid (principal, action == {READ}, resource);', "not of 1 to 64 people"),
        (
            '@id("a") permit (principal, action, resource) when { "\ud800" == "" };',
            "extra.cedar: holds half a character",
        ),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_rule(text: str, words: str) -> None:
    with pytest.raises(PolicyError, match=re.escape(words)) as raised:
        load(extra(text))
    assert raised.value.reason is Reason.POLICY_INVALID


@pytest.mark.parametrize(
    "text",
    [
        '// x;\n\n@id("a")\npermit (principal, action, resource)\nwhen { principal.kind == "x" };',
        '@id("b")\n@description("one; \\"two\\"")\nforbid (principal, action, resource);',
        f'@id("a") @approval("64") forbid (principal, action == {READ}, resource);',
        f'@id("a") @approval forbid (principal, action == {READ}, resource);',
        '@id("a") @approval("1") forbid (principal, action == Chain::Action::"delegate", resource);',
        "// nothing but a comment",
    ],
)
def test_and_its_twin_is_taken(text: str) -> None:
    assert load(extra(text)).rules.keys() >= {"hop", "call", "approver"}


def test_a_gate_without_a_number_takes_one_person() -> None:
    text = f'@id("a") @approval forbid (principal, action == {READ}, resource);'
    assert load(extra(text)).rules["a"].threshold == 1


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "a bundle needs a `schema.cedarschema`"),
        ({SCHEMA: TYPES}, "a bundle without a policy would refuse everything"),
        ({SCHEMA: "namespace Chain { entity A = {", "a.cedar": ANYTHING}, "schema.cedarschema: "),
        ({SCHEMA: TYPES, "a.cedar": ANYTHING, "../up.cedar": ""}, "`../up.cedar` is no file of a bundle"),
        ({SCHEMA: TYPES, "a.cedar": ANYTHING, "cases/../up.toml": ""}, "is no file of a bundle"),
        ({SCHEMA: TYPES, "a.cedar": ANYTHING, "notes.txt": ""}, "`notes.txt` is no file of a bundle"),
        ({SCHEMA: TYPES, "a.cedar": ANYTHING, "b.cedar": "/" * (MAX_BYTES + 1)}, "at most"),
        ({SCHEMA: TYPES, "a.cedar": ANYTHING} | {f"{n}.cedar": "" for n in range(MAX_FILES)}, "at most"),
        ({SCHEMA: TYPES, "a.cedar": ANYTHING, "catalogue.toml": "x = ["}, "catalogue.toml: "),
        ({SCHEMA: TYPES, "a.cedar": ANYTHING, "catalogue.toml": '"bank.pay" = "reed"'}, "catalogue.toml: "),
    ],
)
def test_a_bundle_has_a_shape(files: dict[str, str], words: str) -> None:
    with pytest.raises(PolicyError, match=re.escape(words)):
        load(files)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("purpose: String,", "purpose: Long,"),
        ("labels: Set<String>,     // what", "labels: Set<Long>,     // what"),
        ("amount?: decimal,", "amount?: Long,"),
        ("depth: Long,", "depth: String,"),
        ("kinds: Set<String>,", "kinds: Set<Long>,"),
        ("sensitivity: String,", "sensitivity: Long,"),
        ("emergency: Bool,", "emergency: String,"),
        ("approvals: Approvals,", "approvals: Long,"),
        ("age: Long,", "age: Long, more: Long,"),
        ("task: String,\n    owner", "owner"),
        ("resource: Tool, context: Call", "resource: Delegation, context: Call"),
        ("action delegate", "action delegates"),
    ],
)
def test_a_schema_that_does_not_take_our_questions_is_refused(before: str, after: str) -> None:
    assert TYPES.count(before) >= 1
    rules = '@id("a") permit (principal, action, resource);'
    with pytest.raises(PolicyError):
        policy({SCHEMA: TYPES.replace(before, after, 1), "a.cedar": rules})
    assert policy({SCHEMA: TYPES, "a.cedar": rules}).bundle.rules["a"].actions == load(bundle(rules)).rules["a"].actions


def test_a_schema_may_say_more() -> None:
    more = TYPES.replace("amount?: decimal,", "note?: String, amount?: decimal,")
    assert more != TYPES
    assert policy({SCHEMA: more, "a.cedar": ANYTHING}).digest


def test_a_rule_that_is_about_no_question_is_refused() -> None:
    own = TYPES.replace(
        "action call;", "action call;\n  action own appliesTo { principal: Principal, resource: Tool };"
    )
    text = '@id("a") forbid (principal, action == Chain::Action::"own", resource);'
    with pytest.raises(PolicyError, match="`a` is about no question that is ever asked"):
        load({SCHEMA: own, "rules.cedar": ANYTHING, "extra.cedar": text})


def test_a_group_that_the_schema_makes_is_asked_for_all_its_members() -> None:
    """`in` an action that others belong to is about those too: the engine says which."""
    call = "appliesTo { principal: Principal, resource: Tool, context: Call };"
    whole = f"action read, write, act in [call] {call}"
    assert whole in TYPES
    parted = TYPES.replace(whole, f"action read in [call] {call} action write, act in [read] {call}")
    text = f'@id("a") forbid (principal, action in {READ}, resource);'
    grouped = load({SCHEMA: parted, "rules.cedar": ANYTHING, "extra.cedar": text})
    assert grouped.rules["a"].actions == {"read", "write", "act"}
    assert load(extra(text)).rules["a"].actions == {"read"}
    assert load(extra(text.replace(READ, 'Chain::Action::"call"'))).rules["a"].actions == {"read", "write", "act"}


def test_what_does_not_validate_changes_nothing(world: World) -> None:
    digest = activate(world, ANYTHING)
    tokens = [seal(root())]
    assert world.allowed(tokens, ALICE).policy == digest
    head = world.store.head
    with pytest.raises(PolicyError, match=r"rules\.cedar:1: `a`"):
        activate(world, '@id("a") forbid (principal, action, resource) when { principal.knd == "x" };')
    assert world.store.head == head
    assert world.allowed(tokens, ALICE).policy == digest
    activate(world, ANY_HOP)
    assert world.denied(Reason.POLICY_DENIED, None, tokens, ALICE).policy != digest


def test_a_bundle_whose_cases_cannot_be_read_is_not_activated(world: World) -> None:
    broken = {"cases/a.toml": '[[case]]\nname = "x"\nexpect = "permitt"'}
    with pytest.raises(PolicyError, match=r"cases/a\.toml: case 1 `x`: `expect`"):
        activate(world, ANYTHING, **broken)
    assert world.authority.policies.digest == ""
    assert activate(world, ANYTHING, **{"cases/a.toml": '[[case]]\nname = "x"\nexpect = "permit"'})


def test_a_digest_is_of_every_byte() -> None:
    digests = {load(bundle(ANYTHING + more)).digest for more in ("", " ", "\n", "// x")}
    assert len(digests) == 4
    assert load(bundle()).digest == load(dict(reversed(bundle().items()))).digest


def test_the_bundle_that_ships_is_read_and_whole(tmp_path: Path) -> None:
    files = default()
    assert {"schema.cedarschema", "calls.cedar", "hops.cedar", "approvals.cedar"} < files.keys()
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / ".hidden.cedar").write_text("no")
    (tmp_path / "README").write_text("no")
    assert bundles.read(tmp_path) == files
    assert all(rule.note for rule in load(files).rules.values())


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="no folder"):
        bundles.read(tmp_path / "nowhere")
    (tmp_path / "a.cedar").write_bytes(b"\xff")
    with pytest.raises(PolicyError, match=r"a\.cedar: "):
        bundles.read(tmp_path)


def test_the_data_labels_are_the_authoritys(world: World) -> None:
    """The highest label, which is what nobody says, is the last of those configured."""
    labels = (*LABELS, "secret")
    other = World(settings=Settings(labels=labels), verifier=verifier(labels=labels))
    activate(other, ANY_HOP + ANY_CALL.replace(";", ' when { resource.classification == "secret" };'))
    tokens = [seal(root(tools={"note.write": {}}))]
    other.allowed(tokens, ALICE, "note.write", {})
    activate(world, ANY_HOP + ANY_CALL.replace(";", ' when { resource.classification == "secret" };'))
    world.denied(Reason.POLICY_DENIED, None, tokens, ALICE, "note.write", {})


def test_a_restart_goes_on_with_what_was_active() -> None:
    world = World()
    digest = activate(world, ANYTHING)
    assert world.open().policies.digest == digest
    first = world.authority.policies.files(world.caller)
    assert first == bundle(ANYTHING)
    world.authority.policies.activate(world.caller, None)
    assert world.open().policies.digest == ""
    assert world.authority.policies.files(world.caller, digest) == first
    with pytest.raises(NotFoundError, match="no policy is active"):
        world.authority.policies.files(world.caller)


def test_no_files_at_all_are_no_bundle_and_put_nothing_out_of_force() -> None:
    world = World()
    digest = activate(world, ANY_HOP)
    with pytest.raises(PolicyError, match=r"a bundle needs a"):
        world.authority.policies.activate(world.caller, {})
    assert world.authority.policies.digest == digest
    world.denied(Reason.POLICY_DENIED, None, [seal(root())], ALICE)
    done = world.authority.policies.activate(world.caller, None)
    assert (done.digest, done.previous) == ("", digest)
    assert world.allowed([seal(root())], ALICE).policy == ""


def test_an_activation_is_made_once_for_one_key() -> None:
    world = World()
    first = world.authority.policies.activate(world.caller, bundle(), "key")
    again = world.authority.policies.activate(world.caller, bundle(), "key")
    assert again == first
    with pytest.raises(ChainError):
        world.authority.policies.activate(world.caller, None, "key")
    assert world.authority.policies.digest == first.digest


def test_a_hundred_activations_leak_no_handles() -> None:
    world, tokens = World(), [seal(root())]
    for number in range(3):
        activate(world, f"// {number}\n" + ANYTHING)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for number in range(100):
        activate(world, f"// again {number % 4}\n" + ANYTHING)
        world.allowed(tokens, ALICE)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    kept = [row for row in world.store.standing("bundle")]  # noqa: C416
    assert len(kept) == 7, "a bundle is kept once, however often it was active"
