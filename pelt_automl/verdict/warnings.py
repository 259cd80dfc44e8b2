"""What a reader of the verdict has to know: failed runs, constant predictions, few seeds, few examples."""

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from pelt_automl.log.events import (
    DataDescribed,
    Decision,
    Event,
    FinalistScored,
    Planned,
    ReportOpened,
    SelectionStarted,
    Stage,
    State,
    TrialEnded,
    What,
    of_kind,
)
from pelt_automl.verdict.another_seed import out_of_finals
from pelt_automl.verdict.finalists import is_constant, report_labels, scored_runs
from pelt_automl.verdict.statistics import SharedSeeds
from pelt_automl.verdict.wording import candidate_names, counted, listed, percent

OFTEN_CUT = 0.05
"""Share of a split's texts above which cutting them is worth a warning."""

OFTEN_UNKNOWN = 10
"""Unknown tokens in a hundred from which on they are."""

FEW_SEEDS = 3
FEW_EXAMPLES = 200
"""Below this, a 95 % interval of an accuracy of 80 % is wider than 11 points by the examples alone."""


def all_warnings(events: Sequence[Event], shared: SharedSeeds | None) -> list[str]:
    """One sentence or two each. `shared` is None when no finalist was scored."""
    names = candidate_names(of_kind(events, TrialEnded))
    warnings = [
        *_several_programs(events),
        *_cut_texts(events),
        *_unknown_tokens(events),
        *_over_limits(events),
        *_failed_finalists(events, names),
        *_cut_off(events, names),
        *_constant(events, names),
    ]
    if shared is not None:
        warnings += [*_left_out(events, shared, names), *_seeds(shared), *_examples(events)]
    return warnings


MIXED = ("torch", "transformers", "optuna")
"""Libraries whose versions change what is trained."""


def _several_programs(events: Sequence[Event]) -> list[str]:
    """A warning when a selection was resumed with other versions, or at another commit, than it began with."""
    found: dict[str, list[str]] = {name: [] for name in (*MIXED, "commit")}
    for started in of_kind(events, SelectionStarted):
        versions = started.environment.get("versions") or {}
        commit = str(started.environment.get("git_commit") or "")[:10]
        for name, version in {**{name: versions.get(name) for name in MIXED}, "commit": commit}.items():
            if version and version not in found[name]:
                found[name].append(version)
    mixed = [f"{name} {listed(seen)}" for name, seen in found.items() if len(seen) > 1]
    return [f"Trained by several versions of the program: {'; '.join(mixed)}. Scores may differ for that reason."] if mixed else []


def longer_texts(events: Sequence[Event]) -> str:
    """How to read more of the texts, where many are cut: ``longer texts (--max-length 480)``; empty where few are."""
    described, cut_often = of_kind(events, DataDescribed)[-1], _cut_often(events)
    if not cut_often:
        return ""
    better = _better_length(described)
    return f"longer texts (--max-length {better})" if better else "a model that reads longer texts"


def _cut_often(events: Sequence[Event]) -> dict[str, dict[str, int]]:
    """The splits of which more than a few texts are cut."""
    described, opened = of_kind(events, DataDescribed)[-1], of_kind(events, ReportOpened)
    splits = described.cut | ({"report": opened[-1].cut} if opened else {})
    return {split: cut for split, cut in splits.items() if cut and cut["cut"] > OFTEN_CUT * cut["texts"]}


def _better_length(described: DataDescribed) -> int | None:
    """Tokens that the model could read, if that is more than it does."""
    most, model, needed = (described.text_length[name] for name in ("most", "model", "needed"))
    better = min(needed, model or needed)
    return better if better > most else None


def _cut_texts(events: Sequence[Event]) -> list[str]:
    """A warning when more than a few texts of a split are cut, with what would help: a longer limit, or a model that reads more."""
    described, often = of_kind(events, DataDescribed)[-1], _cut_often(events)
    if not often:
        return []
    who = listed([f"{percent(cut['cut'] / cut['texts'])} of the texts of {split}" for split, cut in often.items()])
    lost = percent(sum(cut["lost"] for cut in often.values()) / sum(cut["tokens"] for cut in often.values()))
    better = _better_length(described)
    more = f"--max-length {better} reads more of them" if better else "this model reads no more: take one that does, or shorten them"
    most = described.text_length["most"]
    return [f"{who} are longer than {most} tokens and were cut there, {lost} of their split's tokens in all: {more}."]


