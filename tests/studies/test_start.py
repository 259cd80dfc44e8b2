"""What is computed of a made-up table whose answers are known."""

import math
import re

import numpy as np
import pandas as pd
import pytest

from studies import start
from studies.harness import t_interval
from studies.start import by_source, in_points, probe_alone, rank_correlations, shown, starts_compared
from studies.table_files import write_table
from tests.studies.test_table_files import made


def row(source, method, seed, head_start, scores, report, **more):
    """A training with scores after 25, 50 and 100 % of the steps, and on report."""
    own = {
        "source": source, "task": source, "metric": "accuracy", "k": 100, "method": method, "configuration": "default", "seed": seed,
        "head_start": head_start, "failure": "", "curve_step": [0, 24, 48, 96], "curve_score": [0.0, *scores], "rungs": [24, 48],
        "steps": 96, "report_score": report, "machine": "m", "recorded": "2026-11-29", "above_chance": source != "b",
    }  # fmt: skip
    return own | more


def table(*rows):
    return in_points(pd.DataFrame(list(rows)))


def test_scores_are_points_after_each_share_of_the_steps():
    frame = table(row("a", "lora", 0, "probe", [0.1, 0.2, 0.3], 0.4))
    assert frame[["25", "50", "100", "report"]].to_numpy()[0] == pytest.approx([10, 20, 30, 40])
    errors = table(row("a", "lora", 0, "probe", [0.1, 0.2, 0.3], 0.4, metric="rmse"))
    assert errors["report"].tolist() == [-40.0], "greater is better"
    assert len(table(row("a", "lora", 0, "probe", [0.1, 0.2, 0.3], 0.4, k=300))) == 0


def both(source, method, seed, probe, random):
    return [row(source, method, seed, "probe", probe[:3], probe[3]), row(source, method, seed, "random", random[:3], random[3])]


def test_starts_are_compared_on_the_same_task_method_and_seed():
    rows = [
        *both("a", "lora", 0, [0.5, 0.6, 0.7, 0.7], [0.2, 0.4, 0.6, 0.65]),
        row("a", "lora", 1, "probe", [0.5, 0.6, 0.7], 0.7),  # alone
        *both("a", "full", 0, [0.5, 0.6, 0.7, 0.7], [0.2, 0.4, 0.6, 0.8]),
    ]
    rows[-1] |= {"failure": "loss is not finite"}
    (pair,) = starts_compared(table(*rows)).to_dict("records")
    assert (pair["method"], pair["seed"]) == ("lora", 0)
    assert [pair[name] for name in ("25", "50", "100", "report")] == pytest.approx([30, 20, 10, 5])


def test_only_defaults_are_compared():
    rows = both("a", "lora", 0, [0.5, 0.6, 0.7, 0.7], [0.2, 0.4, 0.6, 0.65])
    assert starts_compared(table(*(own | {"configuration": "known-1"} for own in rows))).empty


def test_the_source_is_the_unit_and_seeds_methods_and_tasks_are_averaged_inside_it():
    frame = pd.DataFrame(
        [  # source a: task x has lora (1 + 3) / 2 = 2 and full 6, so 4; task y 8; so 6. b: 0, c: 3
            ("a", "x", "lora", 1.0), ("a", "x", "lora", 3.0), ("a", "x", "full", 6.0), ("a", "y", "lora", 8.0),
            ("b", "z", "lora", 0.0), ("b", "z", "lora", 0.0), ("c", "w", "lora", 3.0),
        ],
        columns=["source", "task", "method", "value"],
    )  # fmt: skip
    means = by_source(frame, "value")
    assert means == [6.0, 0.0, 3.0]
    # deviation 3, t of 2 degrees of freedom 4.302653: 3 +- 4.302653 * 3 / sqrt(3)
    assert t_interval(means) == pytest.approx((3 - 4.302653 * 3 / math.sqrt(3), 3 + 4.302653 * 3 / math.sqrt(3)), abs=1e-4)
    assert shown(means, ".2f") == "3.00 [-4.45, 10.45]"
    assert shown(means, ".0f", 0.0, 10.0) == "3 [0, 10]"


