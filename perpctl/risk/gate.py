"""This file decides each order on the send path: one pure function, every control evaluated, the first refusal named."""

from __future__ import annotations

from perpctl.model.order import OrderRequest
from perpctl.risk.limits import Limits
from perpctl.risk.verdict import Decision
from perpctl.risk.view import GateInput


def decide(request: OrderRequest, view: GateInput, limits: Limits) -> Decision:
    """Whether this order may leave now. Evaluates every control, in the order of their numbers, for the journal."""
    raise NotImplementedError
