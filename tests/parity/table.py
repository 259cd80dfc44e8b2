"""Print the table of parity: the largest absolute difference of each case, `PYTHONPATH=. python tests/parity/table.py`."""

import torch

from tests.parity import test_adapters, test_peft


def main() -> None:
    """One row a case; the last column is what the differences of the gradients are to be seen against."""
    torch.set_num_threads(1)
    for peer, rows in (
        ("adapters 1.3.0", [test_adapters.compare(name, method).row(name) for name, method in test_adapters.CASES.items()]),
        ("peft", [test_peft.compare(case).row(f"{case.architecture}-{case.name.split('-')[0]}") for case in test_peft.CASES]),
    ):
        print(f"\n| {peer} | output | gates | gradients | largest gradient |\n|---|---|---|---|---|")
        print("\n".join(rows))


if __name__ == "__main__":
    main()
