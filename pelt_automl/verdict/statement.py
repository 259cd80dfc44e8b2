"""The verdict in words that a practitioner understands."""

import math
from collections.abc import Sequence
from statistics import fmean

from pelt_automl.log.events import Against, DataDescribed, Outcome, Standing, TrialEnded, UnionPruned, VerdictReached
from pelt_automl.methods import BASELINES
from pelt_automl.verdict.costs import COST_OF
from pelt_automl.verdict.wording import Unit, counted, display_name, in_short, listed, name_of, percent

NO_EVIDENCE = "no evidence for a difference"
COSTS = {"params": "fewest trainable parameters", "latency": "lowest latency", "time": "shortest training", "score": "best mean"}
"""What decided among the tied."""


def statement(
    verdict: VerdictReached,
    data: DataDescribed,
    equivalence: float,
    prefer: str,
    examples: int,
    pruned: Sequence[UnionPruned] = (),
    than: str = "a constant prediction",
    closing: Sequence[str] = (),
) -> str:
    """One paragraph. Of a recommendation: whether a published default would have done; what is recommended, how good it is, how sure that
    is, what it is tied with, what the fixed defaults score. A tentative one says first what is missing; without anything learned, that is
    all there is to say.

    Args:
        verdict: all of it but the statement.
        data: described.
        equivalence: the region of practical equivalence in points.
        prefer: what decided among the tied.
        examples: of the report split that were scored.
        pruned: smaller unions that were found.
        than: the constant prediction in words: ``always predicting the most frequent class (55.0)``.
        closing: sentences for the end: what was never compared, what could help.
    """
    unit, standings = Unit(data.metric, data.positive_class), verdict.standings
    winner = next(row for row in standings if row.candidate == verdict.candidate)
    region = unit.region(equivalence)
    defaults = [rival for rival in verdict.against if rival.role == "default"]
    sizes = f"{name_of(winner)} ({in_short(winner.hyper_parameters)})" if winner.hyper_parameters else name_of(winner)
    scored = (
        f"{unit.name} {unit.number(winner.report_score)} on {counted(examples, 'report example')} "
        f"(95 % interval {unit.range(winner.report_interval)}, {counted(len(winner.seed_scores), 'seed')})"
    )
    tied = _tied(winner, standings, unit, region, prefer)
    ends = [_over_default(rival, unit) for rival in defaults]
    if verdict.outcome == Outcome.NOTHING_LEARNED:
        than = f"{than} by more than the region of practical equivalence"
        sentences = [f"Nothing was learned: nothing that was compared is better than {than}. The best, {sizes}, has {scored}."]
    elif verdict.outcome == Outcome.TENTATIVE:
        first = f"Tentative: {sizes} did best, but there is no evidence that it is better than {than}: it has {scored}."
        sentences = [first, tied, *ends]
    else:
        sentences = [
            "" if verdict.so_far else _a_default_would_do(winner, standings, defaults, prefer),
            _recommended(winner, sizes, scored, region, alone=len(standings) == 1, so_far=verdict.so_far),
            _how_sure(winner, standings),
            tied,
            *_pruned(winner, standings, pruned, unit),
            _indistinguishable(winner, standings),
            *ends,
            _gap(winner, unit, data.sign),
        ]
    return " ".join(filter(None, [*sentences, *closing]))


def _a_default_would_do(winner: Standing, standings: Sequence[Standing], defaults: Sequence[Against], prefer: str) -> str:
    """Said first: fixed defaults that are tied with the recommended one, or else those that can't be told apart from it.

    Where a published default is recommended itself, the next sentence says so.
    """
    if winner.is_default:
        return ""
    cost, fixed = COST_OF[prefer], {rival.candidate for rival in defaults}
    same, more = ("scores", "with a lower score") if prefer == "score" else ("costs", "at a higher cost")
    tied = [row for row in standings if row.tied and row.candidate in fixed]
    as_cheap = [name_of(row) for row in tied if cost(row) <= cost(winner)]
    dearer = [name_of(row) for row in tied if cost(row) > cost(winner)]
    are = "is" if len(as_cheap or dearer) == 1 else "are"
    if as_cheap:
        also = f" So would {listed(dearer)}, {more}." if dearer else ""
        return f"The published default would do: {listed(as_cheap)} {are} tied and {same} the same.{also}"
    if dearer:
        return f"The published default would do, {more}: {listed(dearer)} {are} tied."
    unclear = [name_of(rival) for rival in defaults if not rival.distinguishable]
    return f"{NO_EVIDENCE.capitalize()} from what you would have without a search, {listed(unclear)}." if unclear else ""


def _recommended(winner: Standing, sizes: str, scored: str, region: str, *, alone: bool, so_far: bool) -> str:
    """A default is said to be enough where something else was among the finalists; of a baseline, that it trains no backbone."""
    first = "Best so far" if so_far else "Recommended"
    if baseline := BASELINES.get(winner.method):
        has = f"{scored}, with {counted(winner.parameters, 'parameter')}"
        return f"{first}: {name_of(winner)}, {baseline.summary}. It trains no backbone, and has {has}."
    has = f"{scored}, with {counted(winner.parameters, 'trainable parameter')}."
    if so_far or not winner.is_default or alone:
        return f"{first}: {sizes}: {has}"
    return f"The published default is enough: {sizes}; no other finalist's mean is better by more than {region}. It has {has}"


