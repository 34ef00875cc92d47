"""The table of first words: each names the file in this room that answers it. Standard library only."""

from __future__ import annotations

SECTIONS: dict[str, dict[str, str]] = {
    "Emergency": {
        "kill": "latch, cancel, close and prove flat; works with everything else broken",
        "cancel-all": "cancel every entry at the venue; protective stops stay",
        "reduce-only": "take no new risk; resting entries are cancelled, stops stay",
        "disable": "halt trading here until `perpctl resume`",
        "resume": "leave a halt: the risky one, asks for a name and a reason",
    },
    "What is so": {
        "status": "the first thing to type; exits with the worst level",
        "whoami": "which money, venue, profile and account this is",
        "positions": "what is held, and how to close or reduce it",
        "orders": "what works at the venue, and what became of an order",
        "fills": "what was executed",
        "stops": "the protective stop of every position",
        "account": "equity, margin and the pinned account",
        "margin": "what is used of it, how far liquidation is, and after a move",
        "calendar": "what comes next: settlement, stops, margin windows, funding, routine",
        "market": "venue state, products, books",
        "funding": "rates, payments and schedule",
        "health": "ask the running bot how it is",
    },
    "Run": {
        "preflight": "every gate before a start, with evidence and a fix",
        "probe": "what our key can do at this venue, measured; nothing is placed",
        "run": "the trading loop, on paper or live",
        "wait": "wait until flat, proven by agreeing reads",
        "verify": "one claim about the desk: start-up, no orders, in step with the venue",
        "reconcile": "compare our books with the venue's and explain each difference",
        "state": "save a consistent snapshot",
    },
    "Set up": {
        "config": "settings: show, validate, init",
        "auth": "keys, tokens and the clock they depend on",
        "ws": "test the venue's sockets",
        "paper": "the paper exchange: serve, key, reset, price, fault, status",
        "completion": "shell completions",
    },
}
ALIASES = {"enable": "resume"}

TABLE: dict[str, str] = {word: line for words in SECTIONS.values() for word, line in words.items()}


def module_of(word: str) -> str | None:
    """The module that answers a first word, or None when no command is called so."""
    word = ALIASES.get(word, word)
    return f"perpctl.commands.{word.replace('-', '_')}" if word in TABLE else None
