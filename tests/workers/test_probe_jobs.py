"""The job of a trial purchase, with the sandbox and without; and what becomes of a job that was to call inside."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from integrations.bus import RedisBus
from integrations.registry import Registry
from models.actions import probes
from models.actions.vault import Vault
from models.rules.states import JobState, Probe, Provider
from models.tables.coursepro import CourseMapping, ProbeRun
from models.tables.job import Job
from models.tables.setting import ApiKey, ProviderSetting
from tests.build import BY, NOW, a_centre, a_membership, a_membership_type
from tests.workers.conftest import Sandbox
from tests.workers.test_package_jobs import Moved, once, silent
from workers.kinds import HANDLERS, RECURRING
from workers.runner import Runner
from workers.work import Outside

pytestmark = pytest.mark.usefixtures("database")
INSIDE = {"client_id": "c", "cart_complete_url": "https://10.0.0.5/c", "user_sync_url": "https://10.0.0.5/u"}


def a_runner(outside: Outside, registry: Registry) -> Runner:
    assert isinstance(outside.bus, RedisBus)
    return Runner(HANDLERS, RECURRING, Outside(registry, Moved(NOW), outside.bus), silent)


@pytest.fixture
async def on_one_machine(outside: Outside, sandbox: Sandbox, secret_key: str) -> AsyncIterator[Runner]:
    """A worker that has the sandbox beside it."""
    registry = Registry(Vault(secret_key), sandbox.urls["admin"])
    yield a_runner(outside, registry)
    await registry.close()


@pytest.fixture
async def in_production(outside: Outside, secret_key: str) -> AsyncIterator[Runner]:
    """A worker that has not."""
    registry = Registry(Vault(secret_key), None)
    yield a_runner(outside, registry)
    await registry.close()


async def probed(runner: Runner, probe: Probe) -> tuple[Job, ProbeRun]:
    """Ask for a trial and let a worker do it."""
    job = await probes.run_probe(probe, acting=BY, at=NOW)
    done = await once(runner, "courses.probe")
    assert (done.id, done.state) == (job.id, JobState.DONE)
    return done, await ProbeRun.get(id=job.id)


async def test_in_production_a_trial_only_looks(in_production: Runner) -> None:
    for probe in Probe:
        job, run = await probed(in_production, probe)
        assert (job.done_count, job.total_count) == (3, 3)
        assert (run.probe, run.passed, run.evidence) == (probe, False, {"to do": probes.NOTHING_YET[probe]})
    assert not await ApiKey.exists()


async def test_on_one_machine_the_sandbox_signs_a_person_up_and_buys_by_a_key_of_its_own(
    on_one_machine: Runner, sandbox: Sandbox, receiver: Any
) -> None:
    _, run = await probed(on_one_machine, Probe.BORN_THERE)
    assert run.evidence["purchase refused"] == "No course is mapped to a price."
    kind, option = await a_membership_type()
    centre = await a_centre()
    mapped: Any = {"pricing_option_id": option.id, "membership_type_id": kind.id, "centre_id": centre.id}
    await CourseMapping.create(course_ref="SWIM-3", **mapped)

    receiver.answer = {"user_id": "u-7"}  # stands where our own API would, whose calls have tests of their own
    _, run = await probed(on_one_machine, Probe.BORN_THERE)
    assert (run.passed, run.evidence) == (False, {"to do": probes.NOTHING_YET[Probe.BORN_THERE]})
    (signed_up,), (bought,) = receiver.at("/coursepro/v1/users"), receiver.at("/coursepro/v1/carts")
    assert signed_up.json["fields"]["first_name"] == "Probe"
    assert bought.json["user"] == {"coursepro_id": signed_up.json["coursepro_id"]}
    assert bought.json["items"] == [
        {
            "course_ref": "SWIM-3",
            "pricing_option_id": str(option.id),
            "centre_id": str(centre.id),
            "start_date": "2026-03-02",
        }
    ]
    (key,) = await ApiKey.all()
    assert (key.purpose, key.revoked_at) == ("COURSEPRO", NOW)
    assert signed_up.headers["authorization"].startswith(f"Bearer df_{key.public_part}_")

    receiver.told_at, receiver.statuses, receiver.answer = "/coursepro/v1/carts", [422], {"code": "COURSE_NOT_MAPPED"}
    _, run = await probed(on_one_machine, Probe.BORN_THERE)
    assert (run.passed, run.evidence["purchase refused"]) == (False, "422 COURSE_NOT_MAPPED")


async def test_a_job_that_was_to_call_inside_is_dead_with_the_code(in_production: Runner, secret_key: str) -> None:
    secrets = Vault(secret_key).seal({"secret_token": "s"})
    await ProviderSetting.create(provider=Provider.COURSEPRO, settings=INSIDE, secrets=secrets)
    await a_membership()
    job = await once(in_production, "courses.push_cart")
    assert (job.state, job.error_code) == (JobState.DEAD, "ADDRESS_NOT_ALLOWED")
    assert job.error == "10.0.0.5 is not on the internet."
