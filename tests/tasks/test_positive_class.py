"""Which class f1 is about: chosen, said, and the same in both places that compute it."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from pelt_automl.errors import SettingsError
from pelt_automl.settings import TaskSettings
from pelt_automl.tasks import baselines, load_task
from pelt_automl.tasks.baselines import constant_on_select


def own(tmp_path, labels, **more):
    path = tmp_path / "mails.csv"
    path.write_text("text,label\n" + "".join(f"text {i},{label}\n" for i, label in enumerate(labels)), encoding="utf-8")
    return TaskSettings(**{"train": path, "text_columns": ("text",), "label_column": "label", "metric": "f1"} | more)


FRAUD = ["fraud"] * 30 + ["ok"] * 90
SPAM = ["ham"] * 90 + ["spam"] * 30
BALANCED = ["no", "yes"] * 60


@pytest.mark.parametrize(
    ("labels", "more", "positive", "note"),
    [
        (
            FRAUD,
            {},
            "fraud",
            "f1 is about the class 'fraud', the rarer one (30 of 120 training examples); --positive-class chooses another",
        ),
        (SPAM, {}, "spam", "f1 is about the class 'spam', the rarer one (30 of 120 training examples); --positive-class chooses another"),
        (FRAUD, {"positive_class": "ok"}, "ok", "f1 is about the class 'ok', as asked for"),
        (SPAM, {"positive_class": " HAM "}, "ham", "f1 is about the class 'ham', as asked for"),
        (["1.0", "2.0", "2.0"] * 40, {"positive_class": "1.0"}, "1", "f1 is about the class '1', as asked for"),
        (BALANCED, {}, "yes", "f1 is about the class 'yes', the second of two that are equally frequent (60 of 120 training examples); "),
        (FRAUD, {"metric": "accuracy_f1"}, "fraud", "accuracy f1 is about the class 'fraud', the rarer one"),
    ],
)
def test_the_rarer_class_is_the_positive_one_unless_the_user_chooses(tmp_path, labels, more, positive, note):
    data = load_task(own(tmp_path, labels, **more))
    assert data.positive_class == positive
    assert data.labels[1] == positive
    assert [n for n in data.notes if "is about" in n][0].startswith(note)  # noqa: RUF015  # there is one
    expected = sum(label.removesuffix(".0") == positive for label in labels) / 120
    for examples in (data.pool, data.report, *data.split(0)):
        assert sum(examples.labels) / len(examples) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    ("labels", "order"), [(["10", "9", "2"] * 40, "2, 9, 10"), (["low", "mid", "high"] * 40, "high, low, mid")], ids=["numbers", "words"]
)
def test_where_the_order_of_classes_matters_a_note_says_it(tmp_path, labels, order):
    notes = load_task(own(tmp_path, labels, metric="quadratic_kappa")).notes
    assert f"quadratic kappa takes the classes in this order: {order}" in notes
    assert not any("this order" in note for note in load_task(own(tmp_path, labels, metric="accuracy")).notes)


@pytest.mark.parametrize("metric", ["log_loss", "roc_auc", "average_precision"])
def test_simple_models_score_their_probabilities(tmp_path, metric):
    data = load_task(own(tmp_path, FRAUD, metric=metric))
    found, shares = baselines(data), [0.25, 0.75] if data.labels[0] == "fraud" else [0.75, 0.25]
    assert found["majority"] == pytest.approx(data.metric.value([shares] * len(data.report), data.report.labels), abs=1e-9)
    assert np.isfinite(found["bag of words"])


@pytest.mark.parametrize("positive", ["fraud", "ok"])
def test_f1_is_about_the_positive_class(tmp_path, positive):
    data = load_task(own(tmp_path, FRAUD, positive_class=positive))
    truth = data.report.labels
    predicted = [1 - label if i % 3 == 0 else label for i, label in enumerate(truth)]
    names = [data.labels[int(label)] for label in truth], [data.labels[int(label)] for label in predicted]
    expected = f1_score(*names, pos_label=positive)
    assert expected != pytest.approx(f1_score(*names, pos_label="fraud" if positive == "ok" else "ok"))
    assert data.metric.value(predicted, truth) == pytest.approx(expected)


def test_the_constant_to_beat_is_the_better_of_always_and_never(tmp_path):
    data = load_task(own(tmp_path, FRAUD))
    select = data.split(0)[1]
    share = sum(select.labels) / len(select)
    assert constant_on_select(data, 0) == pytest.approx(2 * share / (1 + share))


@pytest.mark.parametrize("protocol", ["strict", "paper"])
def test_the_examples_do_not_depend_on_it_nor_does_the_hash_of_the_data(tmp_path, protocol):
    one, two, plain = (
        load_task(own(tmp_path, FRAUD, k=40, protocol=protocol, **more))
        for more in ({"positive_class": "fraud"}, {"positive_class": "ok"}, {"metric": "accuracy"})
    )
    assert one.data_hash == two.data_hash == plain.data_hash
    for seed in range(3):
        for first, second, third in zip(one.split(seed), two.split(seed), plain.split(seed), strict=True):
            assert first.texts == second.texts == third.texts
            named = [[data.labels[int(i)] for i in part.labels] for data, part in ((one, first), (two, second), (plain, third))]
            assert named[0] == named[1] == named[2]
    assert (plain.labels, plain.positive_class) == (("fraud", "ok"), None)


@pytest.mark.parametrize("task", ["mrpc", "qqp"])
def test_a_named_task_keeps_the_class_that_its_benchmark_means(tmp_path, task):
    from pelt_automl.tasks import TASKS

    columns = TASKS[task].text
    folder = tmp_path / task
    folder.mkdir()
    for split, count in (("train", 60), ("validation", 20)):
        rows = [f"{split} a {i},b {i},{int(i % 3 > 0)}" for i in range(count)]
        (folder / f"{split}.csv").write_text("\n".join([",".join([*columns, "label"]), *rows]), encoding="utf-8")
    data = load_task(TaskSettings(task=task, data_dir=tmp_path))
    assert data.positive_class == data.labels[1] == {"mrpc": "equivalent", "qqp": "duplicate"}[task]
    assert sum(data.pool.labels) == 40
    other = load_task(TaskSettings(task=task, data_dir=tmp_path, positive_class=data.labels[0]))
    assert other.labels == data.labels[::-1]
    assert sum(other.pool.labels) == 20


@pytest.mark.parametrize(
    ("labels", "more", "message"),
    [
        (FRAUD, {"positive_class": "scam"}, "positive_class is 'scam', but the classes are 'fraud' and 'ok'; name one of them"),
        (
            FRAUD,
            {"positive_class": "fraud", "metric": "accuracy"},
            "for the metrics f1, average_precision, accuracy_f1 on two classes; here the metric is acc",
        ),
        (["a", "b", "c"] * 20, {"positive_class": "a", "metric": "macro_f1"}, "which treats all classes alike"),
        (["1.5", "2", "3"] * 20, {"positive_class": "2", "metric": "mae"}, "here the metric is mae"),
    ],
)
def test_what_can_not_be_positive_is_refused(tmp_path, labels, more, message):
    with pytest.raises(SettingsError, match=message):
        load_task(own(tmp_path, labels, **more))
