"""What labels mean as a column, where one alone doesn't tell: decimal commas, codes, spellings of one class, classes called ``NA``."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from pelt_automl.tasks.labels import MAYBE_MISSING, integral, is_number, same_class, shortened

Labels = Sequence[str | None]

_WITH_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)
_FRACTION = re.compile(r"[+-]?\d*\.(?P<digits>\d*[1-9]\d*)", re.ASCII)
_PADDED = re.compile(r"[+-]?0\d")
_BETWEEN = re.compile(r"[,;|+/&]")
SHOWN = 3


def examples(labels: Sequence[str]) -> str:
    """The first few, in quotes."""
    return ", ".join(shortened(label) for label in list(dict.fromkeys(labels))[:SHOWN])


def _present(labels: Labels) -> list[str]:
    return [label for label in labels if label is not None]


def without_commas(labels: Labels) -> tuple[list[str | None], str, str]:
    """Labels with decimal points in place of decimal commas, when all are numbers so; with what is to be noted, and what is wrong."""
    present = [label for label in _present(labels) if same_class(label) not in MAYBE_MISSING]
    commas = [label for label in present if _WITH_COMMA.fullmatch(label)]
    if not commas or not all(is_number(label.replace(",", ".", 1)) for label in present):
        return list(labels), "", ""
    points = [label for label in present if "." in label]
    if points:
        return list(labels), "", f"labels with decimal commas ({examples(commas)}) and with points ({examples(points)}); write them alike"
    if all(_THOUSANDS.fullmatch(label) for label in commas):
        one = commas[0]
        either = f"{one.replace(',', '')} or {one.replace(',', '.')}"
        return list(labels), "", f"labels such as {examples(commas)} may mean {either}; write them without a comma"
    changed = [label.replace(",", ".", 1) if label is not None else None for label in labels]
    return changed, f"labels such as {examples(commas)} are read as numbers with decimal commas", ""


def without_missing(labels: Labels) -> list[str | None]:
    """Where all others are numbers, ``NA`` and its like are no label."""
    present = _present(labels)
    words = [label for label in present if not is_number(label)]
    if len(words) == len(present) or not all(same_class(label) in MAYBE_MISSING for label in words):
        return list(labels)
    return [None if label is not None and same_class(label) in MAYBE_MISSING else label for label in labels]


def as_integers(columns: Mapping[str, Labels]) -> dict[str, list[str | None]]:
    """``1.0`` as ``1`` where no label of any split has a fraction: beside ``1.1``, ``1.0`` may be a name."""
    present = [label for labels in columns.values() for label in _present(labels)]
    if any(_FRACTION.fullmatch(label) for label in present):
        return {split: list(labels) for split, labels in columns.items()}
    return {split: [None if label is None else integral(label) for label in labels] for split, labels in columns.items()}


def look_like_codes(labels: Sequence[str]) -> str:
    """Why numbers with fractions may be names of versions, articles or diseases, or empty: nobody writes amounts so."""
    fractions = {label: match["digits"] for label in dict.fromkeys(labels) if (match := _FRACTION.fullmatch(label))}
    padded = [label for label in fractions if _PADDED.match(label)]
    ends_in_zero = [label for label, digits in fractions.items() if digits.endswith("0")]
    longest = max((len(fractions[label]) for label in ends_in_zero), default=0)
    shorter = [label for label in dict.fromkeys(labels) if 0 < len(label.partition(".")[2]) < longest]
    if not padded and not (ends_in_zero and shorter):
        return ""
    shown = padded[:SHOWN] if padded else [*ends_in_zero[:2], shorter[0]]
    return f"labels such as {examples(shown)} look like codes, and may be amounts"


def spellings(train: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """By what spellings have in common: the most frequent one in train; and notes on those that are taken for it."""
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for label in train:
        groups[same_class(label)][label] += 1
    names = {key: max(sorted(counts), key=counts.__getitem__) for key, counts in groups.items()}
    notes = []
    for key, counts in sorted(groups.items()):
        if len(counts) > 1:
            written = ", ".join(f"{shortened(label)} ({count})" for label, count in counts.most_common(SHOWN + 1))
            notes.append(
                f"labels that differ in capitals alone are one class, {shortened(names[key])}: {written}; rename one to keep them apart"
            )
    return names, notes


def by_value(names: Sequence[str]) -> dict[float, str]:
    """Classes that are numbers by their value, where no other class has it: ``01`` for 1."""
    values = Counter(float(name) for name in names if is_number(name))
    return {float(name): name for name in names if is_number(name) and values[float(name)] == 1}


def odd_classes(labels: Sequence[str]) -> list[str]:
    """Notes on classes that may be no classes: ``NA``, several labels in one, numbers that are written in two ways."""
    counts = Counter(labels)
    notes = [
        f"the label {shortened(label)} ({counts[label]} times) is taken as a class; if it means that there is no label, drop these rows"
        for label in sorted(counts)
        if same_class(label) in MAYBE_MISSING
    ]
    keys = {same_class(label) for label in counts}
    several = [label for label in counts if len(parts := _BETWEEN.split(label)) > 1 and all(same_class(p.strip()) in keys for p in parts)]
    if several:
        notes.append(
            f"labels such as {examples(sorted(several))} look like several labels of one example; each is taken as a class of its own"
        )
    by_number: dict[float, list[str]] = defaultdict(list)
    for label in sorted(counts):
        if is_number(label):
            by_number[float(label)].append(label)
    alike = [written for written in by_number.values() if len(written) > 1]
    return notes + [
        f"the labels {examples(written)} are the same number, but different classes; write them alike if they are one" for written in alike
    ]
