"""A caller's key makes a mutation happen once: the first answer is kept and given again.

The row is written before the mutation runs, marked in the mutation's own transaction, and its answer kept right after:
a mutation that is done never runs again under its key, even where its answer was lost. Answers are sealed: one of
them may show a new key's token.
"""

import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import orjson
from graphql import GraphQLSchema, OperationDefinitionNode
from graphql.execution.values import get_directive_values, get_variable_values

from models.actions.unit import once_under
from models.actions.vault import Vault
from models.rules.refusals import Code, Refusal
from models.tables import sql
from models.tables.row import new_id
from resolvers.protocol.answers import Answer
from resolvers.protocol.asked import Asked, bad_request
from resolvers.protocol.faults import Rejected
from resolvers.viewer import Viewer

DIRECTIVE = "idempotent"
LONGEST_KEY = 255
A_MINUTE = timedelta(seconds=60)

_BEGIN = """
INSERT INTO idempotency_key (id, caller, key, request_hash, created_at, updated_at)
VALUES ($1, $2, $3, $4, now(), now())
ON CONFLICT (caller, key) DO UPDATE SET id = EXCLUDED.id, updated_at = now()
WHERE idempotency_key.answer IS NULL AND idempotency_key.committed_at IS NULL
  AND idempotency_key.request_hash = EXCLUDED.request_hash
  AND idempotency_key.updated_at < now() - interval '60 seconds'
RETURNING id
"""
_FOUND = "SELECT request_hash, answer, committed_at FROM idempotency_key WHERE caller = $1 AND key = $2"
_END = "UPDATE idempotency_key SET answer = $2::jsonb, updated_at = now() WHERE id = $1 RETURNING id"
_FREE = "DELETE FROM idempotency_key WHERE id = $1 AND committed_at IS NULL RETURNING id"


def key_of(schema: GraphQLSchema, operation: OperationDefinitionNode, asked: Asked, header: str | None) -> str | None:
    """The caller's key, from `@idempotent(key:)` or the `Idempotency-Key` header. Raises Rejected 400 for a bad one."""
    if header is None and not operation.directives:
        return None
    directive = schema.get_directive(DIRECTIVE)
    variables = get_variable_values(schema, operation.variable_definitions or (), asked.variables or {})
    if directive is None or isinstance(variables, list):
        return None  # wrong variables run nothing, and the execution tells what is wrong with them
    given = get_directive_values(directive, operation, variables)
    key = given["key"] if given else header
    if key is None:
        return None
    if not key.strip() or len(key) > LONGEST_KEY:
        raise bad_request(f"An idempotency key has 1 to {LONGEST_KEY} characters.")
    if len(operation.selection_set.selections) != 1:
        raise bad_request("An idempotency key belongs to one mutation: send each in a request of its own.")
    return key


def request_hash(asked: Asked) -> str:
    """What must be equal for a key to mean the same request."""
    parts = [asked.query, asked.operation_name, asked.variables or {}]
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


async def once(viewer: Viewer, key: str, asked: Asked, vault: Vault, run: Callable[[], Awaitable[Answer]]) -> Answer:
    """Run a mutation unless its answer is kept. Raises Rejected: another input, or the first run has not ended.

    An answer that says the mutation itself failed is not kept: nothing was written, so its key may be used again.
    """
    caller, row_id = str(viewer.key_id), new_id()
    if not await sql.rows(_BEGIN, row_id, caller, key, request_hash(asked)):
        return await _kept(caller, key, asked, vault)
    marked = once_under.set(row_id)
    try:
        answer = await run()
    except BaseException:
        await sql.rows(_FREE, row_id)  # unless the mutation is done: the time limit may strike while its answer is read
        raise
    finally:
        once_under.reset(marked)
    if answer.undone:
        await sql.rows(_FREE, row_id)
    else:
        sealed = vault.seal({"answer": answer.body.decode()})
        await sql.rows(_END, row_id, orjson.dumps(sealed).decode())
    return answer


async def _kept(caller: str, key: str, asked: Asked, vault: Vault) -> Answer:
    found = await sql.rows(_FOUND, caller, key)
    if found and found[0]["request_hash"] != request_hash(asked):
        raise _no(Code.IDEMPOTENCY_KEY_MISMATCH)
    if not found or found[0]["answer"] is None:
        lost = found and found[0]["committed_at"] and found[0]["committed_at"] < datetime.now(UTC) - A_MINUTE
        raise _no(Code.IDEMPOTENCY_ANSWER_LOST if lost else Code.IDEMPOTENCY_IN_PROGRESS)
    sealed = orjson.loads(found[0]["answer"])
    answer = orjson.loads(vault.open(sealed)["answer"])
    return Answer(orjson.dumps({**answer, "extensions": {"idempotency": {"replayed": True}}}))


def _no(code: Code) -> Rejected:
    return Rejected(409, code.value, Refusal(code).message, spoken=True)
