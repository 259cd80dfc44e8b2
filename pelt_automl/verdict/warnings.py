"""What a reader of the verdict has to know: failed runs, constant predictions, few seeds, few examples."""

from collections import defaultdict
from collections.abc import Iterator

from pelt_automl.log.events import ReportOpened, SelectionStarted, Stage, State, What
from pelt_automl.log.history import History
from pelt_automl.methods import BASELINES
from pelt_automl.verdict.finalists import constant_runs, not_finite
from pelt_automl.verdict.standings import Comparison
from pelt_automl.verdict.wording import candidate_names, counted, listed, percent

OFTEN_CUT = 0.05
"""Share of a split's texts above which cutting them is worth a warning."""

OFTEN_UNKNOWN = 10
"""Unknown tokens in a hundred from which on they are."""

FEW_SEEDS = 3
FEW_EXAMPLES = 200
"""Below this, a 95 % interval of an accuracy of 80 % is wider than 11 points by the examples alone."""

MIXED = ("torch", "transformers", "optuna")
"""Libraries whose versions change what is trained."""


def all_warnings(history: History, comparison: Comparison | None) -> list[str]:
    """One sentence or two each. `comparison` is None when no finalist was scored."""
    compared = _comparison(history, comparison) if comparison else ()
    return [*_several_programs(history), *_data(history), *_runs(history, comparison), *compared]


def _several_programs(history: History) -> Iterator[str]:
    """A warning when a selection was resumed with other versions, or at another commit, than it began with."""
    found: dict[str, list[str]] = {name: [] for name in (*MIXED, "commit")}
    for started in history.of_kind(SelectionStarted):
        versions = started.environment.get("versions") or {}
        commit = str(started.environment.get("git_commit") or "")[:10]
        for name, version in {**{name: versions.get(name) for name in MIXED}, "commit": commit}.items():
            if version and version not in found[name]:
                found[name].append(version)
    if mixed := [f"{name} {listed(seen)}" for name, seen in found.items() if len(seen) > 1]:
        yield f"Trained by several versions of the program: {'; '.join(mixed)}. Scores may differ for that reason."


def longer_texts(history: History) -> str:
    """How to read more of the texts, where many are cut: ``longer texts (--max-length 480)``; empty where few are."""
    if not _cut_often(history):
        return ""
    better = _better_length(history)
    return f"longer texts (--max-length {better})" if better else "a model that reads longer texts"


def _cut_often(history: History) -> dict[str, dict[str, int]]:
    """The splits of which more than a few texts are cut."""
    splits = history.data.cut | ({"report": history.opened.cut} if history.opened else {})
    return {split: cut for split, cut in splits.items() if cut and cut["cut"] > OFTEN_CUT * cut["texts"]}


def _better_length(history: History) -> int | None:
    """Tokens that the model could read, if that is more than it does."""
    most, model, needed = (history.data.text_length[name] for name in ("most", "model", "needed"))
    better = min(needed, model or needed)
    return better if better > most else None


def _data(history: History) -> Iterator[str]:
    """Texts that are cut, with what would help; tokens that the model doesn't know; published defaults that the user's limits keep out."""
    if often := _cut_often(history):
        who = listed([f"{percent(cut['cut'] / cut['texts'])} of the texts of {split}" for split, cut in often.items()])
        lost = percent(sum(cut["lost"] for cut in often.values()) / sum(cut["tokens"] for cut in often.values()))
        better, most = _better_length(history), history.data.text_length["most"]
        more = f"--max-length {better} reads more of them" if better else "this model reads no more: take one that does, or shorten them"
        yield f"{who} are longer than {most} tokens and were cut there, {lost} of their split's tokens in all: {more}."
    if (unknown := history.data.text_length.get("unknown", 0)) >= OFTEN_UNKNOWN:
        yield f"{unknown} % of the tokens to train on are unknown to the model's tokenizer: is it a model for this language?"
    for own in history.decided(What.DEFAULT_OVER).values():
        yield f"The published default of {own.subject} is over the limit: {own.why}. It was searched without it."


