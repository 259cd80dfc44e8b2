"""What is tried first is decided once, from data that isn't the data at hand; nothing is trained here."""

import hashlib
import logging
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from pelt_automl.errors import SearchSpaceError
from pelt_automl.log.events import Because, Configuration, Identified, PortfolioLearned, Released, Seeds, Segment, Stage
from pelt_automl.log.history import History
from pelt_automl.log.outputs import Outputs
from pelt_automl.methods import METHODS
from pelt_automl.search.portfolio import Features, Observation, Source
from pelt_automl.search.shipped import Portfolio
from pelt_automl.selection import Selection, portfolio_phase, settings_from
from pelt_automl.selection import selection as whole
from pelt_automl.selection.baseline_phase import fit_baselines
from pelt_automl.selection.inherited import Inherited
from pelt_automl.selection.portfolio_phase import learn_portfolio
from pelt_automl.selection.search_phase import scheduler
from pelt_automl.verdict.describing import describe, tried_first
from tests.selection.test_experience import PROBE, trial, write
from tests.tiny_world import of, records_of

pytestmark = pytest.mark.usefixtures("without_mlflow")

LORA, HEAD, APL = (METHODS[name].defaults for name in ("lora", "head", "unipelt-apl"))
HEAD_SIZE = 34
LIKE = Features(2, 60, 32, 10.0)
BETTER = LORA | {"learning_rate": 0.002}


def shipped(**hashes):
    """LoRA gains, a higher rate more; the head gains nothing; nobody knows UniPELT."""
    sources = tuple(Source(name, name[0], LIKE, hashes.get(name, name)) for name in ("a1", "a2", "b"))
    seen = [("lora", LORA, 2.0), ("lora", BETTER, 3.0), ("head", HEAD, -1.0)]
    return Portfolio(1, "m", sources, tuple(Observation(own.name, *one, 1.0) for own in sources for one in seen))


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PELT_AUTOML_HOME", str(tmp_path))
    monkeypatch.setattr(portfolio_phase, "shipped_portfolio", shipped)
    return tmp_path


def opened(world, home, **options):
    """A selection that is about to search."""
    selection = Selection.open(settings_from(**world.options(baselines=["probe"], **options)), home / "selections" / "mine")
    selection.prepare()
    fit_baselines(selection.question, selection.machine, selection.log)
    return selection


def decided(world, home, **options):
    with opened(world, home, **options) as selection:
        learn_portfolio(selection.question, selection.machine, selection.log)
        return SimpleNamespace(
            portfolio=selection.log.history.portfolio,
            scheduler=scheduler(selection.question, selection.machine, selection.log, Inherited()),
            data_hash=selection.question.data.data_hash,
            identified=selection.log.history.of_kind(Identified),
        )


def named(order):
    return [(own.method, own.hyper_parameters["learning_rate"]) for own in order]


def test_what_lowers_the_regret_comes_first_then_each_methods_default(world, home):
    found = decided(world, home)
    assert named(found.portfolio.order) == [("lora", 0.002), ("lora", 0.0005), ("head", 0.001)]
    assert (found.portfolio.sources, found.portfolio.own, found.portfolio.experience) == (3, 0, [])
    assert found.portfolio.useful == len(found.scheduler.sequence) == 1
    assert found.scheduler.sequence == ["lora"]
    known = {method: [own["learning_rate"] for own in found.scheduler.proposer.known(method)] for method in found.scheduler.methods}
    assert known["lora"][:2] == [0.002, 0.0005], "the default comes after what is of use"
    assert [len(own) for own in known.values()] == [3, 3, 3], "places that are left are the search spaces' own"
    assert describe(found.portfolio) == "what to try first: learned from 3 data sets with m"


def test_the_report_says_what_was_tried_first_not_what_the_order_begins_with():
    order = [Configuration("unipelt-apl", dict(APL)), Configuration("lora", dict(BETTER))]
    events = [PortfolioLearned(order, "0f", 3, 1, ["ab"], "m", time=0.0)]
    assert tried_first(History.of(events)) == ""
    for number, own in enumerate((HEAD, LORA, BETTER, LORA)):
        method = "lora" if number else "head"
        segment = Segment(f"t{number}", f"t{number}", method, dict(own), Stage.SEARCH, number, number < 2, Seeds(0, 0, 0), 40, 0, 10)
        events.append(Released(segment, Because.FIRST, time=0.0))
    assert tried_first(History.of(events)) == (
        "Tried first: head (learning rate 0.001), lora (learning rate 5e-4, rank 8, alpha 16, targets query-value), "
        "lora (learning rate 0.002, rank 8, alpha 16, targets query-value), ... (learned from 2 data sets with m and 1 data set of yours)"
    )


