"""The last questions: what the policy says, what people have to approve, what the budget has left.

The law of this file: each is one more question, asked of every hop or of the call as a whole, and none rescues what an
earlier one refused. Nothing is asked of people, and nothing is spent, for a call that something else stops. Who did not
show to be the holder is told nothing here, and costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from msgspec import UnsetType

from chain import proof
from chain.approval import Demand, missing
from chain.budget import Spend, UnreadableError, left, money, read
from chain.case import Case, Want, currency
from chain.delegation import Delegation
from chain.grant import Gate
from chain.outcome import Asked, Outcome
from chain.outcome import Gate as RuleGate
from chain.reason import Reason
from chain.state import MARGIN
from chain.statuslist import reference


def home(case: Case) -> None:
    """Every hop with a budget or a gate: its state is kept here; with a status list: it says so, here."""
    if not case.chain.stateful:
        return
    kept = case.state.settings.home
    here = kept is not None and case.chain.facts.home == kept
    for hop in case.chain.hops:
        if not here:
            place = "" if kept is None else f", but at `{case.chain.facts.home or 'no authority that its root names'}`"
            if hop.approval:
                case.against(Reason.STATE_UNAVAILABLE, hop.hop, f"needs approvals that are not kept here{place}")
            if hop.budget is not None:
                case.against(Reason.STATE_UNAVAILABLE, hop.hop, f"has a budget that is not kept here{place}")
        if hop.claims.status:
            _listed(case, hop)


def _listed(case: Case, hop: Delegation) -> None:
    """Take what a status list says of a hop; one that nobody reads here denies."""
    where = None if isinstance(hop.claims.status, UnsetType) else reference(hop.claims.status)
    invalid = None if where is None else case.state.invalid(hop, where, case.now)
    if invalid is None:
        case.against(Reason.STATE_UNAVAILABLE, hop.hop, "has a status list that is not read here")
    elif invalid:
        case.against(Reason.REVOKED, hop.hop, "its status list says that it is invalid")


def policy(case: Case) -> None:
    """Every hop and the call: a rule of the policy permits it and none forbids it; what errs is refused."""
    rules = case.state.policy
    if rules is None or case.unproven:
        return
    hops(case)
    request, chain = case.request, case.chain
    if (wrong := _unreadable(case)) is not None:
        case.against(Reason.AMOUNT_UNREADABLE, None, wrong)
        return
    asked = Asked(
        tool=request.tool,
        purpose=request.purpose or "",
        intent=request.intent or "",
        audience=request.audience or "",
        labels=request.labels,
        classification=case.state.settings.labels[case.label],
        age=max(0, int(case.now) - chain.root.iat),
        amount=case.amount,
        currency="" if case.amount is None else currency(case),
    )
    outcome = rules.call(chain, case.parties, asked)
    if not outcome.permitted and case.votes:  # rules may count the people themselves
        told = rules.call(chain, case.parties, asked._replace(approvers=[vote.approver for vote in case.votes]))
        case.leans = told.permitted
        outcome = told
    case.rules, case.obligations = outcome.rules, outcome.obligations
    _weigh(case, outcome)


def _weigh(case: Case, outcome: Outcome, hop: int | None = None, about: str = "") -> None:
    """Take an outcome about the question that people could still permit."""
    if outcome.permitted:
        return
    if not outcome.gates:
        case.against(_reason(outcome), hop, about + outcome.words)
    gates = outcome.gates or _kept(case, outcome)
    case.demands += [Demand(f"policy:{gate.rule}", gate.threshold) for gate in gates]


def _kept(case: Case, outcome: Outcome) -> tuple[RuleGate, ...]:
    """Return the gates that hold although a rule forbids it as well: what is in shadow does not do without people."""
    return outcome.beside if _reason(outcome) in case.state.settings.shadow else ()


def _reason(outcome: Outcome) -> Reason:
    return Reason.POLICY_DENIED if outcome.fault is None else Reason.POLICY_ERROR


def hops(case: Case) -> None:
    """Every hop: the policy lets it be made, or lets it stand because people approved it when it was made."""
    rules = case.state.policy
    if rules is not None:
        _stand(case, rules.faults(case.chain, case.parties))


def _stand(case: Case, faults: Iterable[tuple[int, Outcome]]) -> None:
    """Take what the policy says against hops that were made before."""
    for place, outcome in faults:
        if not outcome.gates:
            case.against(_reason(outcome), place, f"this hop may not be made: {outcome.words}")
        gates = outcome.gates or _kept(case, outcome)
        if gates and not case.state.approved(case.chain.hops[place].digest):
            named = ", ".join(f"`{gate.rule}`" for gate in gates)
            case.against(Reason.HOP_UNAPPROVED, place, f"this hop needs an approval that it has not: {named}")


def handover(case: Case) -> None:
    """The new hop: the policy lets it be made, now or once people approved it; the ones above as ever.

    The case's chain is the one that is handed on, with the new hop; its request is about `chain:delegate`.
    """
    rules = case.state.policy
    if rules is None:
        return
    leaf = case.chain.leaf.hop
    _stand(case, [fault for fault in rules.faults(case.chain, case.parties) if fault[0] < leaf])
    outcome = rules.hop(case.chain, case.parties, [vote.approver for vote in case.votes])
    if outcome.gates and case.state.approved(case.chain.leaf.digest):
        return  # presented once more: people were asked when it was made
    _weigh(case, outcome, leaf, "this hop may not be made: ")


def approval(case: Case) -> None:
    """Every gate of every hop and of the policy: enough people approved this very call, and nobody refused it."""
    if case.unproven:
        return
    _gated(case)
    asked = case.asked
    if asked is not None and asked.state == "denied":  # whoever asks for people now: a refusal is final
        case.against(Reason.APPROVAL_DENIED, None, f"refused by {_names(asked.refused_by)}")
    elif case.goes_through:  # nobody is asked to approve what something else stops
        if missing(case.demands, case.votes):
            _ask(case)
        elif case.demands or case.leans:
            case.used = asked


def _gated(case: Case) -> None:
    """Add the demands of the chain's own gates."""
    for hop in case.chain.hops if case.chain.stateful else ():
        for number, gate in enumerate(hop.approval):
            if _concerns(gate, case):
                case.demands.append(Demand(f"hop:{hop.hop}:{number}", gate.threshold, gate.approvers))


