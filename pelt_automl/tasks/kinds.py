"""What is particular to a kind of task, in one object per kind: the rest of the program knows no kind by name.

Shapes: `N` trials in a pack, `B` examples of a batch, `n` examples, `C` outputs of the head. A label, and a prediction, is a number or an
array of numbers: ``...`` stands for its shape, which is empty for a class index and for a number.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from pelt_automl.tasks.answers import answers_of
from pelt_automl.tasks.metrics import Floats, Metric

if TYPE_CHECKING:
    from torch import Tensor

IMBALANCE = 3.0
"""Classes are imbalanced when the largest has more than so many times the examples that the others have on average."""
BINS = 10
"""Quantile bins that stratify numbers."""
FEWEST_OF_A_ROW = 4
"""Examples with the same set of labels that are a stratum of their own: with fewer, none of them would come to select."""
THRESHOLDS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
"""Probabilities that are tried as the one from which on a label, or an answer, is predicted."""


@dataclass(frozen=True)
class LabelScale:
    """How outputs become predictions: numbers go back from units of their deviation, a label or an answer is there from a probability on.

    By default the identity, and one half.
    """

    mean: float = 0.0
    deviation: float = 1.0
    threshold: float = 0.5
    """The probability from which on a label is predicted, where an example has several, or a piece of a passage is taken for the answer:
    chosen on select."""

    @staticmethod
    def of(labels: NDArray[np.floating]) -> "LabelScale":
        """Mean and standard deviation of train's labels."""
        return LabelScale(float(labels.mean()), float(labels.std()) or 1.0)