def test_the_users_own_selections_join_and_the_hash_says_so(world, home, caplog):
    before = decided(world, home)
    (weights,) = {own.weights for own in before.identified}
    mine = HEAD | {"learning_rate": 0.01}
    for number, name in enumerate(("own", "again")):
        write(home, name, texts=(1, 2), weights=weights, trials=[
            PROBE, trial("head", 0, 0.6, values=HEAD), trial("head", 1, 0.99, values=mine), trial("lora", values=LORA),
        ])  # fmt: skip
        (home / "selections" / "mine").rename(home / f"moved-{number}")
        with caplog.at_level(logging.INFO, "pelt_automl"):
            found = decided(world, home).portfolio
        assert f"learned what to try first from selections/{name}: 3 trainings" in caplog.messages
        assert ("head", 0.01) in named(found.order)[:2]
    names = ["selections/again", "selections/own"]
    assert (found.sources, found.own) == (4, 1)
    assert found.experience == [hashlib.sha256(one.encode()).hexdigest()[:12] for one in names], "names of other data aren't recorded"
    assert found.hash != before.portfolio.hash
    assert describe(found) == "what to try first: learned from 3 data sets with m and 1 data set of yours"
    (home / "selections" / "mine").rename(home / "moved")
    nobody = decided(world, home, experience=False)
    without = nobody.portfolio
    assert (nobody.identified, (home / "selections" / "mine" / "texts").exists()) == ([], False), "it teaches nobody either"
    assert (without.order, without.hash, without.experience) == (before.portfolio.order, before.portfolio.hash, [])


def test_reading_the_users_own_takes_a_small_share_of_the_limit(world, home, monkeypatch):
    asked = []
    monkeypatch.setattr(portfolio_phase, "gather", lambda asking, _: asked.append(asking.seconds) or [])
    decided(world, home)
    (home / "selections" / "mine").rename(home / "moved")
    decided(world, home, seconds=100)
    assert asked == [10.0, pytest.approx(2.0)]


@pytest.mark.parametrize("options", [{"portfolio": False}, {"protocol": "paper"}])
def test_without_it_nothing_is_learned(options, world, home, monkeypatch):
    monkeypatch.setattr(portfolio_phase, "gather", lambda *_: pytest.fail("nobody looks at the home"))
    found = decided(world, home, **options)
    assert found.portfolio is None
    assert found.scheduler.sequence == []


def test_a_selection_that_is_taken_up_goes_by_its_log_and_never_looks_at_the_home_again(world, home, monkeypatch):
    first = decided(world, home).portfolio
    monkeypatch.setattr(portfolio_phase, "gather", lambda *_: pytest.fail("nobody looks at the home"))
    monkeypatch.setattr(portfolio_phase, "shipped_portfolio", lambda: pytest.fail("nor at what is shipped"))
    assert decided(world, home).portfolio == first
    events = records_of(home / "selections" / "mine")
    assert len(of(events, PortfolioLearned)) == len(of(events, Identified)) == 1


def test_one_whose_search_has_begun_without_an_order_goes_on_without(world, home):
    with opened(world, home) as selection:
        segment = Segment("lora-0000", "lora-0000", "lora", dict(LORA), Stage.SEARCH, 0, True, Seeds(0, 0, 0), 40, 0, 10)
        selection.log.append(Released(segment, Because.FIRST))
        learn_portfolio(selection.question, selection.machine, selection.log)
        assert selection.log.history.portfolio is None


def test_shipped_data_that_is_the_data_at_hand_is_left_out_with_all_of_its_group(world, home, monkeypatch):
    own = decided(world, home).data_hash
    (home / "selections" / "mine").rename(home / "moved")
    monkeypatch.setattr(portfolio_phase, "shipped_portfolio", lambda: shipped(a2=own))
    assert decided(world, home).portfolio.sources == 1
    (home / "selections" / "mine").rename(home / "moved again")
    monkeypatch.setattr(portfolio_phase, "shipped_portfolio", lambda: replace(shipped(a2=own, b=own)))
    nothing = decided(world, home).portfolio
    assert nothing.sources == 0
    assert describe(nothing) == ""


def test_the_users_own_selection_of_a_shipped_data_set_counts_with_it_as_one(world, home, monkeypatch):
    (weights,) = {own.weights for own in decided(world, home).identified}
    (home / "selections" / "mine").rename(home / "moved")
    write(home, "own", texts=(1, 2), weights=weights, data_hash="b")
    groups = []
    own = portfolio_phase.weights
    monkeypatch.setattr(portfolio_phase, "weights", lambda like, sources: groups.extend(one.group for one in sources) or own(like, sources))
    found = decided(world, home).portfolio
    assert (groups, found.sources, found.own) == (["a", "a", "b", "b"], 3, 1)


def test_what_is_refused_without_measuring_has_no_turn(world, home, monkeypatch):
    """On the tiny model a rank of 8 in two of four projections has more parameters than the limit, and a rank of 1 hasn't."""
    small = LORA | {"rank": 1}
    seen = [("lora", LORA, 3.0), ("lora", small, 2.0), ("head", HEAD, 1.0)]
    known = replace(shipped(), observations=tuple(Observation(own.name, *one, 1.0) for own in shipped().sources for one in seen))
    monkeypatch.setattr(portfolio_phase, "shipped_portfolio", lambda: known)
    found = decided(world, home, methods=["lora", "head"], max_trainable=HEAD_SIZE + 700)
    assert [(own.method, own.hyper_parameters.get("rank")) for own in found.portfolio.order] == [("lora", 1), ("head", None)]
    assert found.scheduler.sequence == ["lora"]
    assert found.scheduler.proposer.known("lora")[0]["rank"] == 1, "the default, which is over the limit, doesn't take its turn"


