"""A reproduction on a tiny model and a tiny GLUE: what is trained, what is not done again, what is never lost."""

import json

import numpy as np
import pytest

from pelt_automl import cli
from pelt_automl.errors import SelectionError, SettingsError, TaskError
from pelt_automl.reproduction import cell as cell_module
from pelt_automl.reproduction import running
from pelt_automl.reproduction.protocol import Cell
from pelt_automl.scheduling.actions import Budget
from tests.reproduction.tiny_glue import QUICK, opened, write_glue
from tests.tiny_world import Killed


@pytest.fixture(scope="module")
def glue(tmp_path_factory):
    return write_glue(tmp_path_factory.mktemp("glue"))


@pytest.fixture
def run(world, glue, tmp_path):
    """Runs a reproduction in this test's folder; what was said."""

    def started(**more):
        said = []
        reproduction = opened(world, glue, tmp_path / "out", say=said.append, **more)
        table = reproduction.run()
        return table, said

    return started


def lines(tmp_path, name="cola-k16-seed0"):
    return [json.loads(line) for line in (tmp_path / "out" / "runs" / f"{name}.jsonl").read_text().splitlines()]


def begun(said):
    """The cells that were trained, with their methods."""
    return [line for line in said if line.endswith(("lora", "unipelt-ap", "full"))]


def test_every_method_is_trained_on_every_task_and_seed_and_scored_on_the_official_validation_set(run, tmp_path):
    table, _ = run(tasks="cola,rte,stsb", seeds="0,1", methods="full,lora,unipelt-ap")
    assert (table.finished, table.wanted, table.left_out, table.failed) == (18, 18, {}, {})
    [grid] = table.grids
    assert (grid.tasks, [row.method for row in grid.rows]) == (("cola", "rte", "stsb"), ["full", "lora", "unipelt-ap"])
    assert {entry.here.seeds for row in grid.rows for entry in row.entries.values()} == {2}
    run = lines(tmp_path, "stsb-k16-seed1")[0]
    assert (run["metric"], run["sizes"], run["steps"]) == ("spearman", {"train": 16, "select": 44, "report": 24}, 2)
    assert [point["step"] for point in run["curve"]] == [1, 2]
    assert run["backbone"]["precision"] == "fp32"
    assert (tmp_path / "out" / "table.md").read_text().startswith("# UniPELT's tables on ")
    written = json.loads((tmp_path / "out" / "table.json").read_text())
    by_method = {row["method"]: row for row in written["grids"][0]["rows"]}
    scores = [line["report_score"] for seed in (0, 1) for line in lines(tmp_path, f"cola-k16-seed{seed}") if line["method"] == "lora"]
    assert by_method["lora"]["entries"]["cola"]["here"]["mean"] == pytest.approx(50 * sum(scores))


def test_nothing_of_the_users_in_the_folder_where_the_command_is_typed_is_touched(run, tmp_path, monkeypatch):
    own, names = tmp_path / "own", ("model.safetensors", f"{'0' * 64}.safetensors", "notes.txt")
    own.mkdir()
    for name in names:
        (own / name).write_text("mine")
    monkeypatch.chdir(own)
    table, _ = run(tasks="cola", methods="lora")
    assert table.finished == 1
    assert {path.name: path.read_text() for path in own.iterdir()} == dict.fromkeys(names, "mine")


def test_what_is_finished_isnt_done_again_and_the_table_needs_no_model(run, tmp_path, monkeypatch):
    run()
    before = (tmp_path / "out" / "runs" / "cola-k16-seed0.jsonl").read_bytes()
    (tmp_path / "out" / "table.md").unlink()
    monkeypatch.setattr(running, "loaded", None)
    table, said = run()
    assert (table.finished, said) == (2, [])
    assert (tmp_path / "out" / "runs" / "cola-k16-seed0.jsonl").read_bytes() == before
    assert (tmp_path / "out" / "table.md").is_file()


