"""`perpctl disable`: halt trading here until `perpctl resume`."""

from __future__ import annotations

from perpctl.commands.surface import CarryOut, Commands, ReasonText

app = Commands()


@app.carry_out("disable", lowers_risk=True)
def disable(reason: ReasonText = "") -> CarryOut:
    """Halt: latch, cancel the resting entries, read back; protective stops stay. Only `resume` leaves it.

    Exit 0: latched, and no entry rests; 3: latched, and what rests is unknown; 6: some are left.
    """
    from perpctl.procedures import mode

    return lambda desk: mode.disable(desk, reason)