def _ask(case: Case) -> None:
    """Want people to be asked, unless too many are already."""
    asked = case.asked
    open_now = asked if asked is not None and asked.state in ("pending", "approved") else None
    crowded = case.state.crowded(case.asker, case.action, case.now) if open_now is None else None
    if crowded is not None:
        case.against(Reason.APPROVAL_THROTTLED, None, crowded)
        return
    case.want = Want(case.action, case.binding, tuple(case.demands), open_now, len(case.votes))
    for demand in missing(case.demands, case.votes):
        who = f" of {_names(*demand.approvers)}" if demand.approvers else ""
        people = "1 person" if demand.threshold == 1 else f"{demand.threshold} people"
        case.against(Reason.APPROVAL_REQUIRED, None, f"needs the approval of {people}{who} ({demand.source})")


def _concerns(gate: Gate, case: Case) -> bool:
    tool = case.request.tool
    if tool in (proof.DELEGATE, proof.REVOKE):
        return False
    return gate.when.tool == tool or gate.when.action_class == case.tool.action_class


def _names(*names: str) -> str:
    return ", ".join(f"`{name}`" for name in names[:8])


def budget(case: Case) -> None:
    """Every hop with a budget: enough is left of it for this call, and what all beneath it used counts."""
    if not case.chain.stateful or case.state.settings.home is None or case.unproven:
        return
    spends = []
    for hop in case.chain.hops:
        if hop.budget is None:
            continue
        try:
            amount = _amount(case, hop)
        except UnreadableError as error:
            case.against(Reason.AMOUNT_UNREADABLE, hop.hop, f"has a budget of money, and {error}")
            continue
        over = left(hop.budget, case.state.spent(hop.digest), amount)
        if over is not None:
            case.against(Reason.BUDGET_EXCEEDED, hop.hop, over)
        ceiling = money(hop)
        unit = "" if ceiling is None else ceiling.currency
        spends.append(Spend(hop.digest, amount or Decimal(0), unit, hop.exp + MARGIN))
    if spends and case.goes_through:
        case.spends = tuple(spends)


def _unreadable(case: Case) -> str | None:
    """Return why the money that a call moves by the catalogue cannot be told, or None."""
    where = case.tool.amount
    if where is None or _moves_nothing(case, where.argument):
        return None
    if case.amount is None:
        return f"`{where.argument}` is missing or no amount"
    return None if currency(case) else f"`{where.currency_argument}` is missing or no currency"


def _moves_nothing(case: Case, argument: str) -> bool:
    """Tell whether a call moves no money: by the catalogue it reads, and it states no amount."""
    return case.tool.action_class == "read" and argument not in case.request.arguments


def _amount(case: Case, hop: Delegation) -> Decimal | None:
    """Return what the call costs of a hop's budget, or None where the budget has no money.

    Raises:
        UnreadableError: the amount is missing, unreadable or in another currency.
    """
    ceiling = money(hop)
    if ceiling is None:
        return None
    arguments, where = case.request.arguments, case.tool.amount
    if where is not None and where.argument != ceiling.argument:
        raise UnreadableError(f"it counts `{ceiling.argument}`, where the tool moves `{where.argument}`")
    if _moves_nothing(case, ceiling.argument):
        return Decimal(0)
    amount = read(arguments, ceiling.argument)
    stated = currency(case) if where is not None else arguments.get("currency", ceiling.currency)
    if stated != ceiling.currency:
        raise UnreadableError(f"the call is not in {ceiling.currency}")
    return amount
