"""Seconds, examples and scores of ours and the peer, by hand; the peer's search on a tiny world."""

import json

import pytest

from pelt_automl.methods import METHODS
from studies import time_to_answer
from studies.harness import Ended
from studies.time_to_answer import CONFIRMED, LIMITED, OURS, PEER, counted, main, notes, where_examples_went, with_finals


def result(seconds, **parts):
    own = {name: {"seconds": took, "examples": examples} for name, (took, examples) in parts.items()}
    return counted({"parts": own, "process_seconds": seconds, "not_counted_seconds": 0.0, "report_score": 0.7})


def test_the_examples_of_each_part_and_their_speed_are_medians_over_the_turns():
    turns = [result(100.0, search=(40.0, 800), finalists=(50.0, 500)), result(100.0, search=(20.0, 800), finalists=(50.0, 700))]
    assert where_examples_went(turns) == [
        {"part": "search", "seconds": 30.0, "examples trained": 800, "examples/s": 30.0},
        {"part": "finalists", "seconds": 50.0, "examples trained": 600, "examples/s": 12.0},
        {"part": "everything else", "seconds": 20.0},
        {"part": "all", "seconds": 100.0, "examples trained": 1400, "examples/s": 14.0},
    ]


def test_fewer_examples_and_faster_ones_multiply_to_the_ratio_of_seconds():
    # Ours 100 s for 1,300 examples (13 a second), the peer 800 s for 5,200 (6.5 a second): 8 times as fast is 4 times 2.
    (text,) = notes({OURS: [result(100.0, search=(90.0, 1300))], PEER: [result(800.0, search=(790.0, 5200))]})
    assert text == ("ours is 8 (8 to 8) times as fast as the peer's search, over 1 turns: 4 (4 to 4) times by fewer examples, 2 (2 to 2) "
                    "times by more examples a second")  # fmt: skip


def test_the_limited_selection_is_held_against_the_peer_turn_by_turn():
    peer = [result(600.0, search=(1.0, 1)) | {"report_score": 0.72}, result(500.0, search=(1.0, 1)) | {"report_score": 0.75}]
    limited = [result(120.0, search=(1.0, 1)) | {"report_score": 0.788}, result(125.0, search=(1.0, 1)) | {"report_score": None}]
    (text,) = notes({PEER: peer, LIMITED: limited})
    assert text == "with the time limit ours is 4.5 (4 to 5) times as fast; its report score less the peer's: +0.068, nothing scored"


def test_the_peers_finals_count_only_in_the_line_that_has_them():
    finals = {"method": "ia3", "hyper_parameters": {}, "report_score": 0.8, "trials": {"finalist, completed": 3}, "seconds": 30.0,
              "examples": 90}  # fmt: skip
    own = counted({
        "method": "lora", "report_score": 0.7, "report_interval": (0.6, 0.8), "trials": {"complete": 5}, "confirmed": finals,
        "parts": {"search": {"seconds": 50.0, "examples": 200}}, "not_counted_seconds": 34.0, "process_seconds": 90.0,
    })  # fmt: skip
    found = with_finals(own)
    assert (own["seconds"], found["seconds"]) == (56.0, 86.0), "4 s went to finding its precision"
    assert found["parts"] == {"search": {"seconds": 50.0, "examples": 200}, "finalists": {"seconds": 30.0, "examples": 90}}
    assert (found["method"], found["report_score"], found["report_interval"], found["examples"]) == ("ia3", 0.8, None, 290)
    assert found["trials"] == {"complete": 5, "finalist, completed": 3}
    assert own["parts"] == {"search": {"seconds": 50.0, "examples": 200}}


