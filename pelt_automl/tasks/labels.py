"""Labels as they stand in files: strings, integers, numbers; and the class index or number that they mean.

The same rules hold for every format, so that a class ``1`` is one class whether CSV wrote ``1``, JSON ``"1"`` or pandas ``1.0``.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from math import isfinite, isnan
from typing import Any

from pelt_automl.tasks.examples import Kind

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_INTEGRAL = re.compile(r"([+-]?\d+)\.0*", re.ASCII)
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"))
_LIST = re.compile(r"\[ *\]|\{ *\}|\[.*,.*\]|\{.*,.*\}|[\[{(] *(?P<quote>['\"]).*(?P=quote).*[\]})]", re.DOTALL)
"""A list as a program writes it: with quotes or commas. ``[urgent]``, ``{x}`` and ``(a, b)`` are names."""
MISSING = frozenset({"", "nan", "<na>", "nat", "#n/a", "#n/a n/a", "#na", "#null!"})
"""What is never a label, in small letters: what pandas and Excel write where there is nothing."""
MAYBE_MISSING = frozenset({"na", "n/a", "n.a.", "none", "null", "nil", "missing", "-", "--", "?", "."})
"""What may be a class, or mean that there is none."""
MANY_INTEGERS = 50
"""More different integers than this make one wonder whether they are classes at all."""


class SeveralLabelsError(TypeError):
    """A list where one label is expected."""


def normalize(value: Any) -> str | None:
    """The label as text; None when there is none (empty, null, NaN).

    Raises `SeveralLabelsError` for a list, `TypeError` for what else can't be a label: an object, a date.
    """
    if value is None:
        return None
    if isinstance(value, str):
        text = " ".join(unicodedata.normalize("NFC", value).translate(_INVISIBLE).split())
        if _LIST.fullmatch(text):
            raise SeveralLabelsError
    elif isinstance(value, bool | int):
        text = str(value)
    elif isinstance(value, float | Decimal):
        text = "" if isnan(value) else integral(str(value))
    elif isinstance(value, list | tuple | set | dict):
        raise SeveralLabelsError
    else:
        raise TypeError(f"a label must be text or a number, not {type(value).__name__}")
    return None if text.lower() in MISSING else text


def integral(label: str) -> str:
    """``1.0`` as ``1``; any other label as it is."""
    return match[1] if (match := _INTEGRAL.fullmatch(label)) else label


def same_class(label: str) -> str:
    """What two spellings of one class have in common: all but capitals."""
    return label.casefold()


def shortened(label: str, most: int = 40) -> str:
    """The label in quotes, as messages show it."""
    return repr(label if len(label) <= most else label[:most] + "...")


def is_number(label: str) -> bool:
    """Whether it reads as a finite number."""
    return bool(_NUMBER.fullmatch(label)) and isfinite(float(label))


def kind_of(labels: Iterable[str]) -> Kind:
    """Regression when all labels are numbers and some have a fraction, else classification."""
    distinct = set(labels)
    numbers = all(map(is_number, distinct))
    return "regression" if numbers and any(not float(label).is_integer() for label in distinct) else "classification"


def class_names(labels: Iterable[str]) -> tuple[str, ...]:
    """The distinct labels, numbers by value and words by alphabet."""
    distinct = set(labels)
    if all(map(is_number, distinct)):
        return tuple(sorted(distinct, key=lambda label: (float(label), label)))
    return tuple(sorted(distinct))


def odd_ones(labels: Sequence[str | None], kind: Kind | None) -> tuple[list[int], str]:
    """Indices of labels of the wrong type, and what is wrong with them.

    Without a `kind` from the user, numbers among words are suspect (a shifted column), and so are words among numbers: the fewer of
    the two are reported. A user who says "classification" means them all as names.
    """
    present = {i: is_number(label) for i, label in enumerate(labels) if label is not None}
    if kind == "classification" or not present:
        return [], ""
    words = [i for i, number in present.items() if not number]
    if kind == "regression":
        return words, "not a number, but the task is a regression"
    numbers = [i for i, number in present.items() if number]
    if len(words) <= len(numbers):
        return (words, "words, where the others are numbers") if words else ([], "")
    return numbers, "numbers, where the others are words"


def class_problems(labels: Sequence[str], where: dict[str, str]) -> list[str]:
    """What keeps these labels from being classes: one class only, or classes with one example.

    Args:
        labels: the labels of the training file.
        where: for each class the place of its first example, for the message.
    """
    counts = Counter(labels)
    if len(counts) == 1:
        return [f"all {len(labels)} labels are {shortened(next(iter(counts)))}: a classification needs at least two classes"]
    single = [name for name in class_names(counts) if counts[name] == 1]
    if len(single) > 1 and len(single) > len(counts) / 2 and all(map(is_number, counts)):
        return [f"{len(single)} of {len(counts)} classes have one example only; if the label is an amount, set kind to 'regression'"]
    these = "classes have" if len(single) > 1 else "class has"
    return rare_problems(single, where, f"{these} one example only", "add examples, merge the label into another one, or drop these rows")


def rare_problems(names: Sequence[str], where: Mapping[str, str], what: str, way_out: str) -> list[str]:
    """That these are too rare, or nothing where there are none. `where`: see `class_problems`."""
    if not names:
        return []
    named = ", ".join(f"{shortened(name)}{f' ({where[name]})' if name in where else ''}" for name in names[:10])
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return [f"{len(names)} {what}, too few to train and to select on: {named}{more}; {way_out}"]
