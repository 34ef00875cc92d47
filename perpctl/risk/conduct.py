"""This file holds the controls on who may send, how often, and what was done before: 1 to 3, 9 to 14, 17 and 18."""

from __future__ import annotations

from decimal import Decimal

from perpctl.model.mode import Mode
from perpctl.model.order import OrderRequest, Purpose, Side, TimeInForce
from perpctl.risk.activity import EXECUTION_WINDOW_MS, LOSS_WINDOW_MS, Recent
from perpctl.risk.limits import Limits
from perpctl.risk.verdict import Finding, Reason
from perpctl.risk.view import Case

CANCEL_SHARE = Decimal("0.4")  # of the burst, kept for cancels; the venue's own pool is shared the same way
MIN_SUCCESS_PCT = Decimal(90)
MAX_LATENCY_MS = 1_000

_NEVER_RESTS = frozenset({TimeInForce.IOC, TimeInForce.FOK})
_STRICTNESS = (Mode.NORMAL, Mode.REDUCE_ONLY, Mode.HALTED)


def mode(case: Case) -> Finding:
    """1: the stricter of mode and latch; during a kill only the kill sends."""
    view = case.view
    now = max(view.mode, view.latch, key=_STRICTNESS.index)
    if view.kill_in_progress and case.request.purpose is not Purpose.KILL:
        return "kill", "normal", Reason.KILL_IN_PROGRESS
    if now == Mode.HALTED and not case.reduces:
        return now, "normal", Reason.HALTED
    if now == Mode.REDUCE_ONLY and not (case.reduces or case.shrinks):
        return now, "normal", Reason.REDUCE_ONLY_MODE
    return now, "normal", None


def lease(case: Case) -> Finding:
    """2: the lease governs what raises risk, and only that."""
    left = case.view.lease_left_ms
    return left, 0, None if left is not None and left > 0 else Reason.NO_LEASE


def symbol(case: Case) -> Finding:
    """3: an entry needs a product on the list."""
    product = case.request.product_id
    return product, None, None if product in case.view.allowed else Reason.SYMBOL_NOT_ALLOWED


def isolated(case: Case) -> Finding:
    """3: an entry on isolated margin needs the profile to name its product."""
    if case.request.slot is None:
        return "cross", None, None
    product = case.request.product_id
    return product, None, None if product in case.view.isolated else Reason.ISOLATED_OFF


def reduce_only_truth(case: Case) -> Finding:
    """9: what claims to be an exit must be one."""
    held = None if case.holding is None else case.holding.size
    return case.request.size, held, Reason.NOT_REDUCING if case.claims and not case.reduces else None


def identity(case: Case) -> Finding:
    """10: an identity is used once."""
    used = case.request.identity in case.view.recent.identities
    return case.request.identity, None, Reason.IDENTITY_REUSED if used else None


def duplicate(case: Case) -> Finding:
    """10: the same product, side, size and price again within the window."""
    request, now = case.request, case.view.now_ms
    window = int(case.limits.duplicate_window_s * 1000)
    same = [now - sent.at_ms for sent in case.view.recent.sent if sent.is_like(request)]
    since = min(same, default=None)
    return since, window, Reason.DUPLICATE if since is not None and since < window else None


def self_match(case: Case) -> Finding:
    """11: no order may meet a resting order of the same account."""
    request = case.request
    for order in case.view.working:
        if order.product_id != request.product_id or order.side is request.side or order.is_trigger:
            continue
        if order.price is not None and _crosses(request, order.price):
            return order.order_id, None, Reason.SELF_MATCH
    for one in case.view.unknown:
        other = one.request
        if other.product_id != request.product_id or other.side is request.side or other.trigger_price is not None:
            continue
        if other.price is not None and _crosses(request, other.price):
            return other.identity, None, Reason.SELF_MATCH
    return "none", None, None


def _crosses(request: OrderRequest, resting: Decimal) -> bool:
    if request.price is None:
        return True
    return request.price >= resting if request.side is Side.BUY else request.price <= resting


