"""The worlds that these tests judge in are the venues' own, as the client reads them at the paper exchange."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from tests.conftest import both_venues
from tests.risk.world import World
from tests.trading import at_the_desk, place


@both_venues
async def test_products_and_what_a_quote_lacks_are_as_the_client_reads_them(paper: dict[str, Any], at: World) -> None:
    async with at_the_desk() as desk:
        exchange = await desk.exchange()
        told = {one.product_id: structs.replace(one, session=None) for one in await exchange.instruments()}
        quote, account = await exchange.quote(at.btc), await exchange.account()
    assert exchange.terms == at.terms
    assert (told[at.btc], told[at.eth]) == (at.instrument, at.other)
    lacking = [name for name, value in structs.asdict(quote).items() if value is None]
    assert lacking == [name for name, value in structs.asdict(at.quote).items() if value is None]
    assert account.currency == at.account.currency


@both_venues
async def test_what_is_held_is_told_with_its_coin_also_where_no_product_is_named_after_it(
    paper: dict[str, Any], at: World
) -> None:
    """The global venue's paper exchange lists no dated future; there each name begins with its coin."""
    coins = {"global": {at.btc: "BTC", at.eth: "ETH"}, "us": {at.btc: "BTC", at.dated: "BTC"}}[at.venue]
    async with at_the_desk() as desk:
        for product_id in coins:
            await place(desk, product_id=product_id)
        held = await (await desk.exchange()).positions()
    assert {one.product_id: one.underlying for one in held} == coins
