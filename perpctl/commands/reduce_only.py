"""`perpctl reduce-only`: take no new risk; resting entries are cancelled, stops stay."""

from __future__ import annotations

from perpctl.commands.surface import CarryOut, Commands, ReasonText

app = Commands()


@app.carry_out("reduce-only", lowers_risk=True)
def reduce_only(reason: ReasonText = "") -> CarryOut:
    """Take no new risk: the latch first, then resting entries gone and read back. No bot is needed.

    Exit 0: latched, and no entry rests; 3: latched, and what rests is unknown; 6: some are left.
    """
    from perpctl.procedures import mode

    return lambda desk: mode.reduce_only(desk, reason)