def test_after_a_kill_in_a_line_only_the_missing_run_is_trained_and_ends_as_it_would_have(run, tmp_path):
    run()
    path = tmp_path / "out" / "runs" / "cola-k16-seed0.jsonl"
    whole = lines(tmp_path)
    first, second = path.read_text().splitlines(keepends=True)
    path.write_text(first + second[:100])
    _, said = run()
    assert begun(said) == [f"cola, K=16, seed 0: {whole[1]['method']}"]
    again = lines(tmp_path)
    assert [line["method"] for line in again] == [line["method"] for line in whole]
    assert again[1]["report_score"] == pytest.approx(whole[1]["report_score"], abs=1e-6)


def test_runs_that_have_ended_survive_the_death_of_their_process(world, glue, tmp_path, run):
    def dies(line):
        if "lora: mcc" in line:
            raise Killed

    with pytest.raises(Killed):
        opened(world, glue, tmp_path / "out", say=dies, pack_size=1).run()
    assert [line["method"] for line in lines(tmp_path)] == ["lora"]
    table, said = run(pack_size=1)
    assert begun(said) == ["cola, K=16, seed 0: unipelt-ap"]
    assert table.finished == 2


def test_more_seeds_and_methods_are_added_to_what_is_there(run):
    run(methods="lora")
    _, said = run(methods="lora,unipelt-ap", seeds="0,1")
    assert begun(said) == ["cola, K=16, seed 0: unipelt-ap", "cola, K=16, seed 1: lora, unipelt-ap"]


def test_a_cell_that_another_process_trains_is_left_to_it(world, glue, tmp_path):
    said = []
    reproduction = opened(world, glue, tmp_path / "out", seeds="0,1", say=said.append)
    with reproduction.folder.claim(Cell("cola", 16, 0)) as held:
        assert held
        table = reproduction.run()
    assert begun(said) == ["cola, K=16, seed 1: lora, unipelt-ap"]
    assert (table.finished, table.wanted) == (2, 4)
    assert "[1]" in (tmp_path / "out" / "table.md").read_text(), "the table says that a seed is missing"


def test_a_cell_that_is_let_go_while_others_are_trained_is_taken_up(world, glue, tmp_path):
    """As when its process was killed."""
    reproduction = opened(world, glue, tmp_path / "out", seeds="0,1", methods="lora")
    held = reproduction.folder.claim(Cell("cola", 16, 0))
    held.__enter__()
    reproduction.say = lambda line: held.__exit__(None, None, None) if "seed 1: lora: mcc" in line else None
    assert reproduction.run().finished == 2


def test_a_run_that_fails_is_recorded_with_its_cause_and_loses_no_other(run, tmp_path, monkeypatch):
    predict = cell_module.predict_best

    def fails(trainer, training, tokens):
        if training.name == "lora":
            raise MemoryError("too long")
        return predict(trainer, training, tokens)

    monkeypatch.setattr(cell_module, "predict_best", fails)
    table, _ = run()
    assert {line["method"]: (line["state"], line["cause"]) for line in lines(tmp_path)} == {
        "lora": ("failed", "MemoryError: too long"),
        "unipelt-ap": ("completed", ""),
    }
    assert table.failed == {"cola, K=16, seed 0, lora": "MemoryError: too long"}
    assert table.grids[0].rows[0].entries["cola"].here is None
    monkeypatch.undo()
    assert run()[1] == [], "a failure is a result"
    table, said = run(retry_failed=True)
    assert (begun(said), table.failed, table.finished) == (["cola, K=16, seed 0: lora"], {}, 2)


def test_runs_that_predict_one_class_throughout_are_counted(run, tmp_path, monkeypatch):
    monkeypatch.setattr(cell_module, "predict_best", lambda trainer, training, tokens: np.zeros(len(tokens)))
    table, _ = run(methods="lora", seeds="0,1")
    assert table.constant == {"K=16, cola, lora": "2 of 2"}
    assert lines(tmp_path)[0]["report_score"] == 0.0


