"""What an event says in words: one line for the terminal, a flow's log and the report."""

from pelt_automl.log.events import (
    Because,
    CostMeasured,
    DataDescribed,
    Decision,
    Event,
    FinalistScored,
    Listening,
    Planned,
    PortfolioLearned,
    Released,
    ReportOpened,
    SegmentLost,
    SelectionStarted,
    Stage,
    StateLost,
    Stopped,
    TrialEnded,
    What,
    WorkerJoined,
    WorkerLeft,
    WorkersAwaited,
)
from pelt_automl.log.history import History
from pelt_automl.methods import BASELINES, METHODS
from pelt_automl.verdict.wording import Unit, counted, in_short

NOISE = (What.PROMOTED, What.STOPPED)
"""Decisions of which the report tells, and nobody who watches: there are too many, and a training's end says the same."""

SHOWN = 3
"""Configurations that are named of those that were tried first."""


def decision_of(event: Event) -> Decision | None:
    """What was decided, if the event is a decision: also that a training goes on from a rung, starts over, or is stopped."""
    match event:
        case Decision():
            return event
        case Stopped():
            return Decision(What.STOPPED, event.trial, str(event.because), event.numbers, time=event.time)
        case Released(because=Because.REPEATED):
            why = "what it was to go on from is lost or damaged"
            return Decision(What.STARTED_OVER, event.segment.trial, why, event.numbers, time=event.time)
        case Released(because=Because.LOST):
            return None  # who lost it, and why, `SegmentLost` says
        case Released() if event.segment.start or event.because == Because.NEAR_END:
            share, compared = event.numbers.get("share", 0.0), event.numbers.get("compared", 0.0)
            reasons = {
                Because.DEFAULT: "the published default is always trained in full",
                Because.LEARNED: "what did well on other data sets is trained in full",
                Because.QUOTA: f"among the best {share:.0%} of {compared:.0f} of {event.segment.method} at step {event.segment.start}",
            }
            return Decision(
                What.PROMOTED, event.segment.trial, reasons.get(event.because, str(event.because)), event.numbers, time=event.time
            )
        case _:
            return None


def tried_first(history: History) -> str:
    """A sentence without its stop: the first few trials of the search, and what their order is learned from; empty where from nothing."""
    segments = [trial.segment for trial in history.trials.values()]
    tried = [own for own in segments if own.stage == Stage.SEARCH and own.method in METHODS]
    if not history.portfolio or not history.portfolio.sources or not tried:
        return ""
    first = [f"{own.method} ({in_short(own.hyper_parameters)})" for own in tried[:SHOWN]]
    more = ["..."] if tried[SHOWN:] else []
    return f"Tried first: {', '.join(first + more)} ({_learned_from(history.portfolio)})"


def _learned_from(learned: PortfolioLearned) -> str:
    shipped = learned.sources - learned.own
    on = f" with {learned.model}" if learned.model else ""
    parts = [f"{counted(shipped, 'data set')}{on}"] if shipped else []
    parts += [f"{counted(learned.own, 'data set')} of yours"] if learned.own else []
    return f"learned from {' and '.join(parts)}"


def describe(event: Event) -> str:
    """A line for whoever watches, for data also one for each note; empty for what would only be noise."""
    if decision := decision_of(event):
        return f"{decision.what}: {decision.subject} ({decision.why})" if decision.what not in NOISE else ""
    match event:
        case SelectionStarted():
            return f"selection {event.selection}" + (": taken up where it stood" if event.resumed else "") + f": {', '.join(event.methods)}"
        case DataDescribed():
            sizes = ", ".join(f"{size} {split}" for split, size in event.sizes.items())
            metric = Unit(event.metric, event.positive_class).name
            notes = [f"  note: {' '.join(note.split())}" for note in event.notes]
            return "\n".join([f"{event.task}: {event.kind}, {metric}; {sizes} examples ({event.protocol} protocol)", *notes])
        case Planned():
            of_finalists = f", a finalist's {event.final_steps}" if event.final_steps > event.steps else ""
            return f"a full training has {event.steps} steps (about {event.seconds_a_training:.0f} s){of_finalists}; {event.message}"
        case PortfolioLearned():
            return f"what to try first: {_learned_from(event)}" if event.sources else ""
        case Listening() | WorkerJoined() | WorkerLeft() | WorkersAwaited():
            return _of_workers(event)
        case TrialEnded() | SegmentLost() | StateLost() | FinalistScored() | CostMeasured():
            return _of_training(event)
        case ReportOpened():
            return f"report split opened: {event.examples} of {event.of} examples"
        case _:
            return ""


def _of_workers(event: Listening | WorkerJoined | WorkerLeft | WorkersAwaited) -> str:
    match event:
        case Listening():
            return f"workers can join at {event.address}; on each of the other machines: {event.command}"
        case WorkerJoined():
            return f"worker joined: {event.worker} ({event.device}, on {event.host})"
        case WorkerLeft():
            return f"worker left: {event.worker} ({event.why})" if event.why else ""
        case WorkersAwaited():
            return f"waited {event.seconds:.0f} s for the first worker; the time limit doesn't count them" if event.seconds >= 1 else ""


def _of_training(event: TrialEnded | SegmentLost | StateLost | FinalistScored | CostMeasured) -> str:
    match event:
        case TrialEnded():
            score = "no score" if event.select_score is None else f"select {event.select_score:.3f}"
            cause = f" ({event.cause})" if event.cause else ""
            steps = "" if event.method in BASELINES else f", {event.steps} steps"
            return f"{event.trial:<28} {event.state:<9} {score}{steps}, {event.seconds:.1f} s{cause}"
        case SegmentLost() if event.moved_to:
            return f"{event.trial:<28} moved from {event.worker} to {event.moved_to}: {event.cause}"
        case SegmentLost():
            return f"{event.trial:<28} lost on {event.worker}: {event.cause}"
        case StateLost():
            return f"{event.trial:<28} starts over: {event.cause}"
        case CostMeasured() if event.candidate:
            times = [f"{own.ms:.3g} ms for {own.batch}{' merged' if own.merged else ''}" for own in event.latencies]
            memory = [] if event.memory_gb is None else [f"{event.memory_gb:.2g} GB to train"]
            return f"{event.candidate:<28} {', '.join(times + memory) or 'not measured'}"
        case FinalistScored():
            return f"{event.trial:<28} report {event.report_score:.3f}"
    return ""
