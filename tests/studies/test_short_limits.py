"""What short limits recommend: which selections are asked for, and what can't be."""

import json

import pytest

from studies import short_limits
from studies.harness import Ended, ProcessError


@pytest.fixture
def data(tmp_path):
    (tmp_path / "reviews.csv").write_text("text,label\ngood,1\nbad,0\n")
    return tmp_path


def test_each_limit_is_a_selection_of_its_own_and_one_that_fails_is_left_out(data, monkeypatch):
    asked = []

    def made_up(place, home, *, folder, options):
        asked.append(options)
        if options["seconds"] == 10:
            raise ProcessError("too short")
        return Ended(1.5, 0, {"outcome": "recommended"})

    monkeypatch.setattr(short_limits, "fresh_process", made_up)
    short_limits.main(["reviews:60:lora+bitfit", "reviews:full", "--data-dir", str(data), "--limits", "10,30", "--output", str(data)])
    written = json.loads((data / "short_limits.json").read_text())
    assert [(own["k"], own["seconds"], own.get("methods")) for own in asked] == [
        ("60", 10, "lora,bitfit"), ("60", 30, "lora,bitfit"), ("full", 10, None), ("full", 30, None),
    ]  # fmt: skip
    assert {own["train"] for own in asked} == {str(data / "reviews.csv")}
    assert written["left_out"] == ["reviews:60:lora+bitfit, 10 s: too short", "reviews:full, 10 s: too short"]
    assert [(row["task"], row["limit"], row["outcome"]) for row in written["tables"]["Answers"]] == [
        ("reviews:60:lora+bitfit", 30, "recommended"), ("reviews:full", 30, "recommended"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("reviews", "expected NAME:K or NAME:K:METHOD+METHOD such as sst2:100, not 'reviews'"),
        ("reviews:few", "not 'reviews:few'"),
        ("reviews:all", "not 'reviews:all'"),
        (":60", "not ':60'"),
        ("nowhere:60", "lacks data sets: nowhere: no train file"),
    ],
)
def test_a_task_that_cannot_be_had_is_refused_in_one_line(data, capsys, task, said):
    with pytest.raises(SystemExit, match="2"):
        short_limits.main([task, "--data-dir", str(data), "--limits", "30"])
    assert said in capsys.readouterr().err