def test_when_the_time_is_up_no_half_trained_run_is_recorded(world, glue, tmp_path):
    reproduction = opened(world, glue, tmp_path / "out", seeds="0,1", seconds=60)
    steps = iter([False] * 3)
    reproduction.budget = lambda: Budget(1.0, float(next(steps, True)))  # up after the first step
    table = reproduction.run()
    assert (table.finished, table.wanted) == (0, 4)
    assert "| LoRA, here | - | - |" in (tmp_path / "out" / "table.md").read_text()


def test_tasks_that_cant_be_had_are_listed_with_the_reason_and_the_others_run(run):
    table, said = run(tasks="mnli,cola")
    assert table.finished == table.wanted == 2
    assert list(table.left_out) == ["mnli at K=16"]
    assert "mnli" in table.left_out["mnli at K=16"]
    assert table.grids[0].tasks == ("cola",)
    assert any(line.startswith("left out: mnli at K=16") for line in said)


def test_a_k_that_is_more_than_there_is_is_left_out_alone(run):
    table, _ = run(ks="16,1000", methods="lora")
    assert list(table.left_out) == ["cola at K=1000"]
    assert table.finished == table.wanted == 1


def test_with_all_data_training_examples_select_and_not_those_that_are_reported(run, tmp_path):
    run(ks="full", methods="lora")
    assert lines(tmp_path, "cola-kfull-seed0")[0]["sizes"] == {"train": 42, "select": 18, "report": 24}


def test_fewer_examples_can_be_selected_and_reported_on(run, tmp_path):
    run(select_most=10, report_most=12)
    assert {tuple(line["sizes"].values()) for line in lines(tmp_path)} == {(16, 10, 12)}


@pytest.mark.parametrize("name", ["mine.txt", "runs/mine.jsonl", "protocol.json", "table.md"])
def test_a_folder_of_the_users_is_refused_before_anything_is_written(world, glue, tmp_path, name):
    (tmp_path / "out" / name).parent.mkdir(parents=True)
    (tmp_path / "out" / name).write_text("mine")
    with pytest.raises(SelectionError, match=r"isn't empty and doesn't hold a reproduction .*; nothing was written"):
        opened(world, glue, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == [name.rpartition("/")[2]]
    assert (tmp_path / "out" / name).read_text() == "mine"


def test_a_folder_with_another_protocol_is_refused(run, world, glue, tmp_path):
    run()
    with pytest.raises(SelectionError, match=r"another protocol \(other training; see .*protocol.json\); choose another --output"):
        opened(world, glue, tmp_path / "out", epochs=3)
    opened(world, glue, tmp_path / "out", threads=2, pack_size=1), "what changes no result may change"


def test_methods_that_the_model_lacks_are_left_out(run, monkeypatch):
    monkeypatch.setattr(running, "refusals", lambda modifications, *_: ["it has no heads"] if modifications[0].name == "adapter" else [])
    table, said = run()
    assert {name: why.rpartition(": ")[2] for name, why in table.left_out.items()} == {"unipelt-ap": "it has no heads"}
    assert (begun(said), table.finished, table.wanted) == (["cola, K=16, seed 0: lora"], 1, 1)


def test_when_no_task_can_be_had_that_is_the_error(world, tmp_path):
    with pytest.raises(TaskError, match="mnli"):
        opened(world, None, tmp_path / "out", tasks="mnli").run()


def test_a_time_limit_has_to_be_one(world, glue, tmp_path):
    with pytest.raises(SettingsError, match="seconds is 0; it must be above 0, and finite"):
        opened(world, glue, tmp_path / "out", seconds=0)


def test_the_command_prints_the_table_and_where_it_is(world, glue, tmp_path, monkeypatch, capsys):
    options = [part for name, value in QUICK.items() for part in (f"--{name}", str(value))]
    where = ["--model", str(world.model), "--data-dir", str(glue), "--tasks", "cola", "--output", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", ["pelt-automl", "reproduce-unipelt", *options, *where])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    assert ended.value.code == 0
    assert "2 of 2 runs. Data seeds 0;" in said.out
    assert f"Table:    {tmp_path / 'out' / 'table.md'}" in said.out
    assert "cola, K=16, seed 0: lora, unipelt-ap" in said.err
