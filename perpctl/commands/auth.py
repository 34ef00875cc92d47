"""`perpctl auth`: keys, tokens and the clock they depend on."""

from __future__ import annotations

from perpctl.commands.surface import Ask, Commands

app = Commands("Keys, tokens and the clock they depend on.", default="test")


@app.ask("test", watch=False)
def test_() -> Ask:
    """Public call, clock, key file, sign-in, account, permissions; stops at the first that fails and says why.

    Exit 0: signing in works; 4: the key does not; 3: the venue cannot be asked.
    """
    from perpctl.checks import auth

    return auth.test


@app.ask("expiry", watch=False)
def expiry() -> Ask:
    """How long signed and access tokens live, and how far the venue's clock is from ours."""
    from perpctl.checks import auth

    return auth.expiry


@app.ask("refresh", watch=False)
def refresh() -> Ask:
    """Exchange a new token now and prove it with a private call."""
    from perpctl.checks import auth

    return auth.refresh