class TaskKind(ABC):
    """A kind of task. What isn't abstract suits labels that are arrays of numbers."""

    name: ClassVar[str]
    """In settings, records and files."""
    problem_type: ClassVar[str]
    """The same in the configuration of a `transformers` model; empty where it has no name there."""
    fewest_names: ClassVar[int] = 0
    """Names of classes that a task of this kind has at least."""
    keeps_strata: ClassVar[bool] = False
    """Whether as many examples are asked for as there are strata, and train keeps one of each."""
    fitted_as: ClassVar[Literal["classes", "numbers", "labels"] | None] = None
    """What contenders that train no backbone take its labels for; None: they can't be fitted to them, and no head starts from the probe."""

    reads_tokens: ClassVar[bool] = False
    """Whether the head reads every token of a passage, which may be longer than the model reads at once; else one vector an example."""
    example: ClassVar[Any] = "a name"
    """What a user gets for an example may look so."""
    tempered: ClassVar[bool] = False
    """Whether its probabilities are calibrated by a temperature."""

    @abstractmethod
    def outputs(self, names: Sequence[str]) -> int:
        """Outputs of the head. `names`: of the classes, in the order of their indices; empty where there are none."""

    @abstractmethod
    def losses(self, logits: "Tensor", labels: "Tensor", scales: Sequence[LabelScale]) -> "Tensor":
        """``(N, B)``, the loss of each example, from logits ``(N, B, C)``, labels as `collate` gives them and each trial's scale."""

    @abstractmethod
    def predictions(self, logits: NDArray[np.floating], scale: LabelScale, passages: Sequence[str] = ()) -> NDArray[Any]:
        """``(n, ...)``, from logits ``(n, C)``; `passages`: the texts that answers are pieces of, for a kind that has them."""

    @abstractmethod
    def default_metric(self, labels: Sequence[Any], names: Sequence[str]) -> tuple[str, str]:
        """The metric of a task that has none of its own, and a note on why; the note is empty where nothing has to be said."""

    @abstractmethod
    def answers(self, predictions: NDArray[Any], names: Sequence[str]) -> list[Any]:
        """What the user gets for predictions ``(n, ...)``: names of classes, or numbers."""

    def probabilities(self, logits: NDArray[np.floating]) -> Floats | None:  # noqa: ARG002 others' have some
        """``(n, C)``, a probability for each of the classes' names; None for a kind that has none."""
        return None

    def class_weights(self, labels: NDArray[np.floating], names: Sequence[str]) -> NDArray[np.float32] | None:  # noqa: ARG002 classes' are
        """``(C,)``, what each class counts in the loss so that all count the same, by train's labels ``(n, ...)``; None without classes."""
        return None

    def read_by(self, metric: Metric, logits: NDArray[np.floating], scale: LabelScale, passages: Sequence[str] = ()) -> NDArray[Any]:
        """``(n, ...)``, what a metric of this kind reads of logits ``(n, C)``: predictions or probabilities."""
        found = self.probabilities(logits) if metric.reads == "probabilities" else None
        return self.predictions(logits, scale, passages) if found is None else found

    def scale(self, labels: NDArray[np.floating]) -> LabelScale:  # noqa: ARG002 others' labels have one
        """Of train's labels ``(n, ...)``."""
        return LabelScale()

    def fitted(
        self,
        scale: LabelScale,
        logits: NDArray[np.floating],  # noqa: ARG002 others choose something
        labels: NDArray[Any],  # noqa: ARG002
        metric: Metric,  # noqa: ARG002
        passages: Sequence[str] = (),  # noqa: ARG002
    ) -> LabelScale:
        """The scale with what is chosen for the metric on select's logits ``(n, C)`` and labels ``(n, ...)``; as it is where nothing is."""
        return scale

    def held(self, label: Any) -> tuple[int, ...]:  # noqa: ARG002 numbers hold none
        """Indices of the names that a label holds: train keeps an example of each that it has, where that is possible."""
        return ()

    def names_in(self, labels: Sequence[Any]) -> set[int]:
        """Indices of the names that some of the labels hold."""
        return {index for label in set(map(_key, labels)) for index in self.held(label)}

    def collate(self, parts: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """``(N, B, ...)``: each trial's labels ``(b, ...)``, filled up with zeros to the longest."""
        found = np.zeros((len(parts), max(map(len, parts)), *parts[0].shape[1:]), np.float32)
        for own, part in zip(found, parts, strict=True):
            own[: len(part)] = part
        return found

    def strata(self, labels: Sequence[Any]) -> list[int]:
        """The stratum of each example: splits have the same shares of each. Here equal labels make one."""
        keys = [_key(label) for label in labels]
        known = {key: number for number, key in enumerate(sorted(set(keys)))}
        return [known[key] for key in keys]

    def constant(self, labels: Sequence[Any], metric: Metric) -> tuple[Any, str]:  # noqa: ARG002 numbers' depends on it
        """The prediction for all examples that a method has to beat, and what it is called; of equally frequent labels the first."""
        return Counter(map(_key, labels)).most_common(1)[0][0], "the most frequent answer"

    def is_constant(self, predictions: NDArray[Any]) -> bool:
        """Whether the same is predicted for all examples."""
        return bool(np.ptp(predictions, axis=0).max() < 1e-9)


def _key(label: Any) -> Any:
    """A label as something that can be counted: one of several numbers is a list where it comes from a file."""
    return tuple(label) if isinstance(label, list | np.ndarray) else label


class Classification(TaskKind):
    """One of several classes: labels and predictions are class indices."""

    name = "classification"
    problem_type = "single_label_classification"
    fewest_names = 2
    keeps_strata = True
    fitted_as = "classes"
    tempered = True

    def outputs(self, names: Sequence[str]) -> int:
        """One per class."""
        return len(names)

    def losses(self, logits: "Tensor", labels: "Tensor", scales: Sequence[LabelScale]) -> "Tensor":  # noqa: ARG002 classes have none
        """Cross-entropy."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(logits.transpose(1, 2), labels.long(), reduction="none")

    def predictions(self, logits: NDArray[np.floating], scale: LabelScale, passages: Sequence[str] = ()) -> Floats:  # noqa: ARG002 neither
        """``(n,)``, class indices."""
        return np.asarray(logits.argmax(axis=1), np.float64)

    def probabilities(self, logits: NDArray[np.floating]) -> Floats:
        """Softmax."""
        shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), np.float64)

    def class_weights(self, labels: NDArray[np.floating], names: Sequence[str]) -> NDArray[np.float32]:
        """``n / (classes that are there * examples of the class)``, as scikit-learn's "balanced"; 1 on average over train."""
        counts = np.bincount(labels.astype(np.int64), minlength=len(names))
        return np.asarray(len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1)), np.float32)

    def default_metric(self, labels: Sequence[Any], names: Sequence[str]) -> tuple[str, str]:
        """Accuracy, or macro-F1 where the classes are imbalanced."""
        (index, largest), *others = Counter(labels).most_common()
        mean = sum(count for _, count in others) / len(others)
        if largest <= IMBALANCE * mean:
            return "accuracy", ""
        figures = f"class {names[int(index)]!r} has {largest} of {len(labels)} examples, the other classes {mean:.0f} on average"
        return "macro_f1", (
            f"the classes are imbalanced, so the metric is macro-F1: {figures} (the rule: more than {IMBALANCE:g} times as many); "
            "--metric accuracy overrides it"
        )

    def answers(self, predictions: NDArray[Any], names: Sequence[str]) -> list[Any]:
        """Names of classes."""
        return [names[int(index)] for index in predictions]

    def held(self, label: Any) -> tuple[int, ...]:
        """The class."""
        return (int(label),)

    def strata(self, labels: Sequence[Any]) -> list[int]:
        """The classes."""
        return [int(label) for label in labels]

    def constant(self, labels: Sequence[Any], metric: Metric) -> tuple[Any, str]:
        """The most frequent class."""
        return super().constant(labels, metric)[0], "the most frequent class"


