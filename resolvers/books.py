"""The proof of the books, for who may see the money it is about."""

from models.actions.money_proof import SCOPES, prove
from models.rules.proof import Proof
from resolvers.context import Context
from resolvers.permissions import BOOKS_OF_ALL, BOOKS_OF_ONE, audience
from resolvers.reads.ids import split


async def proved(context: Context, about: str | None) -> Proof | None:
    """The id of an invoice, a payment or a user, or all -> the proof, None for who may not see it. Raises BadInput."""
    who = audience(context.viewer)
    if about is None:
        return await prove() if who in BOOKS_OF_ALL else None
    type_name, key = split(about)
    if type_name not in SCOPES or who not in BOOKS_OF_ONE:
        return None
    if not await context.reader.sees(type_name, key, context.viewer):
        return None
    return await prove((type_name, key))
