"""The embedded tasks: what is harvested from small sources, how it is masked, and what the real ones give away."""

import re
from collections import Counter

import pytest

from pelt_automl.errors import SettingsError
from pelt_automl.settings import TaskSettings
from pelt_automl.tasks import baselines, load_task, pydoc
from pelt_automl.tasks.examples import Examples
from pelt_automl.tasks.pydoc import Callable, harvest, plain_summary
from pelt_automl.tasks.pydoc_tasks import _GIVEAWAYS, ARGUMENTS, _argument_rows, _match_rows, mask_names, names_of, without_texts_of

SOURCE = '''
class Fast:
    """A class that does things quickly for everyone."""

    def __init__(self, size, *, copy=True): ...

    def run(self, x: int, y: str = "a") -> None:
        """Run the whole thing from start to end. More text."""

    def _hidden(self):
        """Nobody should ever see this sentence at all."""

def same():
    """Run the whole thing, from start to end."""
'''


NAMES = {"pydoc-match": 1000, "pydoc-topic": 1000, "pydoc-arguments": 500}


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The real harvest, in a home folder of this module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PELT_AUTOML_HOME", str(tmp_path_factory.mktemp("home")))
        yield {name: load_task(TaskSettings(task=name, k=k)) for name, k in NAMES.items()}


def test_public_callables_are_harvested_once_each_summary(tmp_path, monkeypatch):
    (tmp_path / "fast.py").write_text(SOURCE)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "other.py").write_text('def f():\n    """A test that must not be harvested ever."""\n')
    monkeypatch.setattr(pydoc, "_root", lambda library: tmp_path)
    found = pydoc._of_library("scipy", set())
    assert [(item.module, item.name, item.signature, item.summary) for item in found] == [
        ("scipy.fast", "Fast", "(size, *, copy=True)", "A class that does things quickly for everyone"),
        ("scipy.fast", "Fast.run", "(x, y='a')", "Run the whole thing from start to end"),
    ]


@pytest.mark.parametrize(
    ("docstring", "summary"),
    [
        ("Compute the :class:`~torch.Tensor` norm of ``x``.", "Compute the torch.Tensor norm of x"),
        ("Sort the values\n    of two lines. And more.\n\n    Long text.", "Sort the values of two lines"),
        ("Use e.g. the first value", "Use e.g. the first value"),
        ("Too short.", ""),
        ("Deprecated since version 1.0 of it.", ""),
        ("See f(x) for all the details", ""),
        ("", ""),
    ],
)
def test_summaries_are_plain_sentences(docstring, summary):
    assert plain_summary(docstring) == summary


def test_names_are_masked_whatever_their_case():
    item = Callable("scipy", "m", "Filter.apply_all", "()", "")
    assert names_of(item) == {"filter", "apply_all"}
    assert mask_names("Filter by apply_all, refilter", names_of(item)) == "it by it, refilter"


def test_couples_keep_or_swap_their_summaries_with_the_same_masks():
    members = [Callable("scipy", "m", name, "()", f"does {name} and {other}") for name, other in (("one", "two"), ("two", "one"))]
    rows = dict(_match_rows([members]))
    assert rows == {("m.one()", "does it and it"): 0, ("m.two()", "does it and it"): 0}
    couples = [[Callable("scipy", f"m{i}", name, "()", f"summary of {name}{i}") for name in ("one", "two")] for i in range(2)]
    assert {(texts, label) for texts, label in _match_rows(couples)} == {
        (("m0.one()", "summary of two0"), 0),
        (("m0.two()", "summary of one0"), 0),
        (("m1.one()", "summary of one1"), 1),
        (("m1.two()", "summary of two1"), 1),
    }


def test_the_real_tasks_are_large_balanced_and_disjoint(real):
    for name, data in real.items():
        counts = Counter(data.report.labels)
        assert len(data.report) > (400 if name == "pydoc-arguments" else 800), name
        assert name == "pydoc-arguments" or max(counts.values()) - min(counts.values()) <= 2, name
        summaries = {texts[-1] for texts in data.report.texts}
        assert not summaries & {texts[-1] for texts in data.pool.texts}, name


def test_summaries_that_differ_only_in_a_masked_name_are_not_on_both_sides():
    report = Examples((("m.adam()", "performs it algorithm computation"),), (0,))
    train = Examples((("n.adamax()", "performs it algorithm computation"), ("n.step()", "performs a single step")), (1, 1))
    assert without_texts_of(report, train) == Examples((("n.step()", "performs a single step"),), (1,))


def test_modules_of_a_real_match_are_on_one_side(real):
    def modules(examples):
        return {re.match(r"[\w.]+?(?=\.[A-Z]\w*[.(]|\.\w+\()", texts[0])[0] for texts in examples.texts}

    assert not modules(real["pydoc-match"].report) & modules(real["pydoc-match"].pool)


def test_no_sentence_of_the_real_topics_names_a_library(real):
    for texts in real["pydoc-topic"].pool.texts:
        assert not _GIVEAWAYS.search(texts[0])


def test_neither_a_constant_nor_a_bag_of_words_solves_the_real_tasks(real):
    match, topic = baselines(real["pydoc-match"]), baselines(real["pydoc-topic"])
    assert match["majority"] == pytest.approx(0.5)
    assert 0.44 < match["bag of words"] < 0.56
    assert topic["majority"] == pytest.approx(0.2)
    assert 0.3 < topic["bag of words"] < 0.7
    arguments = baselines(real["pydoc-arguments"])
    assert 0.4 < arguments["majority"] + 0.02 < arguments["bag of words"] < 0.7


def test_labels_of_the_arguments_are_read_off_the_signature():
    members = [
        Callable("scipy", "m", "Fast.run", "(self, x, *, axis=-1, **kwargs)", "does it"),
        Callable("scipy", "m", "stop", "(self, when)", "does none"),
    ]
    ((texts, label),) = _argument_rows([members])
    assert texts == ("run: does it",)
    assert {name for name, there in zip(ARGUMENTS, label, strict=True) if there} == {"anything", "array", "axis"}


def test_the_cache_is_read_again_and_a_home_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "fast.py").write_text(SOURCE)
    monkeypatch.setattr(pydoc, "_root", lambda library: tmp_path / "lib")
    monkeypatch.setattr(pydoc, "library_versions", lambda: {"scipy": "1"})
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("PELT_AUTOML_HOME", str(tmp_path / "file"))
    first = harvest()
    assert len(first) == 2
    monkeypatch.setenv("PELT_AUTOML_HOME", str(tmp_path / "home"))
    assert harvest() == first
    (cache,) = (tmp_path / "home" / "cache" / "tasks").iterdir()
    (tmp_path / "lib" / "fast.py").write_text("")
    assert harvest() == first
    cache.write_text("broken")
    assert harvest() == []


def test_settings_that_contradict_an_embedded_task_are_refused():
    with pytest.raises(SettingsError, match="leave kind and columns out"):
        load_task(TaskSettings(task="pydoc-topic", kind="regression"))
