"""What is shown of addresses: never a user, a password or a token."""

import pytest

from pelt_automl.printable import printable_uri, without_secrets


@pytest.mark.parametrize(
    ("uri", "printed"),
    [
        ("https://anna:s3cret@mlflow.example/x?y=1", "https://mlflow.example/x?y=1"),
        ("postgresql://anna:a@b@db:5432/mlflow", "postgresql://db:5432/mlflow"),
        ("anna:s3cret@hub.example:8080/x", "hub.example:8080/x"),
        ("http://anna:s3cret@[broken", "http://[broken"),
        ("https://hub.example/hf_abcdefghijklmnop1234", "https://hub.example/hf_..."),
        ("sqlite:////tmp/mlflow.db", "sqlite:////tmp/mlflow.db"),
        ("sqlite:///a@b/mlflow.db", "sqlite:///a@b/mlflow.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("http://host/a@b", "http://host/a@b"),
    ],
)
def test_a_printed_address_has_no_password_and_is_otherwise_whole(uri, printed):
    assert printable_uri(uri) == printed


def test_a_text_loses_the_passwords_of_all_its_addresses():
    text = "no way from http://anna:a@b@host/x to https://ben:c@other, ask d@example"
    assert without_secrets(text) == "no way from http://host/x to https://other, ask d@example"
