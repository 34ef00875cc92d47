"""This file holds the clocks of the two venues as data.

Sources: Coinbase gateway docs (settlement, releases), Coinbase Derivatives product pages and rulebook (session roll,
weekly stop, intraday margin hours). What a venue tells at run time (announced maintenance, its margin window, when
funding is paid) is read there and wins.
"""

from __future__ import annotations

from datetime import date, time

from perpctl.model.venue.calendar import NEW_YORK, WEEKDAYS, Kind, MarginHours, Rule, VenueCalendar
from perpctl.model.venue.stops import Steps

FRIDAY, TUESDAY = frozenset({4}), frozenset({1})
SETTLES = Steps(tell_s=120, pause_s=30, after_s=30)
RELEASES = Steps(tell_s=3600, pause_s=600, clear_s=180, verify_s=120, after_s=60)
SHUTS = Steps(tell_s=3600, pause_s=900, clear_s=300, verify_s=120, after_s=60)

GLOBAL = VenueCalendar(
    zone="UTC",
    day=Rule("risk_day", Kind.DAY, "a new risk day: baseline of the day's loss", time(8)),
    rules=(
        Rule(
            "settlement",
            Kind.STOP,
            "settlement: orders and cancels refused for seconds, good-til-day ends",
            time(8),
            steps=SETTLES,
            blind_before_s=5,
            blind_after_s=15,
        ),
        Rule(
            "release",
            Kind.STOP,
            "release, only when announced: 15 to 30 min without connections",
            time(9),
            days=TUESDAY,
            lasts_s=1800,
            steps=RELEASES,
            only_announced=True,
        ),
        # 20 min after the settlement, and before a Tuesday's release.
        Rule("morning", Kind.ROUTINE, "the runbook's morning", time(8, 20)),
        Rule("evening", Kind.ROUTINE, "the runbook's evening", time(17, 15)),
    ),
    announced=RELEASES,
)

# NYSE Group's calendar of 23 December 2025; on its holidays the intraday margin window does not open. The venue's own
# page gives no list, and its margin window, read live, wins.
_HOLIDAYS = (
    *(date(2026, 1, 1), date(2026, 1, 19), date(2026, 2, 16), date(2026, 4, 3), date(2026, 5, 25)),
    *(date(2026, 6, 19), date(2026, 7, 3), date(2026, 9, 7), date(2026, 11, 26), date(2026, 12, 25)),
    *(date(2027, 1, 1), date(2027, 1, 18), date(2027, 2, 15), date(2027, 3, 26), date(2027, 5, 31)),
    *(date(2027, 6, 18), date(2027, 7, 5), date(2027, 9, 6), date(2027, 11, 25), date(2027, 12, 24)),
)

US = VenueCalendar(
    zone=NEW_YORK,
    day=Rule("risk_day", Kind.DAY, "a new risk day: baseline of the day's loss", time(17), NEW_YORK),
    rules=(
        Rule(
            "weekly_stop",
            Kind.STOP,
            "weekly stop: nothing can be placed, cancelled or closed",
            time(17),
            NEW_YORK,
            FRIDAY,
            lasts_s=3600,
            steps=SHUTS,
        ),
        Rule(
            "session_roll",
            Kind.SESSION,
            "session roll, daily cash",
            time(17),
            NEW_YORK,
            blind_before_s=30,
            blind_after_s=30,
        ),
        Rule(
            "overnight_margin",
            Kind.MARGIN,
            "overnight margin begins: 2.5 to 3 times the intraday requirement",
            time(16),
            NEW_YORK,
            WEEKDAYS,
            skips_holidays=True,
        ),
        Rule(
            "intraday_margin",
            Kind.MARGIN,
            "intraday margin begins",
            time(8),
            NEW_YORK,
            WEEKDAYS,
            skips_holidays=True,
        ),
        Rule("morning", Kind.ROUTINE, "the runbook's morning", time(9), NEW_YORK),
        Rule("evening", Kind.ROUTINE, "the runbook's evening", time(17, 20), NEW_YORK, frozenset(range(7)) - FRIDAY),
        Rule("evening", Kind.ROUTINE, "the runbook's evening, after the weekly stop", time(18, 20), NEW_YORK, FRIDAY),
    ),
    announced=SHUTS,
    margin=MarginHours("intraday", "overnight", NEW_YORK, time(8), time(16), warn_s=(3600, 1800, 900)),
    holidays=frozenset(_HOLIDAYS),
    holidays_until=date(2027, 12, 31),
)