def test_there_is_no_interval_of_two_sources():
    frame = pd.DataFrame([("a", "x", "lora", 1.0), ("b", "z", "lora", 5.0)] * 9, columns=["source", "task", "method", "value"])
    means = by_source(frame, "value")
    assert (means, shown(means, "+.1f")) == ([1.0, 5.0], "+3.0")
    assert shown(by_source(frame.assign(value=np.nan), "value"), "+.1f") == "-"


def test_the_probe_alone_is_compared_with_the_best_configuration_on_the_same_seeds():
    rows = [
        *(row("a", "probe", seed, "none", [np.nan] * 3, score, rungs=[]) for seed, score in enumerate([0.70, 0.72])),
        *(row("a", "lora", seed, "probe", [0.5] * 3, score) for seed, score in enumerate([0.705, 0.75])),
        *(row("a", "lora", seed, "random", [0.5] * 3, score) for seed, score in enumerate([0.60, 0.99])),
        row("a", "full", 7, "probe", [0.5] * 3, 1.0),  # there is no probe of that seed
        row("a", "bag-of-words", 0, "none", [np.nan] * 3, 1.0, rungs=[]),  # not a configuration
    ]
    (found,) = probe_alone(table(*rows)).to_dict("records")
    assert (found["method"], found["best"], found["configurations"], found["trainings"], found["seeds"]) == (
        "lora", "default, random start", 2, 4, 2,
    )  # fmt: skip
    assert (found["probe"], found["best_score"], found["behind"]) == pytest.approx((71.0, 79.5, 8.5))
    assert found["close"] == 0.5
    (found,) = probe_alone(table(*rows[:4])).to_dict("records")
    assert (found["best"], found["close"]) == ("default, probe start", 0.5)


def test_ranks_are_compared_inside_a_task_and_seed_and_start():
    final = [0.1, 0.2, 0.3, 0.4, 0.5]
    rows = [row("a", f"m{i}", 0, "probe", [1 - score, score, score], score) for i, score in enumerate(final)]
    rows += [row("a", f"m{i}", 0, "random", [0.5, score, score], score) for i, score in enumerate(final)]
    rows += [row("a", f"m{i}", 1, "probe", [score, score, score], score) for i, score in enumerate(final[:4])]  # too few
    frame = table(*rows)
    (probe,) = rank_correlations(frame, "probe start, defaults").to_dict("records")
    assert (probe["25 with 100"], probe["50 with 100"], probe["25 with report"]) == pytest.approx((-1, 1, -1))
    assert (probe["seed"], probe["trainings"]) == (0, 5)
    (random,) = rank_correlations(frame, "random start, defaults").to_dict("records")
    assert math.isnan(random["25 with 100"]), "all are alike"
    assert random["50 with report"] == pytest.approx(1)


def test_the_interval_of_a_correlation_stays_within_one():
    final = [0.1, 0.2, 0.3, 0.4, 0.5]
    early = {"a": final, "b": final, "c": [0.2, 0.1, 0.5, 0.4, 0.3]}
    frame = table(
        *(row(source, f"m{i}", 0, "probe", [score, 0.5, final[i]], final[i]) for source in early for i, score in enumerate(early[source]))
    )
    said = "".join(start._of_ranks(frame))
    assert ", 1.00] |" in said
    assert not re.search(r", 1\.[0-9]*[1-9]", said)


# ------------------------------------------------------------ the page


def known_table(sources):
    """Of each source: probe start 10 points better after all steps, a random start 2 points better on report for full."""
    rows = []
    for number, source in enumerate(sources):
        rows.append(row(source, "probe", 0, "none", [np.nan] * 3, 0.5, rungs=[]))
        for method in ("lora", "bitfit", "adapter", "prefix"):
            low = 0.3 + number / 100
            rows += both(source, method, 0, [0.5, 0.5, low + 0.1, 0.6], [0.2, 0.3, low, 0.5])
        rows += both(source, "full", 0, [0.5, 0.5, 0.5, 0.50], [0.2, 0.3, 0.4, 0.52])
    return pd.DataFrame(rows)


