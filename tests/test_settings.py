"""Every number that a user can set: what is impossible is refused with one message, all of it at once."""

import math
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import optuna
import pytest

from pelt_automl.errors import SettingsError
from pelt_automl.reproduction import protocol_from
from pelt_automl.selection import settings_from
from pelt_automl.settings import LARGEST_SEED, SearchSettings, TaskSettings, TrainingSettings

PARTS = {"task": TaskSettings, "training": TrainingSettings, "search": SearchSettings}
NUMBERS = [
    (part, item.name, item.type)
    for part, kind in PARTS.items()
    for item in fields(kind)
    if item.type in (int, float, int | None, float | None)
]
NONSENSE = {"not a number": math.nan, "infinite": math.inf, "minus infinity": -math.inf, "negative": -1, "text": "many", "a list": [1]}


def refused(**options):
    with pytest.raises(SettingsError) as found:
        settings_from(**{"task": "pydoc-topic"} | options)
    return str(found.value)


def test_the_numbers_of_all_settings_are_tried():
    assert {"weight_decay", "threads", "most_seeds", "seed", "k", "max_latency_ms", "clip"} <= {name for _, name, _ in NUMBERS}
    assert len(NUMBERS) >= 25


@pytest.mark.parametrize("nonsense", NONSENSE)
@pytest.mark.parametrize("name", sorted({name for _, name, _ in NUMBERS}))
def test_a_number_that_makes_no_sense_is_refused_by_its_name(name, nonsense):
    assert f"{name} is {NONSENSE[nonsense]!r}" in refused(**{name: NONSENSE[nonsense]}) or nonsense == "negative"
    assert re.search(rf"{name} is -1(\.0)?[;:]", refused(**{name: -1}))


@pytest.mark.parametrize("name", sorted({name for _, name, kind in NUMBERS if kind in (int, int | None)}))
def test_a_whole_number_with_a_fraction_is_refused(name):
    assert f"{name} is 20.5" in refused(**{name: 20.5})
    assert f"{name} is True" in refused(**{name: True})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 0), ("max_length", 7), ("epochs", 0), ("epochs", 1e300), ("min_steps", 0), ("max_steps", 0), ("warmup", 1.0),
        ("clip", 0), ("weight_decay", -0.01), ("weight_decay", 1e6), ("patience", 0), ("dropout", 1.0), ("pack_size", 0), ("threads", 0),
        ("threads", 10**9), ("trials", 0), ("trials", 10**12), ("seconds", 0), ("seconds", 1e300), ("finalist_seeds", 0),
        ("finalist_seeds", 10**9), ("most_seeds", 0), ("most_seeds", 10**9), ("finalist_share", 0), ("finalist_share", 1), ("promoted", 0),
        ("promoted", 1.1), ("equivalence", 101), ("max_trainable", 0), ("max_latency_ms", 0), ("max_memory", 0), ("seed", 2**32), ("k", 15),
    ],
)  # fmt: skip
def test_a_number_outside_of_its_range_is_refused_by_its_name(name, value):
    assert re.search(rf"\b{name} is {re.escape(str(value))}(\.0)?[;:]", refused(**{name: value}))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"finalist_seeds": 3, "most_seeds": 1}, "most_seeds is 1; it can't be below finalist_seeds, which is 3"),
        ({"most_seeds": 2}, "most_seeds is 2; it can't be below finalist_seeds, which is 3"),
        ({"min_steps": 50, "max_steps": 20}, "max_steps is 20; it can't be below min_steps, which is 50"),
        ({"rungs": [0.5, math.nan]}, "rungs has nan; each must be a finite number above 0 and below 1 of the training"),
        ({"rungs": 0.5}, "rungs is 0.5; it must be a list of numbers such as 0.25,0.5, or 'none'"),
        ({"race": "no"}, "race is 'no'; it must be true or false"),
        ({"portfolio": 1}, "portfolio is 1; it must be true or false"),
        ({"experience": "no"}, "experience is 'no'; it must be true or false"),
        ({"methods": "lora,all"}, "'all' stands alone; methods has lora, all"),
        ({"baselines": "none,probe"}, "'none' stands alone; baselines has none, probe"),
        ({"methods": "lora,lora"}, "methods ['lora', 'lora'] names one twice"),
        ({"sampler": "grid"}, "sampler is 'grid'; it must be tpe, gp, cmaes or random"),
        ({"precision": 16}, "precision is 16; it must be auto, bf16 or fp32"),
        ({"kind": "ranking"}, "kind is 'ranking'; it must be classification, regression, multi-label or question-answering"),
        ({"k": 100.5}, "k is 100.5; it must be a whole number, at least 16, or 'full'"),
    ],
)
def test_what_does_not_go_together_is_refused(options, says):
    assert says in refused(**options)


