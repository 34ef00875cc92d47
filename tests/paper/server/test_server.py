"""The paper exchange as a process: coming up, being the only one, surviving SIGKILL, going away."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import stat
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from tests.paper.server.exchange import BTC, Exchange, refused, running

pytestmark = pytest.mark.drill


def test_the_ready_line_names_everything_and_stands_in_the_state_directory(tmp_path: Path) -> None:
    with running(tmp_path / "s") as exchange:
        card = tmp_path / "s" / "server.json"
        assert json.loads(card.read_text()) == exchange.ready
        assert stat.S_IMODE(card.stat().st_mode) == 0o600
        assert stat.S_IMODE(Path(exchange.ready["key_file"]).stat().st_mode) == 0o600
        assert exchange.ready["schema"] == "perpctl.paper/1"
        assert exchange.ready["pid"] == exchange.process.pid
        exchange.auth()
        assert exchange.rpc("private/get_positions") == []
        assert exchange.stop() == 0
        assert not card.exists()


def test_a_second_server_on_the_directory_exits_10_and_names_the_holder(tmp_path: Path) -> None:
    with running(tmp_path) as exchange:
        code, said = refused(tmp_path)
        assert code == 10
        assert str(exchange.ready["pid"]) in said


def test_a_port_of_ours_is_10_and_a_strangers_port_is_2(tmp_path: Path) -> None:
    with running(tmp_path / "a") as exchange:
        port = exchange.ready["control"].split(":")[2].split("/")[0]
        assert refused(tmp_path / "b", "--port", port)[0] == 10
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        assert refused(tmp_path / "c", "--port", str(stranger.getsockname()[1]))[0] == 2


def test_a_damaged_state_exits_11_and_touches_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as exchange:
        exchange.stop()
    saved = tmp_path / "checkpoint.json"
    for damage in (b"", saved.read_bytes()[:-9], saved.read_bytes().replace(b"paper", b"raper")):
        saved.write_bytes(damage)
        code, said = refused(tmp_path)
        assert code == 11
        assert "checkpoint.json" in said
        assert "Traceback" not in said
        assert saved.read_bytes() == damage


@pytest.mark.parametrize("options", [("--feed", "magic"), ("--feed", "replay:/none.csv"), ("--speed", "0")])
def test_wrong_options_exit_2_with_a_sentence(tmp_path: Path, options: tuple[str, str]) -> None:
    code, said = refused(tmp_path, *options)
    assert code == 2
    assert "Traceback" not in said


def order(exchange: Exchange, **params: Any) -> Any:
    given = {"instrument_name": BTC, "amount": 0.01, "price": 83300, "post_only": True} | params
    return exchange.rpc("private/buy", **{name: value for name, value in given.items() if value is not None})


def account(exchange: Exchange) -> tuple[Any, ...]:
    summary = exchange.rpc("private/get_account_summary", currency="USDC")
    orders = exchange.rpc("private/get_open_orders", include_isolated=True)
    fills = exchange.rpc("private/get_user_trades_by_currency", currency="USDC", count=1000)["trades"]
    positions = exchange.rpc("private/get_positions")
    return (
        summary["balance"],
        sorted((row["order_id"], row["label"], row["filled_amount"]) for row in orders),
        [row["trade_id"] for row in fills],
        [(row["instrument_name"], row["size_currency"]) for row in positions],
    )


def test_what_was_acknowledged_survives_sigkill_every_time(tmp_path: Path) -> None:
    known: tuple[Any, ...] | None = None
    for round_ in range(4):
        with running(tmp_path, "--speed", "20") as exchange:
            exchange.auth()
            if known is not None:
                now = account(exchange)
                assert now[0] == known[0]
                assert set(known[1]) <= set(now[1])
                assert now[2:] == known[2:]
            order(exchange, label=f"rest{round_}")
            order(exchange, type="market", price=None, post_only=None, label=f"fill{round_}")
            known = account(exchange)
            exchange.kill()
    told = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
    fills = [row["trade"] for row in told if "trade" in row]
    assert len(fills) == len({row["trade_id"] for row in fills})
    assert len({row["order_id"] for row in fills}) == 4  # of one or more fills each: the best level may be thin


def test_a_torn_last_line_is_forgiven_and_a_torn_middle_is_not(tmp_path: Path) -> None:
    with running(tmp_path) as exchange:
        exchange.auth()
        order(exchange, label="kept")
        exchange.kill()
    (log,) = tmp_path.glob("log-*.jsonl")
    whole = log.read_bytes()
    log.write_bytes(whole[:10] + b"#" + whole[11:])
    assert refused(tmp_path)[0] == 11
    log.write_bytes(whole + b'{"op":"place","ar')
    with running(tmp_path) as exchange:
        exchange.auth()
        assert [row["label"] for row in exchange.rpc("private/get_open_orders")] == ["kept"]


def test_market_time_stands_still_while_no_server_runs(tmp_path: Path) -> None:
    with running(tmp_path) as exchange:
        exchange.control("advance", seconds=3600)
        before = exchange.rpc("public/get_time")
        exchange.stop()
    with running(tmp_path) as exchange:
        assert 0 <= exchange.rpc("public/get_time") - before < 5000


def test_a_sockets_orders_die_with_a_server_that_was_killed_while_it_was_armed(tmp_path: Path) -> None:
    async def arm(exchange: Exchange) -> None:
        async with websockets.connect(exchange.ready["gateway_ws"], proxy=None) as wire:
            calls = [
                ("public/auth", {"grant_type": "coinbase_cdp", "token": exchange.jwt()}),
                ("private/enable_cancel_on_disconnect", {}),
                ("private/buy", {"instrument_name": BTC, "amount": 0.01, "price": 83300, "label": "armed"}),
            ]
            for number, (method, params) in enumerate(calls):
                await wire.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}))
                assert "result" in json.loads(await wire.recv())
            exchange.kill()

    with running(tmp_path) as exchange:
        exchange.auth()
        order(exchange, label="over http")
        asyncio.run(arm(exchange))
    with running(tmp_path) as exchange:
        exchange.auth()
        assert [row["label"] for row in exchange.rpc("private/get_open_orders")] == ["over http"]


def test_tls_is_verified_with_the_named_authority(tmp_path: Path) -> None:
    with running(tmp_path, "--tls") as exchange:
        assert exchange.ready["gateway_http"].startswith("https://")
        assert exchange.rpc("public/test")["version"]
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{exchange.ready['gateway_http']}/public/test", trust_env=False)

        async def over_socket() -> Any:
            context = ssl.create_default_context(cafile=exchange.ready["ca_file"])
            address = exchange.ready["gateway_streams"]
            async with websockets.connect(address, ssl=context, proxy=None) as wire:
                await wire.send('{"jsonrpc":"2.0","id":1,"method":"public/test","params":{}}')
                return json.loads(await wire.recv())

        assert asyncio.run(over_socket())["result"]["version"]


def test_an_idle_server_leaves_by_itself(tmp_path: Path) -> None:
    with running(tmp_path, "--idle-exit", "0.5") as exchange:
        assert exchange.process.wait(10) == 0
        assert not (tmp_path / "server.json").exists()


def test_real_connections_are_cut_when_a_fault_says_so(tmp_path: Path) -> None:
    with running(tmp_path) as exchange:
        exchange.auth()
        exchange.control("fault", kind="drop_after", method="private/buy")
        with pytest.raises(httpx.TransportError):
            order(exchange, label="lost")
        assert [row["label"] for row in exchange.rpc("private/get_open_orders")] == ["lost"]
        exchange.control("fault", kind="delay", method="public/test", seconds=0.3)
        started = time.monotonic()
        exchange.rpc("public/test")
        assert time.monotonic() - started >= 0.3
        exchange.control("fault", kind="outage")
        with pytest.raises(httpx.TransportError):
            exchange.rpc("public/test")
        assert exchange.control("fault", "DELETE")["cleared"] == 1
        assert exchange.rpc("public/test")


def test_the_control_plane_moves_prices_money_states_and_time(tmp_path: Path) -> None:
    with running(tmp_path) as exchange:
        exchange.auth()
        exchange.control("price", instrument_name=BTC, price="90000")
        assert abs(exchange.rpc("public/ticker", instrument_name=BTC)["mark_price"] - 90000) < 100
        time.sleep(1.2)
        assert abs(exchange.rpc("public/ticker", instrument_name=BTC)["mark_price"] - 90000) < 500
        before = exchange.rpc("private/get_account_summary", currency="USDC")["balance"]
        exchange.control("deposit", amount="500")
        assert exchange.rpc("private/get_account_summary", currency="USDC")["balance"] == before + 500
        exchange.control("state", maintenance=True)
        assert exchange.post("private/get_positions", {}).json()["error"]["code"] == 11051
        exchange.control("state", maintenance=False)
        exchange.control("state", instrument_name=BTC, state="locked")
        assert exchange.rpc("public/status")["locked"] == "partial"
        status = exchange.control("status", "GET")
        assert status["accounts"]["1"]["username"] == "paper"
        exchange.control("expire-tokens")
        assert exchange.post("private/get_positions", {}).json()["error"]["code"] == 13009


def test_a_day_can_pass_at_once_with_its_settlement(tmp_path: Path) -> None:
    with running(tmp_path) as exchange:
        exchange.auth()
        order(exchange, type="market", price=None, post_only=None)
        before = exchange.rpc("public/get_time")
        exchange.control("advance", seconds=86_400, quiet=True)
        assert exchange.rpc("public/get_time") - before >= 86_400_000
        rows = exchange.rpc("private/get_settlement_history_by_currency", currency="USDC")["settlements"]
        assert [row["instrument_name"] for row in rows] == [BTC]
        time.sleep(1.1)
        assert exchange.rpc("public/ticker", instrument_name=BTC)["timestamp"] > before + 86_400_000


def test_the_control_plane_refuses_nonsense_and_browsers(tmp_path: Path) -> None:
    with running(tmp_path) as exchange:
        address = exchange.ready["control"]
        assert exchange.client.post(f"{address}/fault", json={"kind": "fire"}).status_code == 400
        assert exchange.client.post(f"{address}/price", json={"price": "1"}).status_code == 400
        assert exchange.client.post(f"{address}/deposit", content=b"{").status_code == 400
        foreign = exchange.client.post(f"{address}/shutdown", headers={"origin": "https://example.com"})
        assert foreign.status_code == 403


def test_a_reset_forgets_all_but_the_keys_and_shutdown_ends_it(tmp_path: Path) -> None:
    with running(tmp_path) as exchange:
        exchange.auth()
        order(exchange, label="old")
        exchange.control("reset")
        exchange.auth()
        assert exchange.rpc("private/get_open_orders") == []
        order(exchange, label="new")
        exchange.kill()
    with running(tmp_path) as exchange:
        exchange.auth()
        assert [row["label"] for row in exchange.rpc("private/get_open_orders")] == ["new"]
        exchange.control("shutdown")
        assert exchange.process.wait(10) == 0


def test_the_33rd_connection_of_one_address_gets_429(tmp_path: Path) -> None:
    async def crowd(address: str) -> int:
        wires = [await websockets.connect(address, proxy=None) for _ in range(32)]
        try:
            await websockets.connect(address, proxy=None)
        except websockets.InvalidStatus as refused_:
            return refused_.response.status_code
        finally:
            for wire in wires:
                await wire.close()
        return 101

    with running(tmp_path) as exchange:
        assert asyncio.run(crowd(exchange.ready["gateway_streams"])) == 429


def test_the_market_of_another_venue_is_followed_and_traded_beside(tmp_path: Path) -> None:
    with running(tmp_path / "real") as real:
        outside = f"venue:{real.ready['gateway_http']}"
        with running(tmp_path / "paper", "--feed", outside) as exchange:
            real.control("price", instrument_name=BTC, price="77777")
            for _ in range(60):
                ours = exchange.rpc("public/ticker", instrument_name=BTC)
                if abs(ours["mark_price"] - 77777) < 300:
                    break
                time.sleep(0.1)
            assert abs(ours["mark_price"] - 77777) < 300
            exchange.auth()
            order(exchange, type="market", price=None, post_only=None)
            assert exchange.rpc("private/get_position", instrument_name=BTC)["size_currency"] == 0.01
            real.stop()
            assert exchange.rpc("public/ticker", instrument_name=BTC)["mark_price"] > 0


def test_a_venue_that_does_not_answer_is_said_and_nothing_takes_its_place(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
    code, said = refused(tmp_path, "--feed", f"venue:http://127.0.0.1:{port}/api/v2")
    assert code == 3
    assert "does not answer" in said
    assert refused(tmp_path, "--feed", "venue:http://example.invalid/api/v2")[0] == 2
