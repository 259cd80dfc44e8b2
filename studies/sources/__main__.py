"""``python -m studies.sources``: the list of the table's tasks, with how learnable they are."""

import argparse
import sys
from collections.abc import Sequence

import pandas as pd

from pelt_automl.errors import PeltError, TaskError
from studies.sources.registry import CANDIDATES
from studies.sources.rows import usual_places
from studies.sources.standing import COMMITTED, KS, Standing, check, committed, record


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 2 where a task can't be made, or isn't what is committed."""
    parser = argparse.ArgumentParser(prog="python -m studies.sources", description=__doc__)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="only these tasks (default: all)")
    parser.add_argument("--check", action="store_true", help="make the tasks, fetching what is missing, and compare them with their hashes")
    parser.add_argument("--record", action="store_true", help="make the tasks, measure how learnable they are, and write sources.json")
    asked = parser.parse_args(arguments)
    standing = committed()
    if unknown := [name for name in asked.tasks if name not in CANDIDATES]:
        print(f"there is no task {', '.join(unknown)}; the tasks are {', '.join(CANDIDATES)}", file=sys.stderr)
        return 2
    tasks = asked.tasks or list(CANDIDATES)
    if asked.check:
        return _check(tasks, standing)
    try:
        if asked.record:
            from pelt_automl.backbones.loading import load_backbone

            standing = record(tasks, standing, usual_places(), load_backbone("minilm", precision="fp32"), COMMITTED)
        return _list(tasks, standing)
    except PeltError as error:
        print(error, file=sys.stderr)
        return 2


def _list(tasks: Sequence[str], standing: Standing) -> int:
    rows = []
    for name in (name for name in tasks if name in standing.tasks):
        entry, source = standing.tasks[name], CANDIDATES[name].source
        row = {"task": name, "source": source, "classes": len(entry["classes"]) or "numbers", "report": entry["sizes"]["report"]}
        for k in KS:
            figures = entry["probe"][str(k)]
            row |= {f"constant, K={k}": f"{figures['constant']:.3f}", f"probe, K={k}": "{score:.3f} ± {error:.3f}".format(**figures)}
        rows.append(row | {"": "sealed" if source in standing.sealed else "" if standing.learnable(name) else "not learnable: left out"})
    print(pd.DataFrame(rows).to_string(index=False))
    good = [name for name in standing.tasks if standing.learnable(name)]
    count = len({CANDIDATES[name].source for name in good})
    print(f"\n{count} sources with {len(good)} learnable tasks; sealed are {', '.join(standing.sealed) or 'none'}.")
    print("constant, probe: accuracy of the most frequent class and of a linear probe, out of fold inside train.")
    print("For numbers the probe's figure is Spearman's correlation.")
    return 0


def _check(tasks: Sequence[str], standing: Standing) -> int:
    """Makes every one of them, and says of each whether it is what is committed."""
    places, wrong = usual_places(), 0
    for name in tasks:
        try:
            if name not in standing.tasks:
                raise TaskError("nothing is committed of it yet")
            for k in KS:
                check(CANDIDATES[name].read(places, k), standing.tasks[name])
            print(f"{name}: as committed")
        except PeltError as error:
            wrong += 1
            print(f"{name}: {str(error).removeprefix(f'{name}: ')}", file=sys.stderr)
    return 2 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