def test_everything_is_said_at_once():
    said = refused(weight_decay=-1, threads=0, batch_size=math.nan, finalist_seeds=5, most_seeds=2, seconds=math.inf, seed=-3, k="many")
    for name in ("weight_decay", "threads", "batch_size", "most_seeds", "seconds", "seed", "k"):
        assert re.search(rf"(^|[ \n-]){name} is ", said), name


def test_the_most_seeds_follow_the_least_when_only_those_are_given():
    assert settings_from(task="pydoc-topic").search.most_seeds == 10
    assert settings_from(task="pydoc-topic", finalist_seeds=2).search.most_seeds == 10
    assert settings_from(task="pydoc-topic", finalist_seeds=12).search.most_seeds == 12
    assert settings_from(task="pydoc-topic", finalist_seeds=2, most_seeds=2).search.most_seeds == 2


def test_text_from_outside_is_read_as_each_options_own_type():
    typed = {"k": " FULL", "trials": "4", "seconds": "1e3", "rungs": "none", "baselines": "none", "methods": "lora, head", "data_dir": "d"}
    found = settings_from(task="qnli", **typed)
    assert (found.task.k, found.search.trials, found.search.seconds, found.search.rungs) == (None, 4, 1000.0, ())
    assert (found.search.baselines, found.search.methods, found.task.data_dir) == ((), ("lora", "head"), Path("d").absolute())
    assert type(settings_from(task="qnli", epochs=3).training.epochs) is float
    assert settings_from(task="qnli", rungs="0.5").search.rungs == (0.5,)


def test_an_option_that_is_not_there_is_said_with_the_one_that_was_meant():
    assert refused(trails=3) == "there is no option 'trails' (did you mean trials?)"
    assert refused(xyzzy=3).startswith("there is no option 'xyzzy'; there are baselines, batch_size, ")


def test_columns_of_labels_are_a_list_or_a_text_with_commas():
    for given in (["bug", "billing"], ("bug", "billing"), "bug,billing"):
        assert settings_from(train="a.csv", text_columns="text", label_column=given).task.label_column == "bug,billing"


@pytest.mark.parametrize("name", ["task", "metric", "label_column", "encoding", "positive_class", "model", "train", "spaces"])
def test_what_is_no_text_is_refused_by_its_name(name):
    assert f"{name} is 5; it must be " in refused(**{name: 5})


def test_numbers_of_numpy_are_numbers():
    import numpy as np

    found = settings_from(task="pydoc-topic", trials=np.int64(4), seconds=np.float32(60), k=np.int32(50))
    assert (found.search.trials, found.search.seconds, found.task.k) == (4, 60.0, 50)
    assert [type(value) for value in (found.search.trials, found.search.seconds, found.task.k)] == [int, float, int]


def test_the_reproductions_numbers_are_refused_with_those_of_its_training():
    with pytest.raises(SettingsError) as found:
        protocol_from(evaluations=math.nan, select_most=2.5, report_most=-1, batch_size=0, threads=0, seeds="0,-1", ks="8")
    named = ("evaluations is nan", "select_most is 2.5", "report_most is -1", "batch_size is 0", "threads is 0", "seeds has -1", "ks has 8")
    assert [part for part in named if part not in str(found.value)] == []


def test_the_largest_seed_is_the_largest_that_the_libraries_take():
    assert SearchSettings(seed=LARGEST_SEED).seed == TaskSettings(task="x", seed=LARGEST_SEED).seed == LARGEST_SEED
    assert f"seed is {LARGEST_SEED + 1}" in refused(seed=LARGEST_SEED + 1)
    for takes in (np.random.RandomState, optuna.samplers.RandomSampler):
        takes(LARGEST_SEED)
        with pytest.raises(ValueError, match=r"between 0 and 2\*\*32 - 1"):
            takes(LARGEST_SEED + 1)._rng.rng  # noqa: B018 Optuna makes its generator when it is first used
