"""This file proves that no order is working at the venue, or says which ones are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perpctl.checks import reading
from perpctl.errors import ExitCode
from perpctl.model import flatten
from perpctl.questions import figures
from perpctl.results import Answer, Json, Line, Next, Tone

if TYPE_CHECKING:
    from perpctl.desk import Desk


async def none_working(desk: Desk) -> Answer:
    """Two empty listings a second apart: exit 0. Any order: exit 1, named. A failed read raises: never "none"."""
    start = desk.clock.monotonic()
    first, found = await reading.orders(desk)
    reads = [first]
    if not found:
        await desk.clock.sleep(flatten.READS_APART_S)
        second, found = await reading.orders(desk)
        reads.append(second)
    scope = await desk.scope()
    if found:
        width = max(len(one.order_id) for one in found)
        lines = tuple(
            Line(f"    {one.order_id:<{width}}  {one.product_id} {one.side} {one.remaining:f} {one.type}")
            for one in found
        )
        head = Line(f"{figures.count(len(found), 'ORDER', 'ORDERS')} WORKING", Tone.BAD, mark=True)
        facts: dict[str, Json] = {"none": False, "orders": [one.order_id for one in found]}
        after = Next((f"perpctl -p {scope.profile} cancel-all", f"perpctl -p {scope.profile} orders list"))
        return Answer("perpctl.verify.no-orders/1", scope, facts, (head, *lines, after), ExitCode.NEGATIVE)
    proof = flatten.prove_no_orders(reads, since_s=start)
    if not proof.flat:
        words = f"UNKNOWN: the reads prove nothing ({'; '.join(proof.lacking)})"
        again = Next((f"perpctl -p {scope.profile} verify no-orders", f"perpctl -p {scope.profile} orders list"))
        view = (Line(words, Tone.BAD, mark=True), again)
        unknown: dict[str, Json] = {"none": None, "orders": None}
        return Answer("perpctl.verify.no-orders/1", scope, unknown, view, ExitCode.UNKNOWN, trouble=words)
    listed = (await desk.exchange()).terms.listed
    head = Line(f"NO ORDERS: two empty listings, {listed}", Tone.GOOD)
    return Answer("perpctl.verify.no-orders/1", scope, {"none": True, "orders": []}, (head,))
