"""The EMA-cross book in NautilusTrader's Rust engine (its version 2, in preview), with a strategy written in Python.

The engine comes in the same wheel as `nautilus_pyo3`. Logging and the analysis after the run are off. A market
order given on a bar is filled at once at that bar's close.
"""

from decimal import Decimal
from typing import Self

import nautilus_trader
from nautilus_trader.core import nautilus_pyo3 as nautilus
from peer import QUANTITY, STARTING_CASH, TAKER_FEE, Stopwatch, parse_workload, peak_rss_mb, read_bars, write_report

VENUE = nautilus.Venue("SIM")
USDT = nautilus.Currency.from_str("USDT")
INSTRUMENT_ID = nautilus.InstrumentId.from_str("BTCUSDT.SIM")
BAR_TYPE = nautilus.BarType.from_str("BTCUSDT.SIM-1-MINUTE-LAST-EXTERNAL")


class EmaCross(nautilus.Strategy):
    """Long while the fast average is above the slow one, short while it is below."""

    def __new__(cls, config: nautilus.StrategyConfig, *_: int) -> Self:
        return super().__new__(cls, config)

    def __init__(self, _config: nautilus.StrategyConfig, fast: int, slow: int) -> None:
        super().__init__()
        self.fast = nautilus.ExponentialMovingAverage(fast)
        self.slow = nautilus.ExponentialMovingAverage(slow)
        self.side: nautilus.OrderSide | None = None
        self.orders = 0

    def on_start(self) -> None:
        self.subscribe_bars(BAR_TYPE)

    def on_bar(self, bar: nautilus.Bar) -> None:
        """Flip the position where the averages have crossed."""
        close = bar.close.as_double()
        self.fast.update_raw(close)
        self.slow.update_raw(close)
        if not self.slow.initialized:
            return
        fast, slow = self.fast.value, self.slow.value
        if fast > slow and self.side != nautilus.OrderSide.BUY:
            self._take(nautilus.OrderSide.BUY)
        elif fast < slow and self.side != nautilus.OrderSide.SELL:
            self._take(nautilus.OrderSide.SELL)

    def _take(self, side: nautilus.OrderSide) -> None:
        quantity = QUANTITY if self.side is None else 2 * QUANTITY
        self.side = side
        self.orders += 1
        self.submit_order(
            nautilus.MarketOrder(
                trader_id=self.trader_id,
                strategy_id=self.strategy_id,
                instrument_id=INSTRUMENT_ID,
                client_order_id=nautilus.ClientOrderId(f"O-{self.orders}"),
                order_side=side,
                quantity=nautilus.Quantity(quantity, 3),
                init_id=nautilus.UUID4(),
                ts_init=self.clock.timestamp_ns(),
                time_in_force=nautilus.TimeInForce.GTC,
                reduce_only=False,
                quote_quantity=False,
                contingency_type=nautilus.ContingencyType.NO_CONTINGENCY,
            )
        )


def _instrument() -> nautilus.CryptoPerpetual:
    return nautilus.CryptoPerpetual(
        instrument_id=INSTRUMENT_ID,
        raw_symbol=nautilus.Symbol("BTCUSDT"),
        base_currency=nautilus.Currency.from_str("BTC"),
        quote_currency=USDT,
        settlement_currency=USDT,
        is_inverse=False,
        price_precision=2,
        size_precision=3,
        price_increment=nautilus.Price(0.01, 2),
        size_increment=nautilus.Quantity(0.001, 3),
        margin_init=Decimal("0.05"),
        margin_maint=Decimal("0.025"),
        maker_fee=Decimal(0),
        taker_fee=Decimal(str(TAKER_FEE)),
        ts_event=0,
        ts_init=0,
    )


def _main() -> None:
    workload = parse_workload("NautilusTrader's Rust engine")
    engine = nautilus.BacktestEngine(
        nautilus.BacktestEngineConfig(
            logging=nautilus.LoggerConfig(bypass_logging=True), bypass_logging=True, run_analysis=False
        )
    )
    engine.add_venue(
        venue=VENUE,
        oms_type=nautilus.OmsType.NETTING,
        account_type=nautilus.AccountType.MARGIN,
        base_currency=USDT,
        starting_balances=[nautilus.Money(STARTING_CASH, USDT)],
    )
    engine.add_instrument(_instrument())
    watch = Stopwatch()
    columns = read_bars(workload.bars).to_pydict()
    bars = [
        nautilus.Bar(
            BAR_TYPE,
            nautilus.Price(open_, 2),
            nautilus.Price(high, 2),
            nautilus.Price(low, 2),
            nautilus.Price(close, 2),
            nautilus.Quantity(volume, 3),
            ts_ns,
            ts_ns,
        )
        for ts_ns, open_, high, low, close, volume in zip(*columns.values(), strict=True)
    ]
    last_close = bars[-1].close
    engine.add_data(bars)
    bar_count = len(bars)
    del columns, bars
    load = watch.lap()
    config = nautilus.StrategyConfig(strategy_id=nautilus.StrategyId("EmaCross-001"))
    strategy = EmaCross(config, workload.fast, workload.slow)
    engine.add_strategy(strategy)
    engine.run()
    run = watch.lap()
    cash = engine.cache.account_for_venue(VENUE).balance_total(USDT).as_double()
    write_report(
        workload.out_json,
        engine="NautilusTrader, Rust engine",
        version=nautilus_trader.__version__,
        fills_at="close of the deciding bar",
        bars=bar_count,
        orders=engine.cache.orders_closed_count(),
        load=load,
        run=run,
        final_equity=cash + sum(p.unrealized_pnl(last_close).as_double() for p in engine.cache.positions_open()),
        peak_rss_mb=peak_rss_mb(),
    )
    engine.dispose()


if __name__ == "__main__":
    _main()
