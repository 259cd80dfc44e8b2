"""Outputs as files by hash: what is read is what was written, or nothing."""

import hashlib
import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from pelt_automl.errors import SelectionError
from pelt_automl.log.outputs import Outputs

OUTPUTS = {
    "class indices": np.array([0.0, 2.0, 1.0]),
    "whole numbers": np.array([0, 2, 1]),
    "numbers": np.array([0.1, -1e30, 5e-324, np.nan, np.inf]),
    "several labels": np.array([[1, 0, 1], [0, 0, 0]], np.int8),
    "logits": np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32),
    "spans": np.array([[3, 7], [0, 0]]),
    "nothing": np.zeros((0, 2)),
    "columns of another array": np.arange(12.0).reshape(4, 3)[:, ::2],
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_arrays_come_back_as_they_were(name, tmp_path):
    reference = Outputs(tmp_path / "outputs").put(OUTPUTS[name])
    found = Outputs(tmp_path / "outputs").get(reference)
    assert found.dtype == OUTPUTS[name].dtype
    np.testing.assert_array_equal(found, OUTPUTS[name])


@pytest.mark.parametrize("texts", [["a", "", "naïve \U0001f600\nline"], [["two", "texts"], ["one"]], [[1], [2, 3]], [None, "x"]])
def test_other_values_come_back_as_they_were(texts, tmp_path):
    assert Outputs(tmp_path).get(Outputs(tmp_path).put(texts)) == texts


def test_lists_of_numbers_are_arrays(tmp_path):
    np.testing.assert_array_equal(Outputs(tmp_path).get(Outputs(tmp_path).put([[1, 0], [0, 1]])), [[1, 0], [0, 1]])


def test_a_file_is_named_by_its_content_and_read_by_other_programs(tmp_path):
    numbers, texts = Outputs(tmp_path).put([1.0, 2.0]), Outputs(tmp_path).put(["a", "b"])
    for reference in (numbers, texts):
        assert hashlib.sha256((tmp_path / reference).read_bytes()).hexdigest() == reference.partition(".")[0]
    assert load_file(tmp_path / numbers)["outputs"].tolist() == [1.0, 2.0]
    assert json.loads((tmp_path / texts).read_text()) == ["a", "b"]


def test_the_same_outputs_have_one_file_and_others_another(tmp_path):
    assert Outputs(tmp_path).put([1.0, 2.0]) == Outputs(tmp_path).put(np.array([1.0, 2.0]))
    assert len({Outputs(tmp_path).put(values) for values in ([1.0, 2.0], [2.0, 1.0], [[1.0], [2.0]], ["1.0", "2.0"])}) == 4
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("outputs", [[1.0, 2.0], ["a", "b"]])
@pytest.mark.parametrize("damage", ["missing", "cut", "one bit", "longer", "empty", "a folder"])
def test_what_was_damaged_is_one_clear_error(outputs, damage, tmp_path):
    path = tmp_path / Outputs(tmp_path).put(outputs)
    content = bytearray(path.read_bytes())
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    elif damage != "missing":
        content[-1] ^= damage == "one bit"
        path.write_bytes({"cut": content[:-1], "longer": content + b" ", "empty": b""}.get(damage, content))
    assert not Outputs(tmp_path).holds(path.name)
    with pytest.raises(SelectionError, match=path.name):
        Outputs(tmp_path).get(path.name)


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_a_foreign_file_under_the_right_hash_is_refused(suffix, tmp_path):
    path = tmp_path / (hashlib.sha256(b"\x00foreign").hexdigest() + suffix)
    path.write_bytes(b"\x00foreign")
    with pytest.raises(SelectionError, match="no outputs that this version has written"):
        Outputs(tmp_path).get(path.name)


@pytest.mark.parametrize("reference", ["a\0b", "\ud800", "a" * 300, "../secret.json", "/etc/passwd", "", "."])
def test_a_reference_to_elsewhere_is_refused(reference, tmp_path):
    (tmp_path / "secret.json").write_text("[1]")
    (tmp_path / "outputs").mkdir()
    with pytest.raises(SelectionError):
        Outputs(tmp_path / "outputs").get(reference)


def test_a_file_is_read_once(tmp_path):
    outputs = Outputs(tmp_path)
    reference = outputs.put([1.0, 2.0])
    assert outputs.holds(reference)
    (tmp_path / reference).unlink()
    assert outputs.get(reference).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("name", OUTPUTS)
def test_without_a_folder_outputs_are_in_the_reference(name):
    outputs = OUTPUTS[name]
    np.testing.assert_array_equal(Outputs().get(Outputs().put(outputs)), outputs.reshape(-1, 2)[:0, 0] if name == "nothing" else outputs)


def test_without_a_folder_texts_are_in_the_reference_too(tmp_path):
    assert Outputs(tmp_path).get(Outputs().put(["a", "naïve"])) == ["a", "naïve"]


@pytest.mark.parametrize("reference", ["[", "[1, 2", "ab12.safetensors", ""])
def test_without_a_folder_what_is_no_list_is_one_clear_error(reference):
    with pytest.raises(SelectionError):
        Outputs().get(reference)


@pytest.mark.parametrize("content", ["5", '{"a": 1}', '"abc"', "null"])
def test_what_isnt_a_value_for_each_example_is_refused(content, tmp_path):
    path = tmp_path / f"{hashlib.sha256(content.encode()).hexdigest()}.json"
    path.write_text(content)
    with pytest.raises(SelectionError, match="a value for each example is expected"):
        Outputs(tmp_path).get(path.name)


def test_a_single_number_is_refused(tmp_path):
    from safetensors.numpy import save

    content = save({"outputs": np.array(5.0)})
    path = tmp_path / f"{hashlib.sha256(content).hexdigest()}.safetensors"
    path.write_bytes(content)
    with pytest.raises(SelectionError, match="a value for each example is expected"):
        Outputs(tmp_path).get(path.name)


def test_a_list_that_no_file_could_hold_is_one_error_and_what_is_lost_says_what_to_do(tmp_path):
    assert Outputs().get('["\\ud800"]') == ["\ud800"]
    with pytest.raises(SelectionError, match=r"can't be read: .*\. Put back a copy of it, or begin again with another --output"):
        Outputs(tmp_path).get(f"{'0' * 64}.json")