def test_wrong_options_are_said_together_before_anything_is_measured(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--peer-seeds", "-1", "--share", "2", "--repeats", "0", "--methods", "lora,mam"])
    said = capsys.readouterr().err
    assert "--peer-seeds is -1; it must be 0 or more; --share is 2.0; it must be from 0 to 1; --repeats is 0" in said
    assert "--methods is lora,mam; it must be of those of both: lora, bitfit" in said
    with pytest.raises(SystemExit, match="2"):
        main(["--limit-only", "--share", "0"])
    assert "--share is 0.0; it must be more than 0 with --limit-only" in capsys.readouterr().err


@pytest.mark.parametrize("typed", [["--limit-only", "--peer-seeds", "0"], ["--peer-seeds", "2"]])
def test_who_is_measured_in_each_turn(typed, monkeypatch, tmp_path, capsys):
    def a_process(place, home=None, **given):
        ran.append((place, given["options"]["seed"]))
        seconds = float(given["options"].get("seconds", 100.0))
        own = {"method": "lora", "metric": "accuracy", "report_score": 0.7, "report_interval": None, "trials": {}, "precision": "fp32",
               "parts": {"search": {"seconds": 1.0, "examples": 16}}, "not_counted_seconds": 0.0}  # fmt: skip
        confirmed = {"method": "lora", "hyper_parameters": {}, "report_score": 0.7, "trials": {}, "seconds": -50.0, "examples": 8}
        return Ended(seconds, 10**9, own | {"confirmed": confirmed})

    ran = []
    monkeypatch.setattr(time_to_answer, "fresh_process", a_process)
    main([*typed, "--repeats", "2", "--methods", "lora", "--output", str(tmp_path)])
    written = json.loads((tmp_path / "time_to_answer.json").read_text())
    seconds = {row["who"]: row["seconds"] for row in written["tables"]["Seconds to a recommendation"]}
    ours, peer = "studies.answers:ours", "studies.peer_search:peer"
    if typed[0] == "--limit-only":
        assert ran == [(peer, 0), (ours, 0), (peer, 1), (ours, 1)]
        assert seconds == {PEER: 100.0, LIMITED: 15.0}
        assert "with the time limit ours is 6.67 (6.67 to 6.67) times as fast" in written["notes"][-1]
    else:
        assert ran == [(place, seed) for seed in (0, 1) for place in (ours, peer, ours)]
        assert seconds == {OURS: 100.0, PEER: 100.0, CONFIRMED: 50.0, LIMITED: 15.0}
    capsys.readouterr()


def peer_of(world, **more):
    from studies.peer_search import PeerSearch

    own = {name: value for name, value in world.options().items() if name not in ("methods", "trials")}
    return PeerSearch(own | {"methods": "bitfit,lora", "trials": 1, "epochs": 1, "min_steps": 2} | more)


@pytest.mark.slow
def test_the_peers_search_asks_for_every_default_first_and_scores_its_winner_once(world, capsys):
    search = peer_of(world, trials=2, epochs=2)
    assert search.choose_precision(steps=1, rounds=1).keys() == {"fp32", "bf16 autocast", "bf16 weights"}
    search.run()
    score, (low, high) = search.reported(search.winner())
    asked = [trial.params for trial in search.study.trials]
    assert [(trial["method"], trial[f"{trial['method']}.learning_rate"]) for trial in asked[:2]] == [("bitfit", 1e-4), ("lora", 5e-4)]
    assert len(asked) == 4
    assert 4 * search.steps / 2 < search.taken <= 4 * search.steps  # patience ends a training in its second half, at the earliest
    assert low <= score <= high
    capsys.readouterr()


@pytest.mark.slow
def test_the_peers_finals_have_each_methods_best_and_the_fixed_defaults_on_fresh_seeds_and_splits(world, capsys):
    from studies.peer_search import FRESH, Best

    search = peer_of(world)
    defaults = {method: METHODS[method].defaults for method in ("bitfit", "lora")}
    other = defaults["lora"] | {"learning_rate": 1e-3}
    search.best = {"bitfit": Best("bitfit", defaults["bitfit"], 0.6), "lora": Best("lora", other, 0.7)}
    splits, split = [], search.split
    search.split = lambda seed, order: splits.append(seed) or split(seed, order)
    found = search.confirm(2)
    assert set(found["seed_scores"]) == {"bitfit", "lora", "lora (default)"}, "LoRA's default is fixed, and isn't its best"
    assert all(len(scores) == 2 for scores in found["seed_scores"].values())
    assert splits == [FRESH + 1000 * search.settings.search.seed + index for index in (0, 1)]
    assert found["report_score"] == pytest.approx(max(sum(scores) / 2 for scores in found["seed_scores"].values()))
    assert found["examples"] == search.taken * search.training.batch_size > 0
    capsys.readouterr()
