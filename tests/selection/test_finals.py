"""The finals: as many fresh seeds as the verdict needs, and candidates that come later."""

import pytest

import pelt_automl
from pelt_automl.log.events import Decision, ReportOpened, TrialEnded, UnionPruned, VerdictReached, What
from pelt_automl.selection import Selection, finalist_phase, settings_from
from pelt_automl.selection.finalist_phase import confirm
from pelt_automl.selection.machine import costs_of
from pelt_automl.verdict.another_seed import Outlook
from tests.tiny_world import Killed, Watcher, of, records_of

pytestmark = pytest.mark.usefixtures("without_mlflow")

BOTH = Outlook("", pair=("head-0000", "lora-0000"))
FEW = {"methods": ["head", "lora"], "trials": 1, "epochs": 4, "finalist_seeds": 2, "most_seeds": 5}


@pytest.fixture
def outlooks(monkeypatch):
    """What is thought of another seed each time that it is asked; the seeds scored by then."""
    asked = []

    def answering(*answers):
        def outlook_of(history, equivalence, most_seeds):
            asked.append(len({scored.seed_index for scored in history.scored}))
            return answers[min(len(asked), len(answers)) - 1]

        monkeypatch.setattr(finalist_phase, "outlook_of", outlook_of)
        return asked

    return answering


def seeds_of(events, candidate):
    return sorted(trial.number for trial in of(events, TrialEnded) if trial.stage == "finalist" and trial.candidate == candidate)


@pytest.mark.whole
def test_seeds_are_added_one_by_one_until_the_verdict_needs_no_more(world, tmp_path, outlooks):
    asked = outlooks(BOTH, BOTH, Outlook("as told", numbers={"p_best": 0.97}))
    pelt_automl.select(output=tmp_path / "out", **world.options(**FEW))
    events = records_of(tmp_path / "out")
    assert asked == [2, 3, 4]
    assert (seeds_of(events, "head-0000"), seeds_of(events, "lora-0000")) == ([0, 1, 2, 3], [0, 1, 2, 3])
    assert [(d.why, d.numbers) for d in of(events, Decision) if d.what == What.ENOUGH_SEEDS] == [("as told", {"p_best": 0.97})]
    assert [opened.openings for opened in of(events, ReportOpened)] == [1]
    assert {len(row.seed_scores) for row in of(events, VerdictReached)[-1].standings} == {4}


@pytest.mark.slow
def test_there_are_never_more_seeds_than_the_most(world, tmp_path, outlooks):
    outlooks(BOTH)
    pelt_automl.select(output=tmp_path / "out", **world.options(**FEW))
    assert seeds_of(records_of(tmp_path / "out"), "lora-0000") == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_a_finalist_that_is_clearly_behind_gets_no_further_seed_and_stays_in_the_leaderboard(world, tmp_path, outlooks):
    outlooks(Outlook("", ("head-0000",), pair=("lora-0000",)), Outlook("enough"))
    found = pelt_automl.select(output=tmp_path / "out", **world.options(**FEW))
    events = records_of(tmp_path / "out")
    assert (seeds_of(events, "head-0000"), seeds_of(events, "lora-0000")) == ([0, 1], [0, 1, 2])
    assert [d.subject for d in of(events, Decision) if d.what == What.LEFT_FINALS] == ["head-0000"]
    standings = {row.candidate: row for row in found.leaderboard}
    assert (standings["head-0000"].p_best, standings["lora-0000"].p_best) == (0.0, 1.0)
    assert found.method == "lora"
    assert not any("Not compared" in warning for warning in found.warnings)


@pytest.mark.slow
def test_killed_in_a_further_seed_it_finishes_that_seed_and_asks_again(world, tmp_path, outlooks):
    asked = outlooks(BOTH, Outlook("enough"))
    watcher = Watcher(kill=lambda seen: any(trial.trial == "final-head-0000-seed2" for trial in of(seen.events, TrialEnded)))
    with pytest.raises(Killed):
        pelt_automl.select(output=tmp_path / "out", display=watcher, **world.options(**FEW, pack_size=1))
    pelt_automl.select(output=tmp_path / "out", **world.options(**FEW, pack_size=1))
    events = records_of(tmp_path / "out")
    assert asked == [2, 3]
    assert (seeds_of(events, "head-0000"), seeds_of(events, "lora-0000")) == ([0, 1, 2], [0, 1, 2])


@pytest.mark.slow
def test_further_candidates_have_the_finalists_seeds_and_the_same_report_examples(world, tmp_path, outlooks):
    outlooks(Outlook("enough"))
    late = UnionPruned("adapter-late", "adapter-0000", "adapter", {"learning_rate": 1e-3, "bottleneck": 4}, {}, 0.01)
    with Selection.open(settings_from(**world.options(**FEW)), tmp_path / "out") as selection:
        selection.prepare()
        selection.search()
        selection.confirm()
        selection.log.append(late)
        for _ in range(2):  # the second time there is nothing left to do
            confirm(selection.question, selection.machine, selection.log, selection.clock)
        found = selection.recommend()
    events = records_of(tmp_path / "out")
    assert seeds_of(events, "adapter-late") == [0, 1]
    assert len(of(events, ReportOpened)) == 1
    assert len(next(row for row in found.leaderboard if row.candidate == "adapter-late").seed_scores) == 2


def test_time_is_kept_for_gates_only_as_long_as_a_gated_finalist_may_come(world, tmp_path):
    options = world.options(**FEW | {"methods": ["head", "unipelt-apl"], "most_seeds": 2})
    with Selection.open(settings_from(**options), tmp_path / "out") as selection:
        selection.prepare()
        selection.search()

        def kept():
            return costs_of(selection.question, selection.machine, selection.log.history).evidence(selection.log.history)

        assert kept() > 0  # not chosen yet
        selection.log.append(Decision("finalist", "head-0000", "best of head on select"))
        assert kept() == 0
        selection.log.append(Decision("finalist", "unipelt-apl-0000", "fixed default"))
        assert kept() > 0