def test_the_page_says_all_three_with_the_trainings_that_they_rest_on():
    text = start.page(known_table(["a", "b", "c"]))
    assert "33 trainings and fits at K = 100 of 3 open sources (3 tasks), 0 of them failed; m, 2026-11-29." in text
    assert "the same seeds: 30 trainings." in text
    assert "| `lora` | 3 | 6 | +30.0 [+30.0, +30.0] | +20.0 [+20.0, +20.0] | +10.0 [+10.0, +10.0] | +10.0 [+10.0, +10.0] |" in text
    assert "| `full` | 3 | 6 | +30.0 [+30.0, +30.0] | +20.0 [+20.0, +20.0] | +10.0 [+10.0, +10.0] | -2.0 [-2.0, -2.0] |" in text
    assert "| all methods | 3 | 30 | +30.0 [+30.0, +30.0]" in text
    assert "| all methods, probe above chance | 2 | 20 | +30.0 |" in text
    # four methods with 30 points and one with 40 on random, all of seed 0
    assert "| a | 10 | 50.0 against 20.0 | 50.0 against 30.0 | 42.0 against 32.0 | 58.0 against 50.4 |" in text
    assert "Worse by more than a point after all steps (select): 0 of 15 methods on tasks." in text
    assert "on report: 3 of 15 methods on tasks: `full` on a (-2.0), `full` on b (-2.0), `full` on c (-2.0)." in text
    assert "within a point of it in 0 of 3 tasks (0 of 3 sources) by the mean over seeds, and on 0 % [0, 0] of the seeds." in text
    assert "| a | a | 10 | 10 | 1 | `adapter` default, probe start | 60.0 | 50.0 | +10.0 | 0 % |" in text
    assert "| random start, defaults | 3 | 15 |" in text


def test_the_page_has_no_interval_of_two_sources():
    text = start.page(known_table(["a", "b"]))
    figures = text.partition("fewer than 3.")[2]
    assert "| `lora` | 2 | 4 | +30.0 | +20.0 | +10.0 | +10.0 |" in figures
    assert "[" not in figures


def test_the_page_of_a_table_that_has_only_begun_says_what_is_missing():
    text = start.page(known_table(["a"]).query("method == 'probe'"))
    assert text.count("yet") == 3


def written(folder):
    lora = {"task": "a", "recorded": "2026-11-29", "machine": "m", "behaviour": 2}
    write_table([made(**lora), made(source="secret", recorded="2026-11-30", machine="hidden")], {"secret"}, folder)
    return folder


def test_sealed_sources_are_in_no_figure(tmp_path, capsys):
    assert start.main(["--table", str(written(tmp_path))]) == 0
    printed = capsys.readouterr().out
    assert "1 trainings and fits at K = 100 of 1 open sources" in printed
    assert "secret" not in printed
    assert "hidden" not in printed


def test_the_figures_are_put_between_the_marks_of_a_page(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text(f"Before\n\n{start.BEGIN}\n\nold figures\n\n{start.END}\n\nAfter\n")
    folder = written(tmp_path / "table")
    for _ in range(2):
        assert start.main(["--table", str(folder), "--write", str(page)]) == 0
        text = page.read_text()
        assert text.startswith(f"Before\n\n{start.BEGIN}\n\n1 trainings")
        assert text.endswith(f"\n\n{start.END}\n\nAfter\n")
        assert "old figures" not in text
    page.write_text("no marks")
    assert start.main(["--table", str(folder), "--write", str(page)]) == 2
    assert page.read_text() == "no marks"
    assert "has no lines" in capsys.readouterr().err


def test_nothing_is_said_of_an_empty_table(tmp_path, capsys):
    assert start.main(["--table", str(tmp_path)]) == 2
    assert "has no trainings of open sources yet" in capsys.readouterr().err
