"""Does it permit, now? The file to read first.

The law of this file: a pure function of chain, request, state and one instant. **Every hop is asked, on every
call.** The questions stand in one table, in the order of TOKEN.md s4, which is the contract for reasons: the
first fault is the reason, and a refusal lists every fault of every hop. Nothing that comes later rescues what an
earlier question refused; what is missing or unknown is refused.
"""

from __future__ import annotations

from math import ceil

from msgspec import UNSET

from chain import proof, ruling
from chain.case import Case, Question, Verdict
from chain.claims import Confirmation
from chain.containment import brief
from chain.control import Suspension
from chain.delegation import Chain, Delegation
from chain.errors import clip
from chain.grant import within_purpose
from chain.key import PublicKey
from chain.reason import Reason
from chain.request import Request
from chain.state import MARGIN, MAX_LIFETIME, MAX_SKEW, Nonce, State

_MISSING = object()


def check(
    chain: Chain, request: Request, state: State, now: float, questions: tuple[Question, ...] | None = None
) -> Verdict:
    """Decide one call.

    Args:
        chain: verified (`chain.token`).
        request: what is asked.
        state: live facts.
        now: seconds since the epoch, the one instant of this decision.
        questions: fewer than all, for the authority's own tools; a tool call is asked them all.

    Returns:
        ALLOW where no question of any hop found anything against it; APPROVAL_REQUIRED where all that was found is
        that people have to approve it first; else DENY. With it, what has to be committed for that to stand.
    """
    case = Case(chain, request, state, now)
    for question in QUESTIONS if questions is None else questions:
        question(case)
    return case.verdict()


def window(case: Case) -> None:
    """Every hop: issued by now, not expired, not too long-lived (AAT-01 I3)."""
    now, latest, ceiling = case.now, case.now + MAX_SKEW, min(case.state.settings.max_lifetime, MAX_LIFETIME)
    for hop in case.chain.hops:
        if hop.iat > latest:
            case.against(Reason.NOT_YET_VALID, hop.hop, f"issued at {hop.iat}, after now")
        if hop.exp <= now:
            case.against(Reason.EXPIRED, hop.hop, f"expired at {hop.exp}")
        if hop.exp - hop.iat > ceiling:
            case.against(Reason.LIFETIME_EXCEEDED, hop.hop, f"lives {hop.exp - hop.iat} s, above {ceiling} s")


def audience(case: Case) -> None:
    """Every hop: bound to nobody, or to the enforcement point that asks."""
    asked = case.request.audience
    for hop in case.chain.hops:
        if hop.audience is None or asked in hop.audience:
            continue
        if asked is None:
            case.against(Reason.AUDIENCE_MISSING, hop.hop, "bound to an audience, and the request names none")
        else:
            case.against(Reason.AUDIENCE_MISMATCH, hop.hop, f"not meant for `{asked}`")


def capability(case: Case) -> None:
    """Every hop grants tool and arguments: not the leaf alone, so that the conjunction holds whatever I4 missed."""
    tool, arguments = case.request.tool, case.request.arguments
    count = len(arguments)
    for hop in case.chain.hops:
        compiled = hop.compiled(tool)
        if compiled is None:
            case.against(Reason.TOOL_NOT_GRANTED, hop.hop, f"`{tool}` is not granted")
        elif compiled:  # an empty map leaves the arguments open
            if len(compiled) != count:
                _closed(case, hop)
            for name, permits in compiled:
                value = arguments.get(name, _MISSING)
                if value is _MISSING or not permits(value):
                    _refuse_argument(case, hop, name, value)


def _closed(case: Case, hop: Delegation) -> None:
    """Name each argument that a closed grant does not (AAT-01 s3.3)."""
    for name in sorted(case.request.arguments.keys() - hop.grant.tools[case.request.tool].keys()):
        detail = f"`{case.request.tool}` argument `{clip(name, 80)}` is not granted"
        case.against(Reason.ARGUMENT_NOT_GRANTED, hop.hop, detail)


def _refuse_argument(case: Case, hop: Delegation, name: str, value: object) -> None:
    rule = hop.grant.tools[case.request.tool][name]
    subject = f"`{case.request.tool}` argument `{name}`"
    if value is _MISSING:
        case.against(Reason.ARGUMENT_MISSING, hop.hop, f"{subject} is missing, granted is {brief(rule)}")
    else:
        case.against(Reason.CONSTRAINT_VIOLATED, hop.hop, f"{subject} is not what is granted: {brief(rule)}")