class Regression(TaskKind):
    """A number per example."""

    name = "regression"
    problem_type = "regression"
    fitted_as = "numbers"
    example = 0.5

    def outputs(self, names: Sequence[str]) -> int:  # noqa: ARG002 numbers have none
        """The number."""
        return 1

    def losses(self, logits: "Tensor", labels: "Tensor", scales: Sequence[LabelScale]) -> "Tensor":
        """Squared error of labels in units of their deviation."""
        means, deviations = (logits.new_tensor(values)[:, None] for values in zip(*((s.mean, s.deviation) for s in scales), strict=True))
        return (logits[:, :, 0] - (labels - means) / deviations).square()

    def predictions(self, logits: NDArray[np.floating], scale: LabelScale, passages: Sequence[str] = ()) -> Floats:  # noqa: ARG002 none
        """``(n,)``, in the labels' unit."""
        return np.asarray(logits[:, 0], np.float64) * scale.deviation + scale.mean

    def default_metric(self, labels: Sequence[Any], names: Sequence[str]) -> tuple[str, str]:  # noqa: ARG002 always the same
        """Spearman's correlation."""
        return "spearman", ""

    def answers(self, predictions: NDArray[Any], names: Sequence[str]) -> list[Any]:  # noqa: ARG002 numbers have none
        """The numbers."""
        return [float(number) for number in predictions]

    def scale(self, labels: NDArray[np.floating]) -> LabelScale:
        """Mean and deviation."""
        return LabelScale.of(labels)

    def strata(self, labels: Sequence[Any]) -> list[int]:
        """Bins between quantiles."""
        bins = max(1, min(BINS, len(labels) // 4))
        result = [0] * len(labels)
        for rank, i in enumerate(sorted(range(len(labels)), key=lambda i: (labels[i], i))):
            result[i] = rank * bins // len(labels)
        return result

    def constant(self, labels: Sequence[Any], metric: Metric) -> tuple[Any, str]:
        """The median for the mean absolute error, else the mean: the number that has the smallest error."""
        return (median(labels), "the median") if metric.name == "mae" else (fmean(labels), "the mean")


class MultiLabel(TaskKind):
    """Any number of labels per example: labels and predictions are rows ``(C,)`` of zeros and ones, one for each name."""

    name = "multi-label"
    problem_type = "multi_label_classification"
    fewest_names = 2
    fitted_as = "labels"
    example: ClassVar[list[str]] = ["a name"]

    def outputs(self, names: Sequence[str]) -> int:
        """One per label."""
        return len(names)

    def losses(self, logits: "Tensor", labels: "Tensor", scales: Sequence[LabelScale]) -> "Tensor":  # noqa: ARG002 labels have none
        """Binary cross-entropy, the mean over labels."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        return binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(2)

    def predictions(self, logits: NDArray[np.floating], scale: LabelScale, passages: Sequence[str] = ()) -> Floats:  # noqa: ARG002 none
        """``(n, C)``, the labels whose probability is the threshold at least."""
        return np.asarray(self.probabilities(logits) >= scale.threshold, np.float64)

    def probabilities(self, logits: NDArray[np.floating]) -> Floats:
        """Of each label by itself: the logistic function."""
        return np.asarray(1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -700, 700))), np.float64)

    def fitted(
        self,
        scale: LabelScale,
        logits: NDArray[np.floating],
        labels: NDArray[Any],
        metric: Metric,
        passages: Sequence[str] = (),  # noqa: ARG002 none
    ) -> LabelScale:
        """The threshold with the best score on select; of equals the one that is nearest to one half.

        It is one for all labels. Select often has 30 examples, and a rare label one or two of them: a threshold of its own would be
        chosen by these, and so by chance.
        """
        chances = self.probabilities(logits)
        return replace(scale, threshold=_best_threshold(lambda threshold: metric.sign * metric.value(chances >= threshold, labels)))

    def default_metric(self, labels: Sequence[Any], names: Sequence[str]) -> tuple[str, str]:  # noqa: ARG002 always the same
        """Micro-F1."""
        return "micro_f1", ""

    def answers(self, predictions: NDArray[Any], names: Sequence[str]) -> list[Any]:
        """Lists of names."""
        return [[name for name, there in zip(names, row, strict=True) if there] for row in predictions]

    def held(self, label: Any) -> tuple[int, ...]:
        """The labels that are there."""
        return tuple(index for index, there in enumerate(label) if there)

    def strata(self, labels: Sequence[Any]) -> list[int]:
        """Equal rows make one where there are `FEWEST_OF_A_ROW` of them; the other examples are told apart by their rarest label alone."""
        rows = [self.held(label) for label in labels]
        same, with_label = Counter(rows), Counter(index for row in rows for index in row)
        keys = [
            row if same[row] >= FEWEST_OF_A_ROW else (-1, *sorted(row, key=lambda index: (with_label[index], index))[:1]) for row in rows
        ]
        known = {key: number for number, key in enumerate(sorted(set(keys)))}
        return [known[key] for key in keys]

    def constant(self, labels: Sequence[Any], metric: Metric) -> tuple[Any, str]:
        """The row with the best score on these labels: the most frequent one, or so many of the most frequent labels.

        The most frequent row is often the empty one, which has no F1.
        """
        rows = np.asarray(labels, np.float64)
        order = np.argsort(-rows.sum(axis=0), kind="stable")
        frequent = [np.isin(np.arange(len(order)), order[:count]).astype(int).tolist() for count in range(1, len(order) + 1)]
        tried = [super().constant(labels, metric)[0], *map(tuple, frequent)]
        best = max(tried, key=lambda row: metric.sign * metric.value(np.broadcast_to(row, rows.shape), rows))
        return best, "the same labels"


class QuestionAnswering(TaskKind):
    """A question on a passage: predictions are pieces of it, or an empty text where it has no answer; labels as `answers.as_label` says.

    The head gives each token two logits, that the answer starts or ends there. What is made of them for a whole example, `C` = 4, is where
    the best piece starts and ends, in characters, its score, and that of no answer (the first token's).
    """

    name = "question-answering"
    problem_type = ""
    reads_tokens = True
    example = "a piece of the passage"

    def outputs(self, names: Sequence[str]) -> int:  # noqa: ARG002 it has none
        """Of a token: start and end."""
        return 2

    def losses(self, logits: "Tensor", labels: "Tensor", scales: Sequence[LabelScale]) -> "Tensor":  # noqa: ARG002 they have none
        """Cross-entropy over tokens, the mean of start and end; logits ``(N, B, T, 2)``, labels ``(N, B, 2)``, places of tokens."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(logits.permute(0, 2, 1, 3), labels.long(), reduction="none").mean(2)

    def predictions(self, logits: NDArray[np.floating], scale: LabelScale, passages: Sequence[str] = ()) -> NDArray[np.str_]:
        """``(n,)``, pieces of the `passages`; an empty text where the piece is less probable than the threshold (see `_chances`)."""
        rows = zip(logits[:, :2].astype(np.int64).tolist(), self._chances(logits) >= scale.threshold, passages, strict=True)
        return np.asarray([passage[start:end] if there else "" for (start, end), there, passage in rows], str)

    def _chances(self, logits: NDArray[np.floating]) -> Floats:
        """``(n,)``, the probability of the best piece, where the only other choice is no answer."""
        return np.asarray(1 / (1 + np.exp(np.clip(logits[:, 3] - logits[:, 2].astype(np.float64), -700, 700))), np.float64)

    def fitted(
        self,
        scale: LabelScale,
        logits: NDArray[np.floating],
        labels: NDArray[Any],
        metric: Metric,
        passages: Sequence[str] = (),
    ) -> LabelScale:
        """The threshold with the best score on select; 0, so that there always is an answer, where all questions of select have one."""
        if all(map(answers_of, labels.tolist())):
            return replace(scale, threshold=0.0)
        return replace(
            scale,
            threshold=_best_threshold(
                lambda threshold: metric.sign * metric.value(self.predictions(logits, LabelScale(threshold=threshold), passages), labels)
            ),
        )

    def default_metric(self, labels: Sequence[Any], names: Sequence[str]) -> tuple[str, str]:  # noqa: ARG002 always the same
        """SQuAD's F1."""
        return "answer_f1", ""

    def answers(self, predictions: NDArray[Any], names: Sequence[str]) -> list[Any]:  # noqa: ARG002 they have none
        """The texts."""
        return [str(text) for text in predictions]

    def strata(self, labels: Sequence[Any]) -> list[int]:
        """Whether there is an answer."""
        return [int(bool(answers_of(label))) for label in labels]

    def constant(self, labels: Sequence[Any], metric: Metric) -> tuple[Any, str]:  # noqa: ARG002 nothing else is the same throughout
        """No answer."""
        return "", "no answer"

    def is_constant(self, predictions: NDArray[Any]) -> bool:
        """Whether the same is said throughout."""
        return len(set(predictions.tolist())) == 1


def _best_threshold(score: Callable[[float], float]) -> float:
    """Of equals the one that is nearest to one half."""
    return max(THRESHOLDS, key=lambda threshold: (score(threshold), -abs(threshold - 0.5)))


KINDS: dict[str, TaskKind] = {kind.name: kind for kind in (Classification(), Regression(), MultiLabel(), QuestionAnswering())}
