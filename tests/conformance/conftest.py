"""One family after the other: its trainings are made once, for all tests of all files."""

import pytest

from tests.conformance.laboratory import laboratory
from tests.tiny import by_structure


@pytest.fixture(scope="session", params=by_structure())
def family(request):
    """Every architecture; in `make test` one of each structure."""
    return request.param


@pytest.fixture(scope="session")
def lab(family):
    """The trainings of all methods on this family."""
    return laboratory(family)


@pytest.fixture(scope="session")
def written(lab, tmp_path_factory):
    """A folder with the family's winners and paused trainings."""
    folder = tmp_path_factory.mktemp("conformance") / lab.family
    lab.write(folder)
    return folder
