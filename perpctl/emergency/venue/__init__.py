"""This room speaks to the venues for the emergency program: sockets, signatures, calls and rows.

`port.Venue` is all that the steps of a kill know of a venue, `terms.Terms` what differs as data, and `opening` the one
place that knows venues by name. `gateway` closes with reduce-only orders; `advanced_trade` is a `port.CappedVenue`,
whose closes are capped by `closing.capped` and make one order for one identity.

Nothing below asks a clock, sleeps, starts a thread or opens a socket but through two values that are handed in:

    world.World   monotonic, wall_s, sleep, at_once, beside; `world.ThisMachine` is the real one
    wire.Line     dial, get, post, hang_up below one base URL; `wire.Wire` is the real one

So a kill runs in virtual time over anything that answers HTTP requests as values:

    pursuit = Pursuit(target, wish, Record(directory, kill_id, None), latches, world, dial)
    pursuit.run(at_deadline=lambda it: None, stop_service=lambda it: None)
    receipt.judge(pursuit)          # the exit code

`dial(base_url, ca_file)` returns the line; `target.http` is its base URL, and a line is given paths without a leading
slash, with their query. `world.at_once` may carry its calls out one after another, and `world.beside` at once.
Two closers are two pursuits with records and lines of their own, whose `sleep` and lines hand over to each other.
"""
