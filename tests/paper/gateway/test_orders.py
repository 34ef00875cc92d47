"""Orders over the gateway: defaults, edits, cancels, mass cancels, triggers, unknown outcomes."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.paper.gateway.trader import BTC, ETH, Refused, Trader


def labels(trader: Trader, **params: object) -> list[str]:
    return sorted(order["label"] for order in trader.http("private/get_open_orders", **params))


def test_a_market_order_fills_and_shows_itself_as_a_limit_order(trader: Trader) -> None:
    done = trader.fill(amount=0.01, label="in")
    assert done["order"]["order_state"] == "filled"
    assert (done["order"]["order_type"], done["order"]["original_order_type"]) == ("limit", "market")
    (trade,) = done["trades"]
    assert trade["price"] == Decimal("84000.1")
    assert trade["fee"] == Decimal("0.29400035")
    assert (trade["liquidity"], trade["state"], trade["label"]) == ("T", "filled", "in")


def test_post_only_is_true_when_left_out(trader: Trader) -> None:
    silent = trader.order(post_only=None, price=84500)["order"]
    spoken = trader.order(post_only=False, price=84500)
    assert silent["post_only"] is True
    assert (silent["order_state"], silent["price"]) == ("open", Decimal("84000.0"))
    assert spoken["order"]["order_state"] == "filled"


def test_reject_post_only_refuses_instead_of_sliding(trader: Trader) -> None:
    with pytest.raises(Refused) as refused:
        trader.order(price=84500, post_only=True, reject_post_only=True)
    assert refused.value.code == 11054
    assert labels(trader) == []


def test_post_only_with_immediate_or_cancel_is_refused_even_by_default(trader: Trader) -> None:
    with pytest.raises(Refused) as refused:
        trader.order(post_only=None, time_in_force="immediate_or_cancel")
    assert refused.value.code == 11055


def test_an_order_off_the_market_fills_what_it_can_or_nothing(trader: Trader) -> None:
    nothing = trader.order(time_in_force="immediate_or_cancel")["order"]
    assert (nothing["order_state"], nothing["filled_amount"]) == ("cancelled", 0)
    killed = trader.order(time_in_force="fill_or_kill", price=84000.1, amount=30)
    assert killed["order"]["order_state"] == "cancelled"
    assert killed["trades"] == []


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"amount": 0.00015}, 10021),
        ({"amount": None}, -32602),
        ({"price": 83500.05}, 10043),
        ({"price": 90000}, 10007),
        ({"instrument_name": "BTC-PERP-INTX"}, -32602),
        ({"instrument_name": "BTC-PERPETUAL"}, 10020),
        ({"amount": 500}, 10009),
        ({"label": "x" * 65}, -32602),
        ({"type": "iceberg"}, -32602),
        ({"time_in_force": "good_til_date"}, -32602),
        ({"contracts": 5}, -32602),
        ({"valid_until": 1}, 13888),
        ({"mmp": True}, 13040),
    ],
)
def test_bad_orders_are_refused_and_place_nothing(trader: Trader, params: dict[str, object], code: int) -> None:
    with pytest.raises(Refused) as refused:
        trader.order(**params)
    assert refused.value.code == code
    assert labels(trader) == []


def test_a_sale_below_the_band_is_refused_with_the_limit_in_words(trader: Trader) -> None:
    with pytest.raises(Refused) as refused:
        trader.order("sell", price=70000)
    assert refused.value.code == 10005
    assert refused.value.message.startswith("price_too_low 82")


def test_contracts_count_in_contract_sizes(trader: Trader) -> None:
    placed = trader.order(amount=None, contracts=100)["order"]
    assert placed["amount"] == Decimal("0.01")
    assert placed["contracts"] == 100
    assert trader.order(amount="0.0100", contracts="100")["order"]["amount"] == Decimal("0.01")


def test_valid_until_is_measured_with_the_clock_of_the_market(trader: Trader) -> None:
    now = trader.http("public/get_time")
    assert trader.order(valid_until=now + 3000)["order"]["order_state"] == "open"
    with pytest.raises(Refused) as late:
        trader.order(valid_until=now - 1)
    assert late.value.code == 13888


def test_labels_are_neither_unique_nor_idempotent(trader: Trader) -> None:
    first, second = trader.order(label="same")["order"], trader.order(label="same")["order"]
    assert first["order_id"] != second["order_id"]
    with pytest.raises(Refused) as refused:
        trader.http("private/edit_by_label", label="same", instrument_name=BTC, amount=0.02, price=83000)
    assert refused.value.code == 13032


def test_an_edit_names_the_new_total_and_marks_the_order_replaced(trader: Trader) -> None:
    placed = trader.order(label="one")["order"]
    edited = trader.http("private/edit", order_id=placed["order_id"], amount=0.02, price=83400)
    assert edited["trades"] == []
    assert (edited["order"]["amount"], edited["order"]["price"]) == (Decimal("0.02"), Decimal("83400"))
    assert edited["order"]["replaced"] is True
    by_label = trader.http("private/edit_by_label", label="one", instrument_name=BTC, amount=0.03, price=83300)
    assert by_label["order"]["order_id"] == placed["order_id"]
    with pytest.raises(Refused) as refused:
        trader.http("private/edit", order_id=placed["order_id"], amount=0.02, mmp=True)
    assert refused.value.data == {"param": "mmp", "reason": "editing mmp flag is not supported"}


def test_cancelling_twice_says_that_it_is_no_longer_open(trader: Trader) -> None:
    order_id = trader.order()["order"]["order_id"]
    cancelled = trader.http("private/cancel", order_id=order_id)
    assert (cancelled["order_state"], cancelled["cancel_reason"]) == ("cancelled", "user_request")
    with pytest.raises(Refused) as again:
        trader.http("private/cancel", order_id=order_id)
    assert again.value.code in (10004, 11044)
    with pytest.raises(Refused) as unknown:
        trader.http("private/cancel", order_id="USDC-1")
    assert unknown.value.code == 10004


def test_a_bare_mass_cancel_also_takes_the_stops_and_a_typed_one_leaves_them(trader: Trader) -> None:
    trader.fill()
    trader.order(label="entry")
    stop = {"type": "stop_market", "trigger": "mark_price", "trigger_price": 83000, "reduce_only": True}
    trader.order("sell", price=None, label="stop", post_only=None, **stop)
    typed = trader.http("private/cancel_all_by_currency", currency="USDC", kind="future", type="limit")
    assert typed == 1
    assert labels(trader) == ["stop"]
    assert trader.http("private/cancel_all_by_currency", currency="BTC") == 0
    assert trader.http("private/cancel_all") == 1
    assert labels(trader) == []


def test_mass_cancels_by_instrument_label_kind_and_in_detail(trader: Trader) -> None:
    trader.order(label="a")
    trader.order(label="b")
    trader.order(label="c", instrument_name=ETH, price=2590)
    assert trader.http("private/cancel_by_label", label="a", currency="USDC") == 1
    report = trader.http("private/cancel_all_by_instrument", instrument_name=BTC, detailed=True)
    assert [(row["instrument_name"], len(row["result"])) for row in report] == [(BTC, 1)]
    assert trader.http("private/cancel_all_by_kind_or_type", currency=["USDC"], kind="option") == 0
    assert trader.http("private/cancel_all_by_kind_or_type", currency="any", kind="future") == 1


def test_isolated_orders_hide_from_everything_that_does_not_ask_for_them(trader: Trader) -> None:
    hidden = trader.order(label="hidden", isolated=True, allocated_margin=50)["order"]
    assert hidden["isolated"] is True
    assert labels(trader) == []
    assert labels(trader, include_isolated=True) == ["hidden"]
    assert trader.http("private/cancel_all") == 0
    with pytest.raises(Refused) as unseen:
        trader.http("private/cancel", order_id=hidden["order_id"])
    assert unseen.value.code == 10004
    assert trader.http("private/get_order_state", order_id=hidden["order_id"], isolated=True)["label"] == "hidden"
    assert trader.http("private/cancel_all", include_isolated=True) == 1


def test_an_isolated_order_without_margin_is_told_how_much_it_needs(trader: Trader) -> None:
    with pytest.raises(Refused) as refused:
        trader.order(isolated=True)
    assert refused.value.code == 14033
    assert refused.value.data["suggested_amount"] > refused.value.data["required_minimum"] > 0


def test_a_stop_shows_a_word_for_its_price_and_fires_a_second_order(trader: Trader) -> None:
    trader.fill()
    stop = trader.order(
        "sell", price=None, post_only=None, type="stop_market", trigger="mark_price", trigger_price=83900
    )["order"]
    assert (stop["price"], stop["order_state"], stop["triggered"]) == ("market_price", "untriggered", False)
    assert "filled_amount" not in stop
    trader.market("83800")
    assert labels(trader) == []
    found = trader.http("private/get_order_history_by_instrument", instrument_name=BTC)
    fired = next(order for order in found if order.get("trigger_order_id") == stop["order_id"])
    assert fired["order_state"] == "filled"
    (entry,) = trader.http("private/get_trigger_order_history", currency="USDC")["entries"]
    assert (entry["trigger_order_id"], entry["order_state"]) == (stop["order_id"], "triggered")


def test_a_linked_order_arms_its_exits_when_it_fills(trader: Trader) -> None:
    exits = [
        {"direction": "sell", "type": "take_limit", "price": 85000, "trigger_price": 84900, "trigger": "mark_price"},
        {"direction": "sell", "type": "stop_market", "trigger_price": 83000, "trigger": "mark_price"},
    ]
    done = trader.fill(
        linked_order_type="one_triggers_one_cancels_other",
        otoco_config=[exit_ | {"amount": 0.01, "reduce_only": True} for exit_ in exits],
    )
    assert done["order"]["order_state"] == "filled"
    kinds = sorted(order["order_type"] for order in trader.http("private/get_open_orders"))
    assert kinds == ["stop_market", "take_limit"]


def test_close_position_takes_no_size_and_needs_a_position(trader: Trader) -> None:
    with pytest.raises(Refused) as flat:
        trader.http("private/close_position", instrument_name=BTC, type="market")
    assert flat.value.code == 10010
    trader.fill(amount=0.03)
    with pytest.raises(Refused) as priceless:
        trader.http("private/close_position", instrument_name=BTC, type="limit")
    assert priceless.value.data["param"] == "price"
    done = trader.http("private/close_position", instrument_name=BTC, type="market")
    assert (done["order"]["reduce_only"], done["order"]["direction"]) == (True, "sell")
    assert trader.http("private/get_position", instrument_name=BTC)["size"] == 0


def test_a_reduce_only_order_cannot_open(trader: Trader) -> None:
    with pytest.raises(Refused):
        trader.order(reduce_only=True)


def test_an_unknown_outcome_is_settled_by_label(trader: Trader) -> None:
    trader.order(label="resting")
    trader.fill(label="gone")
    resting = trader.http("private/get_order_state_by_label", currency="USDC", label="resting")
    gone = trader.http("private/get_order_state_by_label", currency="USDC", label="gone")
    absent = trader.http("private/get_order_state_by_label", currency="USDC", label="never")
    assert [order["order_state"] for order in resting + gone] == ["open", "filled"]
    assert absent == []
    assert len(trader.http("private/get_open_orders_by_label", currency="USDC", label="resting")) == 1


def test_a_locked_book_takes_cancels_only_and_settlement_takes_nothing(trader: Trader) -> None:
    order_id = trader.order()["order"]["order_id"]
    exchange = trader.venue.exchange
    exchange.set_book_state(BTC, "settlement", exchange.now)
    with pytest.raises(Refused) as settling:
        trader.http("private/cancel", order_id=order_id)
    assert settling.value.code == 10041
    exchange.set_book_state(BTC, "locked", exchange.now)
    with pytest.raises(Refused):
        trader.order()
    assert trader.http("private/cancel", order_id=order_id)["order_state"] == "cancelled"


def test_a_mass_cancel_says_only_in_detail_which_book_refused_it(trader: Trader) -> None:
    trader.order()
    trader.order(instrument_name=ETH, price=2590)
    exchange = trader.venue.exchange
    exchange.set_book_state(BTC, "settlement", exchange.now)
    done, refused = trader.http("private/cancel_all", detailed=True)
    assert (done["instrument_name"], len(done["result"])) == (ETH, 1)
    assert (refused["instrument_name"], refused["error"]["code"]) == (BTC, 10041)
    assert trader.http("private/cancel_all") == 0


def test_maintenance_refuses_everything_but_the_signs_of_life(trader: Trader) -> None:
    trader.venue.exchange.set_maintenance(True, trader.venue.exchange.now)
    with pytest.raises(Refused) as refused:
        trader.order()
    assert (refused.value.code, refused.value.status) == (11051, 503)
    assert trader.http("public/test")["version"]
    assert trader.http("public/get_time") > 0


def test_a_locked_account_is_told_so(trader: Trader) -> None:
    trader.venue.exchange.lock_account(1, trader.venue.exchange.now, locked=True)
    with pytest.raises(Refused) as refused:
        trader.order()
    assert refused.value.code == 11098
    assert {row["currency"]: row["locked"] for row in trader.http("private/get_user_locks")}["USDC"] is True
