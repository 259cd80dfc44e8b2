"""Which method from which K on: a rule over the verdicts at several K.

**The rule.** Walk from the smallest K to the largest, over the K whose verdict carries: the recommended finalist was scored on two seeds
at least, its training wasn't cut off, and it is better than a guess (its outcome is ``recommended``). The others decide nothing and
are named with the reason.

1. At the first of them, the recommended method *holds*.
2. At every further K, the holder goes on holding as long as it is *tied* there: its best finalist at most the region of practical
   equivalence behind the best mean. Whoever is recommended beside it (a cheaper one of the tied, say) doesn't take over: there is no reason
   to change the method.
3. Where the holder isn't tied, or isn't among the finalists, the method recommended there *takes over*, from that K on.

A takeover says that the holder was practically worse there, in the mean over seeds. Whether that is more than luck is another question,
as in every verdict: it is *clear* where the 95 % interval of the difference leaves out 0, else *open* (no evidence for a difference),
and *not compared* where the holder wasn't among the finalists. "From K on" speaks of the K that were run; in between, the change may lie
anywhere between that K and the one before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from pelt_automl.verdict.standings import Difference
from pelt_automl.verdict.statement import NO_EVIDENCE, evidence_in_words, lead_in_words
from pelt_automl.verdict.wording import Unit, listed

Evidence = Literal["clear", "open", "not compared"]

NOTHING_LEARNED, NO_BETTER, ALONE, ONE_SEED, ONE_LEFT, CUT_OFF = (
    "nothing was learned",
    "it is open whether anything is better than a guess",
    "a single tuned finalist was scored, of several methods",
    "the recommended one was scored on one seed only",
    "the recommended one was scored on one seed only, since runs of it failed",
    "the recommended method's training was cut off",
)
"""What a verdict may lack, in words."""

FOR_TIME = (ALONE, ONE_SEED, CUT_OFF)
"""What more time would mend."""


@dataclass(frozen=True)
class VerdictAt:
    """What the rule reads of one K's verdict."""

    k: str
    """In words: ``50``, or ``full``."""
    recommended: str | None
    """The recommended method; None without a scored finalist."""
    doubts: tuple[str, ...] = ()
    """Why nothing can be built on it, in words: ``one seed only``; empty for a verdict that carries."""
    tied: frozenset[str] = frozenset()
    """Methods with a finalist within the region of practical equivalence of the best mean, the recommended one among them."""
    compared: frozenset[str] = frozenset()
    """Methods with a scored finalist."""
    leads: Mapping[str, Difference] = field(default_factory=dict)
    """By how much the recommended finalist is better than the best finalist of each other method."""
    told_apart: frozenset[frozenset[str]] = frozenset()
    """Pairs of methods whose best finalists' difference has an interval that leaves out 0."""

    def differ(self, one: str, other: str) -> bool | None:
        """Whether two methods were told apart; None where they weren't both compared."""
        return frozenset((one, other)) in self.told_apart if {one, other} <= self.compared else None


@dataclass(frozen=True)
class Reign:
    """A method and the K that it holds from."""

    method: str
    since: str
    evidence: Evidence | None = None
    """For its difference from the method that held before; None for the first."""
    lead: Difference | None = None
    """By how much it is better than the one before, at `since`; None for the first, and where they weren't compared."""


