"""What a selection would be asked, without starting it: so that one can tell whether there is an answer already."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pelt_automl.backbones.loading import load_outline
from pelt_automl.search.spaces import load_spaces
from pelt_automl.selection.environment import BY_WHOM, FILES, effort_of, question_of, settings_as_json
from pelt_automl.selection.field import field_of
from pelt_automl.settings import SelectionSettings
from pelt_automl.tasks import name_and_hash


@dataclass(frozen=True)
class Asked:
    """The two keys of a selection, and what they are made of."""

    settings: SelectionSettings
    task: str
    """The data's name, as in the records: of files of one's own, too."""
    data_hash: str
    effort: str
    """See `pelt_automl.selection.environment.effort_of`."""

    @property
    def question(self) -> str:
        """See `pelt_automl.selection.environment.question_of`."""
        return self.question_on(self.data_hash)

    def question_on(self, data_hash: str) -> str:
        """The same question on other data."""
        return question_of(self.settings, data_hash)

    def differences(self, earlier: Mapping[str, Any]) -> list[str]:
        """Each setting that is another one: ``seconds 900, was 600``. `earlier`: a selection's settings, as its records have them."""
        before, now = _flat(earlier), _flat(settings_as_json(self.settings))
        return [
            f"{name} {_said(name, now[name])}, was {_said(name, before[name])}"
            for name in now
            if name in before and now[name] != before[name]
        ]


def asked_of(settings: SelectionSettings) -> Asked:
    """Reads the data and the model's configuration. Raises what `Selection.open` raises for those."""
    table, shape = load_outline(settings.model)
    possible, _ = field_of(settings.search.methods, table, shape, baselines=settings.search.baselines)
    name, data_hash = name_and_hash(settings.task)
    return Asked(settings, name, data_hash, effort_of(settings, load_spaces(settings.search.spaces, possible)))


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by name, without those that are part of neither key."""
    parts = [part for part in settings.values() if isinstance(part, Mapping)]
    flat = {name: value for part in parts for name, value in part.items() if name not in (*FILES, *BY_WHOM, "spaces")}
    return flat | {"model": settings.get("model")}


def _said(name: str, value: Any) -> str:
    if value is None or value == []:
        return "full" if name == "k" else "not given"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