def test_what_the_search_space_does_not_include_is_not_tried(world, home, tmp_path):
    (tmp_path / "spaces").mkdir()
    (tmp_path / "spaces" / "lora.yaml").write_text(
        "method: lora\nversion: 9\nhyper_parameters:\n  learning_rate: {type: float, low: 1.0e-4, high: 1.0e-3}\n"
    )
    found = decided(world, home, spaces=tmp_path / "spaces")
    assert [own for own in found.portfolio.order if own.method == "lora"] == [Configuration("lora", {"learning_rate": 0.0005})]


def test_a_list_in_the_users_own_space_keeps_its_meaning_for_its_method(world, home, tmp_path):
    (tmp_path / "spaces").mkdir()
    (tmp_path / "spaces" / "lora.yaml").write_text(
        "method: lora\nversion: 9\nhyper_parameters:\n  learning_rate: {type: float, low: 1.0e-4, high: 1.0e-2}\n"
        "portfolio: [{learning_rate: 3.0e-3}, {learning_rate: 4.0e-3}]\n"
    )
    found = decided(world, home, spaces=tmp_path / "spaces")
    assert named(found.portfolio.order)[0] == ("lora", 0.0005)
    assert [own["learning_rate"] for own in found.scheduler.proposer.known("lora")] == [0.0005, 0.003, 0.004]
    assert found.scheduler.sequence.count("lora") == 1


def test_a_space_whose_default_is_its_own_keeps_it_in_the_order(world, home, tmp_path, monkeypatch):
    from pelt_automl.search.spaces import load_spaces, shipped_spaces

    space = load_spaces(None, ("unipelt",))["unipelt"]
    default = space.configuration(space.default())
    assert default != METHODS["unipelt"].defaults
    more = tuple(Observation(own.name, "unipelt", default, 9.0, 1.0) for own in shipped().sources)
    monkeypatch.setattr(portfolio_phase, "shipped_portfolio", lambda: replace(shipped(), observations=shipped().observations + more))
    (tmp_path / "spaces").mkdir()
    text = (shipped_spaces() / "unipelt.yaml").read_text()
    (tmp_path / "spaces" / "unipelt.yaml").write_text(text + "\nportfolio: [{learning_rate: 3.0e-3}]\n")
    found = decided(world, home, methods=["lora", "unipelt"], spaces=tmp_path / "spaces")
    assert [own.method for own in found.portfolio.order] == ["unipelt", "lora", "lora"]


def test_what_is_handed_on_is_tried_right_after_its_default(world, home):
    with opened(world, home) as selection:
        learn_portfolio(selection.question, selection.machine, selection.log)
        given = LORA | {"learning_rate": 0.007}
        found = scheduler(selection.question, selection.machine, selection.log, Inherited(first={"lora": [given]}, source="as told"))
    assert found.sequence == ["lora", "lora", "lora"]
    assert [own["learning_rate"] for own in found.proposer.known("lora")][:3] == [0.0005, 0.007, 0.002]


def test_a_damaged_shipped_file_is_one_message_before_anything_is_loaded(world, home, monkeypatch):
    def damaged():
        raise SearchSpaceError("portfolio.json: as told")

    monkeypatch.setattr(whole, "shipped_portfolio", damaged)
    monkeypatch.setattr(whole, "load_task", lambda _: pytest.fail("too early"))
    with pytest.raises(SearchSpaceError, match="as told"):
        Selection.open(settings_from(**world.options()), home / "out")
    assert not (home / "out").exists()


def test_of_its_texts_a_selection_keeps_hashes_alone(world, home):
    (identified,) = decided(world, home).identified
    folder = home / "selections" / "mine" / "texts"
    kept = Outputs(folder).get(identified.texts)
    assert (kept.dtype, len(kept)) == (np.uint64, 120), "60 of K and 60 of test"
    assert [path.name for path in folder.iterdir()] == [identified.texts]
    assert b"word" not in (folder / identified.texts).read_bytes()


@pytest.mark.whole
def test_a_whole_selection_begins_with_what_it_has_learned_and_its_report_says_so(world, home):
    import pelt_automl

    options = world.options(methods=["lora", "head"], baselines=["probe"], trials=2, finalist_seeds=1, pack_size=1)
    pelt_automl.select(output=home / "selections" / "mine", **options)
    events = records_of(home / "selections" / "mine")
    begun = [event.segment for event in of(events, Released) if event.because == Because.FIRST and event.segment.stage == Stage.SEARCH]
    rates = [(own.method, own.hyper_parameters["learning_rate"]) for own in begun]
    assert rates[:3] == [("lora", 0.002), ("head", 0.001), ("lora", 0.0005)]
    for page in ("report.md", "report.html"):
        assert "Tried first: lora" in (home / "selections" / "mine" / page).read_text()