@dataclass(frozen=True)
class Answer:
    """Which method from which K on."""

    reigns: tuple[Reign, ...]
    """In the order of K; empty when no verdict carries."""
    throughout: tuple[str, ...]
    """Methods that are tied with the best at every K whose verdict carries, though they don't hold at each."""
    open_at: Mapping[str, tuple[str, ...]]
    """For each pair of methods that follow each other (``lora and adapter``): the K at which there is no evidence for a difference."""
    nothing_at: tuple[str, ...]
    """The K at which the recommended method isn't told apart from any other one."""
    unconfirmed: tuple[str, ...]
    """The K without a scored finalist; the rule passes over them."""
    doubtful: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The other K that it passes over, and what is wrong with their verdicts."""
    pointers: Mapping[str, str] = field(default_factory=dict)
    """The method that each of these verdicts points to, for what it is worth."""


def which_from_which_k_on(verdicts: Sequence[VerdictAt]) -> Answer:
    """The answer of the verdicts, smallest K first."""
    scored = [verdict for verdict in verdicts if verdict.recommended is not None]
    confirmed, doubtful = [v for v in scored if not v.doubts], [v for v in scored if v.doubts]
    reigns = _reigns(confirmed)
    tied = [verdict.tied for verdict in confirmed]
    holders = {reign.method for reign in reigns}
    pairs = dict.fromkeys((before.method, after.method) for before, after in pairwise(reigns))
    open_at = {listed(list(pair)): tuple(v.k for v in confirmed if v.differ(*pair) is False) for pair in pairs}
    return Answer(
        reigns=tuple(reigns),
        throughout=tuple(sorted(frozenset.intersection(*tied))) if len(holders) > 1 else (),
        open_at={pair: ks for pair, ks in open_at.items() if ks},
        nothing_at=tuple(v.k for v in confirmed if v.leads and not any(lead.distinguishable for lead in v.leads.values())),
        unconfirmed=tuple(verdict.k for verdict in verdicts if verdict.recommended is None),
        doubtful={verdict.k: verdict.doubts for verdict in doubtful},
        pointers={verdict.k: verdict.recommended for verdict in doubtful if verdict.recommended},
    )


def _reigns(confirmed: Sequence[VerdictAt]) -> list[Reign]:
    reigns: list[Reign] = []
    for verdict in confirmed:
        assert verdict.recommended is not None
        if not reigns:
            reigns.append(Reign(verdict.recommended, verdict.k))
        elif (holder := reigns[-1].method) not in verdict.tied:
            lead = verdict.leads.get(holder)
            evidence: Evidence = "not compared" if lead is None else "clear" if lead.distinguishable else "open"
            reigns.append(Reign(verdict.recommended, verdict.k, evidence, lead))
    return reigns


def answer_in_words(answer: Answer, ks: Sequence[str], unit: Unit) -> str:
    """The answer as one paragraph; `ks` are those that have a verdict, smallest first."""
    if not answer.reigns:
        return _open_answer(answer)
    confirmed = [k for k in ks if k not in answer.unconfirmed and k not in answer.doubtful]
    sentences = [_headline(answer, confirmed, ks), *_takeovers(answer.reigns, unit)]
    if list(answer.nothing_at) == confirmed:
        sentences.insert(
            0, f"There is {NO_EVIDENCE} between the recommended method and any other at any K, so that what follows may be luck."
        )
    else:
        sentences += [f"Between {pair} there is {NO_EVIDENCE} at K = {listed(list(at))}." for pair, at in answer.open_at.items()]
        sentences += _nothing(answer.nothing_at)
    if answer.throughout:
        verb = "is" if len(answer.throughout) == 1 else "are"
        each = "each" if len(confirmed) == len(ks) else "each of these"
        sentences.append(f"If one method is to serve every K: {listed(list(answer.throughout))} {verb} tied with the best at {each}.")
    return " ".join([*sentences, *_passed_over(answer)])


def _open_answer(answer: Answer) -> str:
    """Where no verdict carries: what is wrong with them, what they point to, and what would help."""
    if not answer.doubtful:
        return "No finalist was scored at any K, so that nothing is known about the methods' order. Give the curve more time (--seconds)."
    doubts = {doubt for own in answer.doubtful.values() for doubt in own}
    helps = [*(["more time (--seconds)"] if answer.unconfirmed or doubts & set(FOR_TIME) else [])]
    helps += ["to mend what made runs fail (the warnings name it)"] if ONE_LEFT in doubts else []
    helps += ["more labeled examples", "another model"] if doubts - {*FOR_TIME, ONE_LEFT} else []
    could = f"{', '.join(helps[:-1])} or {helps[-1]}" if len(helps) > 1 else helps[0]
    sentences = ["Which method from which K on is open: no verdict carries.", *_passed_over(answer, but="")]
    return " ".join([*sentences, f"What could help: {could}."])


def _passed_over(answer: Answer, but: str = ", and the answer passes over it") -> list[str]:
    """The K that decide nothing, those with the same reason together."""
    by_reason: dict[str, list[str]] = {}
    for k, doubts in answer.doubtful.items():
        by_reason.setdefault(listed(list(doubts)), []).append(k)
    sentences = []
    for reason, ks in by_reason.items():
        them = but.replace("it", "them") if len(ks) > 1 else but
        towards = ", ".join(dict.fromkeys(answer.pointers[k] for k in ks))
        pointing = "" if NOTHING_LEARNED in reason else f" (it points to {towards})" if len(ks) == 1 else f" (they point to {towards})"
        sentences.append(f"At K = {listed(ks)} {reason}{pointing}{them}.")
    if answer.unconfirmed:
        sentences.append(f"At K = {listed(list(answer.unconfirmed))} no finalist was scored in time{but}.")
    return sentences


def _nothing(ks: Sequence[str]) -> list[str]:
    return [f"At K = {listed(list(ks))} there is {NO_EVIDENCE} between the recommended method and any other."] if ks else []


def _headline(answer: Answer, confirmed: Sequence[str], ks: Sequence[str]) -> str:
    """Who holds where; every K is said only where each between the first and the last was confirmed."""
    first = answer.reigns[0]
    if len(answer.reigns) > 1:
        return ", ".join(f"{reign.method} from K = {reign.since}" for reign in answer.reigns) + " on."
    if len(confirmed) == 1:
        return f"{first.method} at K = {first.since}, the only K with a verdict{' that carries' if answer.doubtful else ''}."
    if list(ks[ks.index(confirmed[0]) : ks.index(confirmed[-1]) + 1]) != list(confirmed):
        return f"{first.method} at K = {listed(list(confirmed))}."
    return f"{first.method} at every K from {confirmed[0]} to {confirmed[-1]}."


def _takeovers(reigns: Sequence[Reign], unit: Unit) -> list[str]:
    sentences = []
    for before, after in pairwise(reigns):
        if after.lead is None:
            sentences.append(f"At K = {after.since} {before.method} was not among the finalists.")
        else:
            evidence = evidence_in_words(after.lead.together, unit, distinguishable=after.lead.distinguishable)
            lead = f"{lead_in_words(after.lead.value, unit)} than {before.method} ({evidence})"
            sentences.append(f"At K = {after.since} {after.method} is {lead}.")
    return sentences
