"""What labels mean as a column, where one alone doesn't tell: decimal commas, codes, spellings of one class, classes called ``NA``."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pelt_automl.tasks.labels import MAYBE_MISSING, integral, is_number, same_class, shortened

Labels = Sequence[str | None]

_UNIT = r"%|\u2030|(?:US|CA|C|AU|A|R)?[$\u00a2-\u00a5\u20a0-\u20cf]|(?:EUR|USD|GBP|CHF|JPY|PLN|CZK|SEK|NOK|DKK|z\u0142|K\u010d)(?![^\W\d_])"
_SIGN = r"[+\-\u2010-\u2013\u2212]?"
_DIGITS = r"[.,]?[0-9](?:[0-9.,]|[ '\u2019](?=[0-9]{3}))*"
_AMOUNT = re.compile(
    rf"(?P<sign>{_SIGN}) ?(?P<before>{_UNIT})? ?(?P<inner>{_SIGN}) ?(?P<digits>{_DIGITS}) ?(?P<after>{_UNIT})?",
)
"""A number as people write it, with a percent sign or a currency."""
_SPACED = re.compile(r"\d{1,3}(?:[ '\u2019]\d{3})+(?:[.,]\d+)?", re.ASCII)
_COMMA_GROUPS = re.compile(r"[+-]?\d{1,3}(?:(?:,\d{3})+\.\d+|(?:,\d{3}){2,})", re.ASCII)
_POINT_GROUPS = re.compile(r"[+-]?\d{1,3}(?:(?:\.\d{3})+,\d+|(?:\.\d{3}){2,})", re.ASCII)
_GROUPED = re.compile(r"\d[ '\u2019.,]\d{3}")
_POINT_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}", re.ASCII)
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


@dataclass(frozen=True)
class Amounts:
    """Labels of one column, with those that are numbers for people as numbers for programs."""

    labels: list[str | None]
    note: str = ""
    problem: str = ""
    """Why they can't be told; then `labels` are as they were."""
    unit: str = ""
    """The percent sign or currency that all of them have."""
    marked: tuple[str, ...] = ()
    """Those with a unit or with separated thousands: hardly names of classes."""


def _bare(label: str) -> tuple[str, str] | None:
    """Sign and digits without spaces, and the unit; None for what is no amount."""
    if is_number(label):
        return label, ""
    match = _AMOUNT.fullmatch(label)
    if match is None or (match["sign"] and match["inner"]) or (match["before"] and match["after"]):
        return None
    digits = match["digits"]
    if _SPACED.fullmatch(digits):
        digits = re.sub(r"[ '\u2019]", "", digits)
    sign = match["sign"] or match["inner"]
    bare = (sign if sign in ("", "+") else "-") + digits
    if not (is_number(bare.replace(",", ".", 1)) or _COMMA_GROUPS.fullmatch(bare) or _POINT_GROUPS.fullmatch(bare)):
        return None
    return bare, match["before"] or match["after"] or ""


def amounts(labels: Labels) -> Amounts:
    """Decimal commas, separated thousands, currencies, percent and other minus signs read as numbers, where most labels are numbers."""
    present = [label for label in _present(labels) if same_class(label) not in MAYBE_MISSING]
    found = {label: bare for label in dict.fromkeys(present) if (bare := _bare(label)) is not None}
    if all(map(is_number, found)) or 2 * sum(label in found for label in present) <= len(present):
        return Amounts(list(labels))
    units = {unit: [label for label in found if found[label][1] == unit] for _, unit in found.values()}
    if len(units) > 1:
        each = " and ".join(f"{f'with {unit}' if unit else 'without a sign'} ({examples(of)})" for unit, of in sorted(units.items()))
        return Amounts(list(labels), problem=f"labels {each}; write them alike")
    plain, problem = _one_separator({label: digits for label, (digits, _) in found.items()})
    if problem:
        return Amounts(list(labels), problem=problem)
    unit = next(iter(units))
    changed = [label for label in found if plain[label] != label]
    simple = all(label.replace(",", ".", 1) == plain[label] for label in changed)
    how = "numbers with decimal commas" if simple else f"the numbers {', '.join(plain[label] for label in changed[:SHOWN])}"
    marked = tuple(label for label in changed if unit or _GROUPED.search(label))
    note = f"labels such as {examples(changed)} are read as {how}" if changed else ""
    return Amounts([None if label is None else plain.get(label, label) for label in labels], note, "", unit, marked)


