"""Trial purchases that prove an integration; where the sandbox runs it buys first, elsewhere people do."""

from datetime import timedelta
from typing import Any

from models.actions import jobs, keys, probes
from models.actions.probes import Evidence
from models.ports import Refused, SandboxControl
from models.rules.states import KeyPurpose, Probe, Provider, Role
from workers.work import Work

KEY_LASTS = timedelta(minutes=5)
STEPS = 3


async def probe(work: Work) -> None:
    """Have the sandbox buy where there is one, look for what proves a purchase, and keep what was found."""
    wanted = Probe(work.job.payload["probe"])
    sandbox = await _sandbox(work) if wanted is Probe.BORN_THERE else None
    told = await _bought_there(work, sandbox) if sandbox else {}
    await jobs.progress(work.job.lease, STEPS - 1, STEPS)
    passed, evidence = await probes.look(wanted)
    # a purchase the sandbox could not make is no proof, whatever was bought before
    passed = passed and not any(name.endswith("refused") for name in told)
    await probes.record(
        work.job.id, wanted, passed=passed, evidence={**told, **evidence}, acting=work.acting, at=work.now
    )
    await jobs.progress(work.job.lease, STEPS, STEPS)


async def _sandbox(work: Work) -> SandboxControl | None:
    try:
        return await work.providers.sandbox()
    except Refused:
        return None


async def _bought_there(work: Work, sandbox: SandboxControl) -> Evidence:
    """A person signs up in CoursePro and buys a mapped course -> what was refused; by a key of a few minutes."""
    order = await probes.order_there(work.now)
    if order is None:
        return {"purchase refused": "No course is mapped to a price."}
    key, token = await keys.create_api_key(
        name=f"probe {work.job.id}",
        role=Role.PARTNER,
        purpose=KeyPurpose.COURSEPRO,
        expires_at=work.now + KEY_LASTS,
        acting=work.acting,
        at=work.now,
    )
    try:
        signed_up = await _does(sandbox, "create_user", api_key=token, fields=order.fields)
        await jobs.progress(work.job.lease, 1, STEPS)
        if signed_up["status"] >= 300:
            return {"sign-up refused": _said(signed_up)}
        user = {"coursepro_id": signed_up["coursepro_id"]}
        bought = await _does(sandbox, "cart", api_key=token, user=user, items=[order.item])
        return {} if bought["status"] < 300 else {"purchase refused": _said(bought)}
    finally:
        await keys.revoke_api_key(key.id, acting=work.acting, at=work.now)


async def _does(sandbox: SandboxControl, action: str, **given: Any) -> dict[str, Any]:
    return await sandbox.act(Provider.COURSEPRO, action, given)


def _said(result: dict[str, Any]) -> str:
    answer = result["answer"]
    code = answer.get("code") if isinstance(answer, dict) else None
    return f"{result['status']} {code or ''}".strip()
