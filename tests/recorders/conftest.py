"""A SQLite file for each test, made once and copied: creating MLflow's tables takes over a second."""

import shutil

import pytest

from pelt_automl.recorders.mlflow_server import make_client
from tests.recorders.selection_double import write_folder


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    make_client(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def uri(empty_database, tmp_path):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "selection")
