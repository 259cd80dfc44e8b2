"""The verdict in words that a practitioner understands."""

from collections.abc import Sequence

from pelt_automl.log.events import Against, DataDescribed, Outcome, Standing, TrialEnded, UnionPruned, sign_of
from pelt_automl.methods import BASELINES
from pelt_automl.verdict.costs import COST_OF
from pelt_automl.verdict.wording import Unit, counted, display_name, in_short, listed, name_of, percent

NO_EVIDENCE = "no evidence for a difference"
COSTS = {"params": "fewest trainable parameters", "latency": "lowest latency", "time": "shortest training", "score": "best mean"}
"""What decided among the tied."""


def statement(
    winner: Standing,
    standings: Sequence[Standing],
    rivals: Sequence[Against],
    data: DataDescribed,
    equivalence: float,
    prefer: str,
    examples: int,
    pruned: Sequence[UnionPruned] = (),
    *,
    outcome: Outcome = Outcome.RECOMMENDED,
    than: str = "a constant prediction",
    so_far: bool = False,
    closing: Sequence[str] = (),
) -> str:
    """One paragraph. Of a recommendation: whether a published default would have done; what is recommended, how good it is, how sure that
    is, what it is tied with, what the fixed defaults score. A tentative one says first what is missing; without anything learned, that is
    all there is to say.

    Args:
        winner: the recommended finalist.
        standings: all finalists, best first.
        rivals: the winner against the fixed defaults and the runner-up.
        data: described.
        equivalence: the region of practical equivalence in points.
        prefer: what decided among the tied.
        examples: of the report split that were scored.
        pruned: smaller unions that were found.
        outcome: how far the answer carries.
        than: the constant prediction in words: ``always predicting the most frequent class (55.0)``.
        so_far: whether it rests on one seed, or on one finalist for lack of time: it isn't called recommended then.
        closing: sentences for the end: what was never compared, what could help.
    """
    unit = Unit(data.metric, data.positive_class)
    defaults = [rival for rival in rivals if rival.role == "default"]
    if outcome == Outcome.NOTHING_LEARNED:
        return " ".join([_nothing_learned(winner, unit, examples, than), *closing])
    if outcome == Outcome.TENTATIVE:
        sentences = [
            _tentative(winner, unit, examples, than),
            _tied(winner, standings, unit, equivalence, prefer),
            *[_over_default(rival, unit) for rival in defaults],
            *closing,
        ]
        return " ".join(sentence for sentence in sentences if sentence)
    sentences = [
        "" if so_far else _a_default_would_do(winner, standings, defaults, prefer),
        _recommended(winner, unit, examples, equivalence, len(standings), so_far=so_far),
        _how_sure(winner, standings),
        _tied(winner, standings, unit, equivalence, prefer),
        *_pruned(winner, standings, pruned, unit),
        _indistinguishable(winner, standings),
        *[_over_default(rival, unit) for rival in defaults],
        _gap(winner, unit, data.greater_is_better),
        *closing,
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _a_default_would_do(winner: Standing, standings: Sequence[Standing], defaults: Sequence[Against], prefer: str) -> str:
    """Said first: fixed defaults that are tied with the recommended one, or else those that can't be told apart from it.

    Where a published default is recommended itself, the next sentence says so.
    """
    if winner.is_default:
        return ""
    cost, same = COST_OF[prefer], "scores" if prefer == "score" else "costs"
    fixed = {rival.candidate for rival in defaults}
    tied = [row for row in standings if row.tied and row.candidate in fixed]
    as_cheap = [name_of(row) for row in tied if cost(row) <= cost(winner)]
    dearer = [name_of(row) for row in tied if cost(row) > cost(winner)]
    more = "with a lower score" if prefer == "score" else "at a higher cost"
    if as_cheap:
        also = f" So would {listed(dearer)}, {more}." if dearer else ""
        return f"The published default would do: {listed(as_cheap)} {_is(as_cheap)} tied and {same} the same.{also}"
    if dearer:
        return f"The published default would do, {more}: {listed(dearer)} {_is(dearer)} tied."
    unclear = [_rival_name(rival) for rival in defaults if not rival.distinguishable]
    if not unclear:
        return ""
    return f"{NO_EVIDENCE.capitalize()} from what you would have without a search, {listed(unclear)}."


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _recommended(winner: Standing, unit: Unit, examples: int, equivalence: float, finalists: int, *, so_far: bool = False) -> str:
    """A default is said to be enough where something else was among the finalists; of a baseline, that it trains no backbone."""
    if winner.method in BASELINES:
        first = "Best so far" if so_far else "Recommended"
        score = f"{_scored(winner, unit, examples)}, with {counted(winner.parameters, 'parameter')}"
        return f"{first}: {name_of(winner)}, {BASELINES[winner.method].summary}. It trains no backbone, and has {score}."
    score = f"{_scored(winner, unit, examples)}, with {counted(winner.parameters, 'trainable parameter')}."
    if so_far:
        return f"Best so far: {_with_sizes(winner)}: {score}"
    if not winner.is_default or finalists == 1:
        return f"Recommended: {_with_sizes(winner)}: {score}"
    return (
        f"The published default is enough: {_with_sizes(winner)}; "
        f"no other finalist's mean is better by more than {_points(equivalence, unit)}. It has {score}"
    )


def _tentative(winner: Standing, unit: Unit, examples: int, than: str) -> str:
    return (
        f"Tentative: {_with_sizes(winner)} did best, but there is no evidence that it is better than {than}: "
        f"it has {_scored(winner, unit, examples)}."
    )


def _nothing_learned(winner: Standing, unit: Unit, examples: int, than: str) -> str:
    return (
        f"Nothing was learned: nothing that was compared is better than {than} by more than the region of practical equivalence. "
        f"The best, {_with_sizes(winner)}, has {_scored(winner, unit, examples)}."
    )


def _with_sizes(row: Standing) -> str:
    return f"{name_of(row)} ({in_short(row.hyper_parameters)})" if row.hyper_parameters else name_of(row)


def _scored(row: Standing, unit: Unit, examples: int) -> str:
    return (
        f"{unit.name} {unit.number(row.report_score)} on {counted(examples, 'report example')} "
        f"(95 % interval {unit.range(row.report_interval)}, {counted(len(row.seed_scores), 'seed')})"
    )


def _points(equivalence: float, unit: Unit) -> str:
    """The region of practical equivalence in words."""
    if not unit.in_points:
        return f"{equivalence:g} % of the labels' standard deviation"
    return f"{equivalence:g} point{'' if equivalence == 1 else 's'}"


def _how_sure(winner: Standing, standings: Sequence[Standing]) -> str:
    """No probability where it rests on one seed, or on two finalists: it looks surer than it is."""
    if len(standings) == 1:
        return "It was the only finalist, so there is nothing to compare it with."
    if len(winner.seed_scores) == 1:
        return f"{len(standings)} finalists were compared on one seed only: another seed may put another first."
    if len(standings) == 2:
        return "Only two finalists were compared."
    return f"Of {len(standings)} finalists it is the best with a probability of {percent(winner.p_best)}."


def _tied(winner: Standing, standings: Sequence[Standing], unit: Unit, equivalence: float, prefer: str) -> str:
    others = [row for row in standings if row.tied and row.candidate != winner.candidate]
    if not others:
        return "" if len(standings) == 1 else f"No other finalist comes within {_points(equivalence, unit)} of it."
    best = standings[0]
    lead = f"; the best mean is {unit.number(best.report_score)} ({name_of(best)})" if best.candidate != winner.candidate else ""
    names = listed([name_of(row) for row in others])
    return f"Tied with it, within {_points(equivalence, unit)} of the best: {names}{lead}. Of these it has the {COSTS[prefer]}."


def _pruned(winner: Standing, standings: Sequence[Standing], pruned: Sequence[UnionPruned], unit: Unit) -> list[str]:
    """Smaller unions that are recommended or tied: that some submodules of a union can be done without."""
    rows = {row.candidate: row for row in standings}
    found = []
    for union in pruned:
        row, whole = rows.get(union.candidate), rows.get(union.of)
        if row is None or whole is None or not row.tied:
            continue
        costs = listed([f"{name} ({unit.signed(loss)})" for name, loss in union.removed.items()])
        share = f"{percent(row.parameters / whole.parameters)} of the parameters"
        outcome = "is the recommended one" if row is winner else "is tied"
        found.append(
            f"Switched off, {costs} cost {name_of(whole)} less than {unit.amount(union.region)} each; trained again without, "
            f"with {share}, it {outcome}."
        )
    return found


def _indistinguishable(winner: Standing, standings: Sequence[Standing]) -> str:
    """Who the data can't tell from the best, which is another question than who is practically as good."""
    others = [row for row in standings[1:] if not row.distinguishable and not row.tied]
    if not others:
        return ""
    best = "it" if winner.candidate == standings[0].candidate else f"the best mean ({name_of(standings[0])})"
    return f"Further off, but with {NO_EVIDENCE} from {best}: {listed([name_of(row) for row in others])}."


def _rival_name(rival: Against) -> str:
    return display_name(rival.candidate, rival.method, rival.is_default)


def _over_default(rival: Against, unit: Unit) -> str:
    evidence = evidence_in_words(rival.lead_interval, unit, distinguishable=rival.distinguishable)
    return f"Against {_rival_name(rival)} it is {lead_in_words(rival.lead, unit)} ({evidence})."


def lead_in_words(value: float, unit: Unit) -> str:
    """``1.2 points better``, ``0.3 points worse`` or ``level``."""
    if unit.signed(value) == unit.signed(0):
        return "level"
    return f"{unit.amount(abs(value))} {'better' if value > 0 else 'worse'}"


def evidence_in_words(bounds: tuple[float, float], unit: Unit, *, distinguishable: bool) -> str:
    """The interval of a difference, and whether it is evidence for one."""
    said = f"95 % interval {unit.signed(bounds[0])} to {unit.signed(bounds[1])}"
    return said if distinguishable else f"{NO_EVIDENCE}: {said}"


def _gap(winner: Standing, unit: Unit, greater_is_better: bool) -> str:
    gap = (winner.select_score - winner.report_score) * sign_of(greater_is_better)
    relation = "level with" if unit.signed(gap) == unit.signed(0) else f"{unit.amount(abs(gap))} {'better' if gap > 0 else 'worse'} than"
    return f"Its select score was {unit.number(winner.select_score)}, {relation} its report score."


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
    sentences = [first, "No finalist was scored on the report split, so neither its true score nor its lead over the others is known."]
    return " ".join([*sentences, *closing])