def _unknown_tokens(events: Sequence[Event]) -> list[str]:
    unknown = of_kind(events, DataDescribed)[-1].text_length.get("unknown", 0)
    if unknown < OFTEN_UNKNOWN:
        return []
    return [f"{unknown} % of the tokens to train on are unknown to the model's tokenizer: is it a model for this language?"]


def _over_limits(events: Sequence[Event]) -> list[str]:
    """Published defaults that the user's limits keep out, so that nobody compared anything with them."""
    over = [decision for decision in of_kind(events, Decision) if decision.what == What.DEFAULT_OVER]
    return [f"The published default of {own.subject} is over the limit: {own.why}. It was searched without it." for own in over]


def _failed_finalists(events: Sequence[Event], names: dict[str, str]) -> list[str]:
    causes: dict[str, list[str]] = defaultdict(list)
    for trial in of_kind(events, TrialEnded):
        if trial.stage == Stage.FINALIST and trial.state == State.FAILED and not trial.out_of_time:
            causes[trial.candidate].append(trial.cause or "cause not recorded")
    for run in of_kind(events, FinalistScored):
        if not math.isfinite(run.report_score) or not np.isfinite(run.predictions).all():
            causes[run.candidate].append("predictions or score not finite")
    return [
        f"{counted(len(why), 'finalist run')} of {names.get(name, name)} failed: {'; '.join(sorted(set(why)))}."
        for name, why in causes.items()
    ]


def _cut_off(events: Sequence[Event], names: dict[str, str]) -> list[str]:
    planned = of_kind(events, Planned)
    cut = [trial for trial in of_kind(events, TrialEnded) if trial.stage == Stage.FINALIST and trial.state == State.STOPPED]
    if not cut or not planned:
        return []
    who = listed(sorted({names.get(trial.candidate, trial.candidate) for trial in cut}))
    shortest = min(trial.steps for trial in cut)
    runs = counted(len(cut), "finalist run")
    whole = planned[-1].final_steps or planned[-1].steps
    return [f"{runs} cut off by the time limit, the shortest after {shortest} of {whole} steps ({who}): give more time."]


def _constant(events: Sequence[Event], names: dict[str, str]) -> list[str]:
    found = {trial.candidate for trial in of_kind(events, TrialEnded) if trial.stage == Stage.FINALIST and trial.constant_predictions}
    for candidate, runs in scored_runs(events).items():
        if len(report_labels(events)) > 1 and any(map(is_constant, runs.values())):
            found.add(candidate)
    if not found:
        return []
    return [
        f"Constant predictions (one class or value throughout) in at least one run of {listed(sorted(names.get(c, c) for c in found))}."
    ]


def _left_out(events: Sequence[Event], shared: SharedSeeds, names: dict[str, str]) -> list[str]:
    runs = scored_runs(events)
    warnings = []
    if unfinished := [name for name in shared.left_out if name not in out_of_finals(of_kind(events, Decision))]:
        who = listed([names[name] for name in unfinished])
        warnings.append(f"Not compared with the others, because not all of its runs were scored: {who}.")
    if any(set(runs[name]) != set(shared.seeds) for name in shared.compared):
        seeds = counted(len(shared.seeds), "seed")
        warnings.append(f"Some finalists lack a seed: all are compared on the {seeds} that they share, and other runs don't count.")
    return warnings


def _seeds(shared: SharedSeeds) -> list[str]:
    if len(shared.seeds) == 1:
        return ["One seed only: intervals and probabilities cover the report examples, not the luck of a split, initialization or order."]
    if len(shared.seeds) < FEW_SEEDS:
        return [f"{len(shared.seeds)} seeds only: the spread between seeds is hardly known, so that intervals are very wide."]
    return []


def _examples(events: Sequence[Event]) -> list[str]:
    opened = of_kind(events, ReportOpened)[-1]
    warnings = []
    if opened.openings > 1:
        warnings.append(f"The report split was opened {opened.openings} times (a restart after a kill counts); it should be opened once.")
    if opened.examples < opened.of:
        warnings.append(f"Only {opened.examples:,} of the {opened.of:,} report examples were scored, for lack of time.")
    if opened.examples < FEW_EXAMPLES:
        warnings.append(f"Only {counted(opened.examples, 'report example')} scored: differences of several points can be luck.")
    return warnings