def holder(case: Case) -> None:
    """The caller is the leaf's holder: by the channel, or by a proof for exactly this call (I6)."""
    leaf, request, before = case.chain.leaf, case.request, case.against_it
    if leaf.claims.cnf.extended:
        _bound(case, leaf.claims.cnf)
    if request.proof is not None and leaf.key is not None:
        _proof(case, request.proof, leaf.key)
    elif request.proof is not None:
        case.against(Reason.HOLDER_MISMATCH, leaf.hop, "the leaf names no key that a proof could be made with")
    elif not request.shown:
        case.against(Reason.PROOF_MISSING, leaf.hop, "neither a proof nor the channel shows who the holder is")
    elif leaf.key is not None and request.holder != leaf.holder and not _holds(case, leaf.holder):
        case.against(Reason.HOLDER_MISMATCH, leaf.hop, "the channel proves another holder than the leaf's")
    elif case.tool.action_class != "read":
        _single_use(case)
    case.proven = case.against_it == before
    case.unproven = not case.proven


def _bound(case: Case, cnf: Confirmation) -> None:
    """What the leaf is bound to beside or instead of a key only the channel proves, or who may vouch for it."""
    request, hop = case.request, case.chain.leaf.hop
    if cnf.certificate not in (UNSET, request.certificate):
        case.against(Reason.HOLDER_MISMATCH, hop, "bound to a certificate that the channel does not prove")
    if cnf.spiffe not in (UNSET, request.spiffe):
        case.against(Reason.HOLDER_MISMATCH, hop, "bound to a SPIFFE id that the channel does not prove")


def _holds(case: Case, thumbprint: str) -> bool:
    """Tell whether the workload that the channel proves is the one for which a key is enrolled."""
    if case.request.spiffe is None:
        return False
    principal = case.state.principal(thumbprint)
    return principal is not None and principal.id == case.request.spiffe


def _proof(case: Case, text: str, key: PublicKey) -> None:
    leaf, request = case.chain.leaf, case.request
    profile = case.state.settings.profile
    try:
        claims = proof.read(text, key, profile)
    except proof.ProofError as error:
        case.against(error.reason, leaf.hop, error.detail)
        return
    for reason, detail in proof.faults(
        claims,
        leaf,
        request.tool,
        request.canonical_arguments,
        audience=request.audience,
        ctx=proof.context(request.stated),
        now=case.now,
        profile=profile,
    ):
        case.against(reason, leaf.hop, detail)
    last = min(claims.iat, int(case.now) + proof.WINDOW)  # one from the far future is not remembered for ever
    _use(case, Nonce(leaf.digest, claims.jti, last + proof.WINDOW + MARGIN))


def _single_use(case: Case) -> None:
    leaf, request_id = case.chain.leaf, case.request.request_id
    if request_id is None:
        case.against(Reason.REQUEST_ID_MISSING, leaf.hop, "a write or act over the channel needs a single-use id")
    else:
        _use(case, Nonce(leaf.digest, f"request:{request_id}", leaf.exp + MARGIN))


def _use(case: Case, nonce: Nonce) -> None:
    if case.state.seen(nonce.digest, nonce.value):
        case.against(Reason.REPLAY, case.chain.leaf.hop, "used before")
    else:
        case.nonce = nonce


def revoked(case: Case) -> None:
    """Every hop: neither it nor any ancestor was revoked, by itself, by its holder, task, signing key or issuer."""
    gone = case.state.revoked
    if not gone.isdisjoint(case.chain.digests):
        for hop in case.chain.hops:
            if hop.digest in gone:
                case.against(Reason.REVOKED, hop.hop, "revoked")
    for place, words in case.state.controls.strikes(case.chain):
        case.against(Reason.REVOKED, place, words)
    if ("holder", _unnamed(case)) in case.state.controls.struck:
        case.against(Reason.REVOKED, case.chain.leaf.hop, "all that its holder holds was revoked")