def message_rate(case: Case) -> Finding:
    """12: messages at a rate with a burst, of which entries may not use the share kept for cancels."""
    limits = case.limits
    usable = int(limits.messages_burst * (1 - CANCEL_SHARE))
    load = bucket_load(case.view.recent.messages_ms, case.view.now_ms, limits)
    return load, usable, Reason.MESSAGE_RATE if load > usable else None


def may_cancel(messages_ms: tuple[int, ...], now_ms: int, limits: Limits) -> bool:
    """Whether one more cancel of the strategy fits; it may use the whole burst. Cancels in haste do not ask."""
    return bucket_load(messages_ms, now_ms, limits) <= limits.messages_burst


def bucket_load(messages_ms: tuple[int, ...], now_ms: int, limits: Limits) -> int:
    """Whole tokens out of the bucket with one more message now: the worst count over every stretch that ends now."""
    per_ms = float(limits.messages_per_s) / 1000  # a rate, not money
    load, count, most = 1, 1, len(messages_ms) + 1
    for at_ms in reversed(messages_ms):
        count += 1
        refilled = int((now_ms - at_ms) * per_ms)
        if count - refilled > load:
            load = count - refilled
        elif most - refilled <= load:
            break  # older stretches have refilled more
    return load


def repeated_execution(case: Case) -> Finding:
    """13: executions on one side of a product in 5 minutes; at the limit only a named human goes on."""
    request, view = case.request, case.view
    count = same_side_executions(view.recent, request.product_id, request.side, view.now_ms)
    limit = int(case.limits.same_side_executions)
    return count, limit, Reason.REPEATED_EXECUTION if count >= limit else None


def same_side_executions(recent: Recent, product_id: str, side: Side, now_ms: int) -> int:
    """Orders that executed on one side of a product in the last 5 minutes."""
    after, count = now_ms - EXECUTION_WINDOW_MS, 0
    for one in recent.executions:
        if one.at_ms > after and one.side is side and one.product_id == product_id:
            count += 1
    return count


def losing_streak(case: Case) -> Finding:
    """13: round trips that lost, in 60 minutes."""
    count = losing_trips(case.view.recent, case.view.now_ms)
    limit = int(case.limits.losing_round_trips)
    return count, limit, Reason.LOSING_STREAK if count >= limit else None


def losing_trips(recent: Recent, now_ms: int) -> int:
    """Round trips that ended with a loss in the last 60 minutes."""
    after = now_ms - LOSS_WINDOW_MS
    return sum(at_ms > after for at_ms in recent.losses_ms)


def entered_and_left(case: Case) -> Finding:
    """14: no more orders leave than intents were entered, this one included."""
    view = case.view
    return view.left + 1, view.entered, Reason.INTENT_NOT_ENTERED if view.left >= view.entered else None


def orders_today(case: Case) -> Finding:
    """14: the day's number of orders."""
    count, limit = case.view.recent.orders_today, int(case.limits.max_orders_day)
    return count, limit, Reason.TOO_MANY_ORDERS if count >= limit else None


def rejections(case: Case) -> Finding:
    """17: the venue's refusals, once there is a sample."""
    success = case.view.order_success_pct
    return success, MIN_SUCCESS_PCT, Reason.REJECTIONS if success is not None and success < MIN_SUCCESS_PCT else None


def latency(case: Case) -> Finding:
    """17: the venue's answers, once there is a sample."""
    p95 = case.view.latency_p95_ms
    return p95, MAX_LATENCY_MS, Reason.LATENCY if p95 is not None and p95 > MAX_LATENCY_MS else None


def dead_man(case: Case) -> Finding:
    """18: an entry that can rest must die with a dead bot."""
    request = case.request
    if request.time_in_force in _NEVER_RESTS:
        return "never rests", None, None
    if request.time_in_force is TimeInForce.GTD:
        return "ends by itself", None, None
    return ("armed", None, None) if case.view.dead_man else ("not armed", None, Reason.NO_DEAD_MAN)


def stop_present(case: Case) -> Finding:
    """18: no entry in a product whose position stands without a stop."""
    bare = case.view.unprotected_ms or 0
    limit = int(case.limits.stop_missing_s * 1000)
    return bare, limit, Reason.NO_STOP if bare > limit else None
