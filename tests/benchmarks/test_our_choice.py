"""What a contender without finalists is given."""

from benchmarks.our_choice import FOR_WRITING, _of_a_search


def test_a_plain_search_has_all_the_time_and_trains_in_full(tmp_path):
    for name, count in (("train", 60), ("test", 20)):
        rows = [f"{name} text {number},{'yes' if number % 2 else 'no'}" for number in range(count)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *rows]))
    files = {name: str(tmp_path / f"{name}.csv") for name in ("train", "test")}
    given = _of_a_search({"options": files | {"text_columns": "text", "label_column": "label", "k": 60, "epochs": 30}, "seed": 10_000})
    assert given == {"finalist_share": FOR_WRITING, "min_steps": 90}  # 42 of the 60 to train on, 3 batches, 30 epochs