def _one_separator(bare: dict[str, str]) -> tuple[dict[str, str], str]:
    """The labels with points for decimals and nothing between thousands; or why that can't be told."""
    by_comma = [label for label, digits in bare.items() if _COMMA_GROUPS.fullmatch(digits)]
    by_point = [label for label, digits in bare.items() if _POINT_GROUPS.fullmatch(digits)]
    both = "labels with decimal commas ({}) and with points ({}); write them alike"
    if by_comma and by_point:
        return {}, both.format(examples(by_point), examples(by_comma))
    for grouped, short, separator in ((by_comma, _THOUSANDS, ","), (by_point, _POINT_THOUSANDS, ".")):
        if grouped:
            bare = {
                label: digits.replace(separator, "") if label in grouped or short.fullmatch(digits) else digits
                for label, digits in bare.items()
            }
    commas = [label for label, digits in bare.items() if "," in digits]
    points = [label for label, digits in bare.items() if "." in digits]
    if commas and (points or by_comma):
        return {}, both.format(examples(commas), examples(points or by_comma))
    if points and by_point:
        return {}, both.format(examples(by_point), examples(points))
    if commas and all(_THOUSANDS.fullmatch(bare[label]) for label in commas):
        one = bare[commas[0]]
        either = f"{one.replace(',', '')} or {one.replace(',', '.')}"
        return {}, f"labels such as {examples(commas)} may mean {either}; write them without a comma"
    return {label: digits.replace(",", ".", 1) for label, digits in bare.items()}, ""


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
    # Decimal commas count as points, but a message shows what stands in the file.
    pointed = {label: label.replace(",", ".", 1) for label in labels}
    fractions = {label: match["digits"] for label, number in pointed.items() if (match := _FRACTION.fullmatch(number))}
    padded = [label for label in fractions if _PADDED.match(label)]
    ends_in_zero = [label for label, digits in fractions.items() if digits.endswith("0")]
    longest = max((len(fractions[label]) for label in ends_in_zero), default=0)
    shorter = [label for label, number in pointed.items() if 0 < len(number.partition(".")[2]) < longest]
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


def match(labels: Sequence[str], file: str, index: dict[str, int], names: tuple[str, ...], train: str) -> list[str]:
    """Labels of another file that mean a class of train, but are written otherwise: notes on them; `index` learns them.

    ``TRUE`` is ``True``; where train has ``01``, a file of integers can only say ``1``.
    """
    others, notes = by_value(names), []
    for label in dict.fromkeys(labels):
        if label in names:
            continue
        if same_class(label) not in index and is_number(label) and float(label) in others:
            index[same_class(label)] = names.index(others[float(label)])
        if (own := index.get(same_class(label))) is not None:
            notes.append(f"{file}: the label {shortened(label)} is taken as {shortened(names[own])} of {train}")
    return notes


def _between(several: Sequence[str]) -> str:
    """What most of these labels have between their parts."""
    found: Counter[str] = Counter(mark for label in several for mark in _BETWEEN.findall(label))
    return found.most_common(1)[0][0]


def odd_classes(labels: Sequence[str]) -> list[str]:
    """Notes on classes that may be no classes: ``NA``, several labels in one, numbers that are written in two ways."""
    counts = Counter(labels)
    notes = [
        f"the label {shortened(label)} ({counts[label]} times) is taken as a class; if it means that there is no label, drop these rows"
        for label in sorted(counts)
        if same_class(label) in MAYBE_MISSING
    ]
    parts = {label: [part.strip() for part in _BETWEEN.split(same_class(label))] for label in counts}
    recurring = Counter(part for own in parts.values() for part in set(own) if part)  # a class of its own counts, too
    several = [label for label, own in parts.items() if len(own) > 1 and all(recurring[part] > 1 for part in own)]
    if several:
        notes.append(
            f"labels such as {examples(sorted(several))} look like several labels of one example; each is taken as a class of its own "
            f"(--label-separator {shortened(_between(several))} takes them apart)"
        )
    by_number: dict[float, list[str]] = defaultdict(list)
    for label in sorted(counts):
        if is_number(label):
            by_number[float(label)].append(label)
    alike = [written for written in by_number.values() if len(written) > 1]
    return notes + [
        f"the labels {examples(written)} are the same number, but different classes; write them alike if they are one" for written in alike
    ]