def _runs(history: History, comparison: Comparison | None) -> Iterator[str]:
    """Finalists' runs that failed, were cut off, or predict one class or value throughout."""
    names, trials, found = candidate_names(history.ended()), history.ended(Stage.FINALIST), comparison.finalists if comparison else ()
    causes: dict[str, list[str]] = defaultdict(list)
    for trial in trials:
        if trial.state == State.FAILED and not trial.out_of_time:
            causes[trial.candidate].append(trial.cause or "cause not recorded")
    for run in not_finite(history, found):
        causes[run.candidate].append("predictions or score not finite")
    for name, why in causes.items():
        yield f"{counted(len(why), 'finalist run')} of {names.get(name, name)} failed: {'; '.join(sorted(set(why)))}."
    cut = [trial for trial in trials if trial.state == State.STOPPED and trial.out_of_time]
    if cut and history.plan:
        who, whole = listed(sorted({names[trial.candidate] for trial in cut})), history.plan.final_steps or history.plan.steps
        runs, shortest = counted(len(cut), "finalist run"), min(trial.steps for trial in cut)
        yield f"{runs} cut off by the time limit, the shortest after {shortest} of {whole} steps ({who}): give more time."
    if constant := {trial.candidate for trial in trials if trial.constant_predictions} | set(constant_runs(history, found).values()):
        who = listed(sorted(names[name] for name in constant))
        yield f"Constant predictions (one class or value throughout) in at least one run of {who}."


def _comparison(history: History, comparison: Comparison) -> Iterator[str]:
    """What the comparison rests on: finalists that lack runs, few seeds, few examples."""
    opened = history.opened
    seeds, names = {name: len(comparison.seed_scores(name)) for name in comparison.compared}, candidate_names(history.ended())
    trained, fewest = [seeds[name] for name in seeds if name not in comparison.fitted()] or list(seeds.values()), min(seeds.values())
    who = "" if comparison.alike else f" for {listed(sorted(names[name] for name, count in seeds.items() if count == fewest))}"
    scored = {run.trial for one in comparison.finalists for run in one.runs.values()}
    all_runs = {trial.trial for trial in history.ended(Stage.FINALIST) if trial.candidate in comparison.compared}
    if not comparison.alike and all_runs - scored:
        yield (
            "Finalists lack seeds, because not all runs were scored: means are adjusted for what the seeds that one lacks did to the "
            "others, and intervals are wider for it."
        )
    if taken := scored & history.taken_over():
        fresh = scored - taken - {trial.trial for trial in history.ended() if trial.method in BASELINES}
        what = "One seed is the search's own, whose" if fresh else "There was no time to train finalists on fresh seeds: the search's own"
        yield f"{what} trainings were scored, the best of each method on select. Of several good ones the luckiest looks best."
    if max(trained) == 1:
        each = "One seed only" if max(seeds.values()) == 1 else "One seed for each trained finalist"
        yield f"{each}: intervals and probabilities cover the report examples, not the luck of a split, initialization or order."
    elif fewest == 1:
        yield f"One seed only{who}: what other seeds would do is taken from the other finalists."
    elif fewest < FEW_SEEDS:
        yield f"{fewest} seeds only{who}: the spread between seeds is hardly known, so that intervals are very wide."
    assert opened is not None, "finalists are scored on its examples"
    if (again := opened.openings - (len({earlier.examples for earlier in history.of_kind(ReportOpened)}) - 1)) > 1:
        yield f"The report split was opened {again} times (a restart after a kill counts); it should be opened once."
    if opened.examples < opened.of:
        yield f"Only {opened.examples:,} of the {opened.of:,} report examples were scored, for lack of time."
    if opened.examples < FEW_EXAMPLES:
        yield f"Only {counted(opened.examples, 'report example')} scored: differences of several points can be luck."
