import importlib
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
import yaml
from cronsim import CronSim
from prefect import Flow
from prefect.events import EventTrigger
from prefect.events.schemas.automations import Posture

from flows import place_keeper
from flows.dead_runs import RESUMABLE, SILENCE, STARTED_AGAIN
from flows.stack_side import _follow_code
from pelt_automl.announcing import EVENT
from pelt_automl.options import settings_from
from pelt_automl.settings import options

ROOT = Path(__file__).resolve().parents[2]
DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]


def entrypoint(deployment):
    path, name = deployment["entrypoint"].split(":")
    return getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)


def test_the_deployments_have_the_names_that_readme_and_docs_type():
    names = [f"{entrypoint(deployment).name}/{deployment['name']}" for deployment in DEPLOYMENTS]
    own = ["select-pelt/default", "reevaluate-tasks/nightly", "reproduce-unipelt/default", "reevaluate-tasks/announced"]
    assert names == [*own, "pelt-worker/default", "resume-killed/automatic"]


def test_selections_never_take_a_workers_place_and_workers_are_started_by_the_name_that_they_are_deployed_under():
    pools = [deployment["work_pool"]["name"] for deployment in DEPLOYMENTS]
    assert pools == ["pelt"] * 4 + ["gpu", "pelt"], "a selection that waits for workers in its own full pool would wait for ever"
    assert place_keeper.DEPLOYMENT == "pelt-worker/default"
    assert set(entrypoint(DEPLOYMENTS[4]).parameters.properties) == {"address", "worker", "versions"}, "and no secret"


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["entrypoint"])
def test_every_entrypoint_is_a_flow_that_takes_the_deployments_parameters(deployment):
    flow = entrypoint(deployment)
    assert isinstance(flow, Flow)
    assert set(deployment.get("parameters", {})) <= set(flow.parameters.properties)
    assert (ROOT / deployment["entrypoint"].split(":")[0]).is_file()


def test_make_up_gives_a_deployment_that_is_there_the_parameters_that_are_made_from_the_settings(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PELT_AUTOML_ROOT", str(ROOT))
    sent = []
    client = SimpleNamespace(update_deployment=lambda deployment, change: sent.append(change))
    there = SimpleNamespace(id="d", entrypoint="flows/select_pelt.py:select_pelt", parameter_openapi_schema={}, pull_steps=[])
    _follow_code(client, there, there.entrypoint)
    assert set(sent[0].parameter_openapi_schema["properties"]) == {"output", *options()}
    there.parameter_openapi_schema, there.pull_steps = sent[0].parameter_openapi_schema, sent[0].pull_steps
    _follow_code(client, there, there.entrypoint)
    assert len(sent) == 1, "what is up to date stays"


def test_the_schedule_has_a_cron_and_a_time_zone_and_never_runs_twice_at_once():
    nightly = DEPLOYMENTS[1]
    for schedule in nightly["schedules"]:
        CronSim(schedule["cron"], datetime(2026, 1, 1, tzinfo=UTC))
        assert ZoneInfo(schedule["timezone"])
    assert nightly["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}


def test_an_announced_task_starts_the_flow_that_looks_at_it_and_waits_for_its_turn():
    announced = DEPLOYMENTS[3]
    (trigger,) = announced["triggers"]
    assert trigger["expect"] == [EVENT]
    assert trigger["parameters"] == {"announced": "{{ event.payload }}"}
    assert announced["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


def test_every_task_file_that_is_shipped_has_only_fields_that_the_flow_knows():
    files = sorted((ROOT / "tasks.d").glob("**/*.yaml"))
    assert files
    for file in files:
        fields = yaml.safe_load(file.read_text())
        assert set(fields) <= set(options()), file
        settings_from(**fields)


def test_what_starts_killed_selections_again_is_asked_by_a_crash_of_theirs_and_by_heartbeats_that_stop_for_longer_than_it_wants_itself():
    crashed, silent = (EventTrigger.model_validate({"posture": "Reactive"} | trigger) for trigger in DEPLOYMENTS[5]["triggers"])
    assert crashed.expect == {"prefect.flow-run.Crashed"}
    assert sorted(crashed.match_related["prefect.resource.name"]) == sorted(RESUMABLE)
    assert f"prefect.flow-run.{STARTED_AGAIN}" not in crashed.expect, "it would start itself for ever"
    assert (silent.posture, silent.after, silent.for_each) == (Posture.Proactive, {"prefect.flow-run.heartbeat"}, {"prefect.resource.id"})
    assert silent.within > SILENCE
