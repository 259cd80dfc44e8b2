"""What rungs foretell, by hand; and the search whose trials are all trained in full, on a tiny world."""

import json

import pytest

from studies import rungs
from studies.harness import Ended
from studies.rungs import foretold, rows_of, searched

STEPS = 40


def trial(name, *scores, final=None):
    """`scores` after every 10 steps; the first of a method is its published default."""
    curve = [[10 * (i + 1), score] for i, score in enumerate(scores)]
    return {"method": name.split("-")[0], "trial": name, "is_default": name.endswith("-0"), "steps": STEPS, "curve": curve,
            "final": max(scores) if final is None else final}  # fmt: skip


LORA = [
    trial("lora-0", 0.50, 0.60, 0.70, 0.70),
    trial("lora-1", 0.60, 0.65, 0.66, 0.71),
    trial("lora-2", 0.55, 0.70, 0.75, 0.80),
    trial("lora-3", 0.52, 0.55, 0.60, 0.72),
]


def at(trials, step, share=1 / 3, greater=True):
    frame = foretold(trials, share, greater=greater)
    [row] = frame[frame["share of the training"] == step / STEPS].to_dict("records")
    return row


@pytest.mark.parametrize(
    ("step", "going_on", "correlation", "regret"),
    [
        # The default goes on, and a third of the other 3. Ranks at the end: 1, 2, 4, 3. Spearman's is 1 - 6 sum d^2 / 60.
        (10, ["lora-0", "lora-1"], 1 - 6 * (0 + 4 + 1 + 1) / 60, 0.09),  # ranks 1, 4, 3, 2
        (20, ["lora-0", "lora-2"], 1 - 6 * (1 + 1 + 0 + 4) / 60, 0.0),  # ranks 2, 3, 4, 1
        (30, ["lora-0", "lora-2"], 1 - 6 * (4 + 0 + 0 + 4) / 60, 0.0),  # ranks 3, 2, 4, 1
    ],
)
def test_what_goes_on_from_each_point_and_what_it_foretells(step, going_on, correlation, regret):
    row = at(LORA, step)
    left = len(going_on) / 4
    assert (row["going on"], row["trials"]) == (going_on, 4)
    assert row["correlation"] == pytest.approx(correlation)
    assert row["best"] - row["kept"] == pytest.approx(regret)
    assert row["trained"] == pytest.approx(left + (1 - left) * step / STEPS)


def test_of_errors_the_smallest_is_the_best():
    errors = [
        trial("lora-0", 0.9, 0.8, 0.7, 0.6, final=0.6),
        trial("lora-1", 0.95, 0.9, 0.9, 0.2, final=0.2),
        trial("lora-2", 0.85, 0.8, 0.7, 0.5, final=0.5),
    ]
    row = at(errors, 10, greater=False)
    assert row["going on"] == ["lora-0", "lora-2"]
    assert row["best"] - row["kept"] == pytest.approx(0.3)


def test_slow_starters_have_twice_the_share():
    prompt = [trial(f"prompt-{i}", *(0.5 + j / 100 + i / 10 for j in range(4))) for i in range(4)]
    assert at(prompt, 10, share=1 / 4)["going on"] == ["prompt-0", "prompt-2", "prompt-3"]


def test_the_final_score_is_the_recorded_one_and_not_the_curves():
    row = at([trial("lora-0", 0.5, 0.6, 0.7, 0.9, final=0.65)], 30)
    assert row["best"] == row["kept"] == 0.65


def test_the_table_has_a_line_a_method_and_point_and_over_all_methods_a_weak_methods_regret_costs_nothing():
    adapter = [trial("adapter-0", 0.5, 0.5, 0.5, 0.5), trial("adapter-1", 0.4, 0.4, 0.4, 0.4), trial("adapter-2", 0.3, 0.3, 0.3, 0.6)]
    late = [*LORA, trial("lora-4", 0.40, 0.40, 0.40, 0.95)]  # a third of 4 are one as well
    seeds = [[foretold(trials, 1 / 3, greater=True) for trials in own] for own in ([LORA, adapter], [late])]
    rows = {(row["method"], row["share of the training"]): row for row in rows_of(seeds, unit=100)}
    assert set(rows) == {(method, share) for method in ("lora", "adapter", rungs.ALL) for share in (0.25, 0.5, 0.75)}
    lora, weak, all_methods = rows["lora", 0.75], rows["adapter", 0.5], rows[rungs.ALL, 0.75]
    assert [lora[name] for name in ("regret", "largest regret", "trials", "seeds")] == [pytest.approx(7.5), pytest.approx(15), 9, 2]
    assert (weak["regret"], weak["rank correlation"]) == (pytest.approx(10), pytest.approx(-0.5))
    assert [all_methods[name] for name in ("regret", "largest regret", "seeds")] == [pytest.approx(7.5), pytest.approx(15), 2]
    assert rows["lora", 0.25]["lowest"] < rows["lora", 0.25]["rank correlation"] < rows["lora", 0.25]["highest"] == pytest.approx(0.4)


@pytest.mark.slow
@pytest.mark.usefixtures("without_mlflow")
def test_every_trial_of_the_programs_search_is_trained_to_its_last_step(world, tmp_path, monkeypatch, capsys):
    options = world.options(trials=3, epochs=4) | {"methods": "bitfit"}
    found = searched(str(tmp_path / "searches"), options)
    assert (found["metric"], found["failed"]) == ("accuracy", {})
    (steps,) = {trial["steps"] for trial in found["trials"]}
    assert [len(trial["curve"]) for trial in found["trials"]] == [rungs.EVALUATIONS] * 3
    assert [trial["curve"][-1][0] for trial in found["trials"]] == [steps] * 3

    monkeypatch.setattr(rungs, "fresh_process", lambda *_, **__: Ended(1.0, 1, json.loads(json.dumps(found))))
    rungs.main(["--seeds", "1", "--output", str(tmp_path / "out")])
    written = json.loads((tmp_path / "out" / "rungs.json").read_text())
    assert {row["method"] for row in written["tables"]["Final scores foretold"]} == {"bitfit", "all methods"}
    assert written["left_out"] == []
    assert written["notes"] == ["regret is in points of accuracy on select"]
    capsys.readouterr()
