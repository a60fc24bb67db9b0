"""Who may do what: one table, asked before any action. What a member may do is for the member's own account."""

from uuid import UUID

from models.rules.refusals import Code, Refusal
from models.rules.states import Role
from resolvers.viewer import Viewer

_DESK = frozenset({Role.FRONT_DESK, Role.ADMIN})
_MONEY = frozenset({Role.FINANCE, Role.ADMIN})
_STAFF = _DESK | _MONEY
_ADMIN = frozenset({Role.ADMIN})
_SALES = _DESK | {Role.PARTNER}
_MEMBERS = _SALES | {Role.MEMBER}
_PARTNERS = _ADMIN | {Role.PARTNER}
_EXPORTS = _STAFF | {Role.PARTNER}

MAY: dict[str, frozenset[Role]] = {
    "advance_clock": _ADMIN,
    "allocate_invoice": _MONEY,
    "apply_correction": _MONEY,
    "bill_off_invoice": _MONEY,
    "book_course": _MEMBERS,
    "buy_package": _MEMBERS,
    "cancel_booking": _MEMBERS,
    "cancel_job": _ADMIN,
    "cancel_mandate": _STAFF | {Role.MEMBER},
    "cancel_membership": _DESK,
    "choose_invoice": _STAFF,
    "clone_membership_type_for_frequency": _ADMIN,
    "claim_record": _SALES,
    "collect_payment": _MONEY,
    "complete_membership": _DESK,
    "configure_billing": _MONEY,
    "configure_course_pro": _ADMIN,
    "configure_provider": _ADMIN,
    "create_api_key": _ADMIN,
    "create_centre": _ADMIN,
    "create_course": _DESK,
    "create_membership_type": _ADMIN,
    "create_package_offer": _ADMIN,
    "create_payment_link": _MEMBERS,
    "create_pricing_option": _ADMIN,
    "create_setting_group": _ADMIN,
    "create_user": _SALES,
    "create_webhook_endpoint": _PARTNERS,
    "delete_class_session": _DESK,
    "disable_webhook_endpoint": _PARTNERS,
    "dismiss_correction": _MONEY,
    "enable_webhook_endpoint": _PARTNERS,
    "grant_package": _DESK,
    "invoices_export": _EXPORTS,
    "join_waiting_list": _MEMBERS,
    "leave_waiting_list": _MEMBERS,
    "link_subscription": _STAFF,
    "link_user": _STAFF,
    "map_course": _DESK,
    "mark_attendance": _DESK,
    "memberships_export": _EXPORTS,
    "move_booking": _MEMBERS,
    "redeliver_webhook": _PARTNERS,
    "redeliver_webhooks": _PARTNERS,
    "refund_payment": _MONEY,
    "reinstate_membership": _DESK,
    "remove_user_field": _ADMIN,
    "repair_drift": _MONEY,
    "replay_webhook": _ADMIN,
    "report_drift": _MONEY,
    "retry_job": _ADMIN,
    "retry_payment": _MONEY,
    "revoke_api_key": _ADMIN,
    "rotate_api_key": _ADMIN,
    "rotate_webhook_secret": _PARTNERS,
    "run_integration_probe": _ADMIN,
    "send_test_webhook": _PARTNERS,
    "set_price_override": _ADMIN,
    "set_user_field": _ADMIN,
    "settle_arrears": _MONEY,
    "settle_review": _STAFF,
    "ship_invoice": _MONEY,
    "sign_up": _SALES,
    "start_direct_debit": _MEMBERS,
    "start_membership": _SALES,
    "suspend_membership": _DESK,
    "sync_membership": _DESK,
    "sync_users": _DESK,
    "unlink_user": _STAFF,
    "update_centre": _ADMIN,
    "update_course": _DESK,
    "update_membership_type": _ADMIN,
    "update_pricing_option": _ADMIN,
    "update_user": _DESK | {Role.MEMBER},
    "update_webhook_endpoint": _PARTNERS,
    "users_export": _EXPORTS,
}


def allow(viewer: Viewer, verb: str, user_id: UUID | None = None, *, field: str = "userId") -> None:
    """Let the viewer do `verb`, for this user where it is about one; `field` of the input names the user or a record.

    Raises Refusal ROLE_NOT_ALLOWED; NOT_FOUND for a member asking about somebody else, as for an unknown user.
    """
    if viewer.role not in MAY[verb]:
        raise Refusal(Code.ROLE_NOT_ALLOWED)
    if viewer.role is Role.MEMBER and user_id != viewer.user_id:
        raise Refusal(Code.NOT_FOUND, field=(field,))
