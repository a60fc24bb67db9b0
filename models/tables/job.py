"""The queue's truth: one row per piece of work, written in the transaction that makes it necessary."""

from uuid import UUID

from tortoise import fields

from models.rules.states import JobState
from models.tables.row import Row, belongs_to, check, choice, document, one_of


class Job(Row):
    """Work to be done at least once.

    `key` names the obligation, so asking twice makes one row. A worker holds the row by lease and `token`; each later
    write must name that token. Rows with the same `subject` run one at a time, in the order of their ids. `run_at`
    is PostgreSQL's time; empty means at once.
    """

    kind = fields.CharField(max_length=60)
    key = fields.CharField(max_length=300, unique=True)
    subject = fields.CharField(max_length=80, null=True)
    payload = document(default=dict)
    user_id: UUID | None
    user = belongs_to("User", "jobs", null=True)
    state: JobState = choice(JobState, default=JobState.READY)
    attempts = fields.IntField(default=0)
    token = fields.IntField(default=0)
    run_at = fields.DatetimeField(null=True)
    lease_until = fields.DatetimeField(null=True)
    wake_at = fields.DatetimeField(null=True)
    wake = fields.IntField(default=0)
    done_count = fields.IntField(default=0)
    total_count = fields.IntField(null=True)
    result_url = fields.TextField(null=True)
    error_code = fields.CharField(max_length=40, null=True)
    error = fields.TextField(null=True)
    finished_at = fields.DatetimeField(null=True)

    class Meta:
        table = "job"
        constraints = (
            one_of("job", "state", JobState),
            check("job_leased_has_lease", "(state = 'LEASED') = (lease_until IS NOT NULL)"),
        )
        indexes = (
            ("state", "run_at"),
            ("subject", "id"),
            ("state", "id"),
            ("kind", "id"),
            ("user_id", "id"),
            ("created_at", "id"),
        )
