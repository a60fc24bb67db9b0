"""The nightly proof of the books."""

import structlog

from models.actions import money_proof
from workers.work import Work

log = structlog.get_logger("dueflow.ledger")


async def prove(work: Work) -> None:
    """Prove that what was received is allocated, refunded, credited or held, and say where it is not."""
    proof = await money_proof.prove_books(acting=work.acting, at=work.now)
    told = log.info if proof.holds else log.error
    told("books proved", holds=proof.holds, equation=proof.equation, breaks=len(proof.breaks))