def suspended(case: Case) -> None:
    """Every hop's holder, the task, the tool and everything: not suspended, and not quarantined beyond reading."""
    controls = case.state.controls
    if not controls.suspensions:
        return
    for suspension in controls.around(case.chain.facts.txn, case.request.tool):
        _stopped(case, suspension, None)
    for hop in case.chain.hops:
        for name in hop.names:
            for suspension in case.state.stopped(name, case.now):
                _stopped(case, suspension, hop.hop)
    if (unnamed := _unnamed(case)) is not None:
        for suspension in case.state.stopped(unnamed, case.now):
            _stopped(case, suspension, case.chain.leaf.hop)


def _unnamed(case: Case) -> str | None:
    """Return the id that the channel proves of who asks, where neither the leaf nor an enrolment names it.

    A token may be bound to the key of an SVID, which makes proofs too: who stops the workload must stop that as well.
    """
    shown, leaf = case.request.spiffe, case.chain.leaf
    if shown is None or shown in leaf.names or _holds(case, leaf.holder):
        return None
    return shown


def _stopped(case: Case, suspension: Suspension, hop: int | None) -> None:
    if not suspension.at(case.now):
        return
    if suspension.mode == "suspended":
        case.against(Reason.SUSPENDED, hop, suspension.words)
    elif case.handover or case.tool.action_class != "read":
        what = "handing on" if case.handover else f"`{case.request.tool}`"
        case.against(Reason.QUARANTINED, hop, f"{suspension.words}, and {what} is no read")


def rate(case: Case) -> None:
    """The leaf's holder asks no more often than it may."""
    wait = case.state.rested(case.chain, case.now)
    if wait > 0:
        case.against(Reason.RATE_LIMITED, case.chain.leaf.hop, f"too many calls; again in {ceil(wait)} s")


def enrolled(case: Case) -> None:
    """Every hop of a chain that writes or acts: its holder is somebody (TOKEN.md s2)."""
    if case.tool.action_class == "read" or not case.state.settings.require_enrolment:
        return
    principal = case.state.principal
    for hop in case.chain.hops:
        if principal(hop.holder) is None:
            detail = f"nobody enrolled the holder, and `{case.request.tool}` is {case.tool.action_class}"
            case.against(Reason.HOLDER_UNKNOWN, hop.hop, detail)


def action_class(case: Case) -> None:
    """Every hop grants the tool's class; `act` implies neither of the others."""
    asked = case.tool.action_class
    for hop in case.chain.hops:
        if hop.classes is not None and asked not in hop.classes:
            case.against(Reason.CLASS_NOT_GRANTED, hop.hop, f"`{case.request.tool}` is {asked}, which is not granted")


def classification(case: Case) -> None:
    """Every hop reaches the data's label; the higher of catalogue and enforcement point counts, none is highest."""
    labels, asked = case.state.settings.labels, case.label
    for hop in case.chain.hops:
        if hop.rank is not None and asked > hop.rank:
            said = case.tool.classification or case.request.classification
            source = "" if said else ", since nobody says what it touches"
            detail = f"data is `{labels[asked]}`{source}; granted is up to `{labels[hop.rank]}`"
            case.against(Reason.CLASSIFICATION_EXCEEDED, hop.hop, detail)


def purpose(case: Case) -> None:
    """Every hop's purposes cover the declared one."""
    declared = case.request.purpose
    for hop in case.chain.hops:
        if hop.purposes is None:
            continue
        if declared is None:
            case.against(Reason.PURPOSE_MISSING, hop.hop, "bound to purposes, and the request declares none")
        elif not any(within_purpose(declared, granted) for granted in hop.purposes):
            case.against(Reason.PURPOSE_MISMATCH, hop.hop, f"`{declared}` lies under none of the purposes granted")


def intent(case: Case) -> None:
    """The declared instruction is the one that started the task."""
    bound, declared = case.chain.facts.intent, case.request.intent
    if bound is None:
        return
    if declared is None:
        case.against(Reason.INTENT_MISSING, 0, "bound to an instruction, and the request declares none")
    elif declared != bound:
        case.against(Reason.INTENT_MISMATCH, 0, "the declared instruction is not the one that started the task")


QUESTIONS: tuple[Question, ...] = (
    window,
    audience,
    capability,
    holder,
    revoked,
    suspended,
    rate,
    enrolled,
    action_class,
    classification,
    purpose,
    intent,
    ruling.home,
    ruling.policy,
    ruling.approval,
    ruling.budget,
)
"""TOKEN.md s4, from the window on; the documentation's table is drawn from here."""