def _how_sure(winner: Standing, standings: Sequence[Standing]) -> str:
    """No probability where it rests on one seed, or on two finalists: it looks surer than it is."""
    if len(standings) == 1:
        return "It was the only finalist, so there is nothing to compare it with."
    if len(winner.seed_scores) == 1:
        who = "It was scored" if any(len(row.seed_scores) > 1 for row in standings) else f"{len(standings)} finalists were compared"
        return f"{who} on one seed only: another seed may put another first."
    if len(standings) == 2:
        return "Only two finalists were compared."
    return f"Of {len(standings)} finalists it is the best with a probability of {percent(winner.p_best)}."


def _tied(winner: Standing, standings: Sequence[Standing], unit: Unit, region: str, prefer: str) -> str:
    best, others = standings[0], [name_of(row) for row in standings if row.tied and row.candidate != winner.candidate]
    if not others:
        return "" if len(standings) == 1 else f"No other finalist comes within {region} of it."
    lead = f"; the best mean is {unit.number(best.report_score)} ({name_of(best)})" if best.candidate != winner.candidate else ""
    return f"Tied with it, within {region} of the best: {listed(others)}{lead}. Of these it has the {COSTS[prefer]}."


def _pruned(winner: Standing, standings: Sequence[Standing], pruned: Sequence[UnionPruned], unit: Unit) -> list[str]:
    """Smaller unions that are recommended or tied: that some submodules of a union can be done without."""
    rows, found = {row.candidate: row for row in standings}, []
    for union in pruned:
        row, whole = rows.get(union.candidate), rows.get(union.of)
        if row is not None and whole is not None and row.tied:
            costs = listed([f"{name} ({unit.signed(loss)})" for name, loss in union.removed.items()])
            share, outcome = percent(row.parameters / whole.parameters), "is the recommended one" if row is winner else "is tied"
            found.append(
                f"Switched off, {costs} cost {name_of(whole)} less than {unit.amount(union.region)} each; trained again without, "
                f"with {share} of the parameters, it {outcome}."
            )
    return found


def _indistinguishable(winner: Standing, standings: Sequence[Standing]) -> str:
    """Who the data can't tell from the best, which is another question than who is practically as good."""
    others = [name_of(row) for row in standings[1:] if not row.distinguishable and not row.tied]
    best = "it" if winner.candidate == standings[0].candidate else f"the best mean ({name_of(standings[0])})"
    return f"Further off, but with {NO_EVIDENCE} from {best}: {listed(others)}." if others else ""


def _over_default(rival: Against, unit: Unit) -> str:
    evidence = evidence_in_words(rival.lead_interval, unit, distinguishable=rival.distinguishable)
    return f"Against {name_of(rival)} it is {lead_in_words(rival.lead, unit)} ({evidence})."


def lead_in_words(value: float, unit: Unit) -> str:
    """``1.2 points better``, ``0.3 points worse`` or ``level``."""
    if unit.signed(value) == unit.signed(0):
        return "level"
    return f"{unit.amount(abs(value))} {'better' if value > 0 else 'worse'}"


def evidence_in_words(bounds: tuple[float, float], unit: Unit, *, distinguishable: bool) -> str:
    """The interval of a difference, and whether it is evidence for one."""
    said = f"95 % interval {unit.signed(bounds[0])} to {unit.signed(bounds[1])}"
    return said if distinguishable else f"{NO_EVIDENCE}: {said}"


def _gap(winner: Standing, unit: Unit, sign: int) -> str:
    own = fmean(winner.seed_scores)  # the same runs: the report score may be adjusted for seeds that others have
    lead, same = lead_in_words(sign * (winner.select_score - own), unit), "" if math.isclose(own, winner.report_score) else " of these runs"
    than = "level with" if lead == "level" else f"{lead} than"
    return f"Its select score was {unit.number(winner.select_score)}, {than} its report score{same}."


def fallback_statement(trial: TrialEnded, data: DataDescribed, closing: Sequence[str] = (), *, learned: bool = True) -> str:
    """When no finalist was scored. `learned`: whether the select score is above a constant prediction's."""
    unit = Unit(data.metric, data.positive_class)
    sizes = f" ({in_short(trial.hyper_parameters)})" if trial.hyper_parameters else ""
    name = display_name(trial.candidate, trial.method, trial.is_default)
    found = f"{name}{sizes} has the best select score of the search, {unit.name} {unit.number(trial.select_score)}"
    if learned:
        first = f"Not confirmed: {found}, with {counted(trial.parameters['kept'], 'trainable parameter')}."
    else:
        first = f"Nothing was learned: {found}, and always predicting one value is as good."
    second = "No finalist was scored on the report split, so neither its true score nor its lead over the others is known."
    return " ".join(filter(None, [first, second, *closing]))
