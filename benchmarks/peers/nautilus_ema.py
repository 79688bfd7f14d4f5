"""The EMA-cross book in NautilusTrader's backtest engine, with a strategy written in Python.

Set up as its documentation advises for one instrument and bars alone: its wrangler for the data and its own
compiled averages. Logging and analysis are off. A market order given on a bar is filled at that bar's close.
"""

from decimal import Decimal

import nautilus_trader
from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.config import LoggingConfig, StrategyConfig
from nautilus_trader.indicators import ExponentialMovingAverage
from nautilus_trader.model.currencies import BTC, USDT
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CryptoPerpetual
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.persistence.wranglers import BarDataWrangler
from nautilus_trader.trading.strategy import Strategy
from peer import QUANTITY, STARTING_CASH, TAKER_FEE, Stopwatch, parse_workload, peak_rss_mb, read_bars, write_report

VENUE = Venue("SIM")


class EmaCrossConfig(StrategyConfig, frozen=True):
    """The bars to trade and the periods of the two averages."""

    bar_type: BarType
    fast: int
    slow: int


class EmaCross(Strategy):
    """Long while the fast average is above the slow one, short while it is below."""

    def __init__(self, config: EmaCrossConfig) -> None:
        super().__init__(config)
        self.fast = ExponentialMovingAverage(config.fast)
        self.slow = ExponentialMovingAverage(config.slow)
        self.side: OrderSide | None = None

    def on_start(self) -> None:
        """Have the engine update the averages before each bar is handed over."""
        self.register_indicator_for_bars(self.config.bar_type, self.fast)
        self.register_indicator_for_bars(self.config.bar_type, self.slow)
        self.subscribe_bars(self.config.bar_type)

    def on_bar(self, bar: Bar) -> None:
        """Flip the position where the averages have crossed."""
        if not self.slow.initialized:
            return
        fast, slow = self.fast.value, self.slow.value
        if fast > slow and self.side is not OrderSide.BUY:
            self._take(OrderSide.BUY, bar)
        elif fast < slow and self.side is not OrderSide.SELL:
            self._take(OrderSide.SELL, bar)

    def _take(self, side: OrderSide, bar: Bar) -> None:
        quantity = QUANTITY if self.side is None else 2 * QUANTITY
        self.side = side
        self.submit_order(self.order_factory.market(bar.bar_type.instrument_id, side, Quantity(quantity, 3)))


def _instrument() -> CryptoPerpetual:
    return CryptoPerpetual(
        instrument_id=InstrumentId(Symbol("BTCUSDT"), VENUE),
        raw_symbol=Symbol("BTCUSDT"),
        base_currency=BTC,
        quote_currency=USDT,
        settlement_currency=USDT,
        is_inverse=False,
        price_precision=2,
        size_precision=3,
        price_increment=Price(0.01, 2),
        size_increment=Quantity(0.001, 3),
        margin_init=Decimal("0.05"),
        margin_maint=Decimal("0.025"),
        maker_fee=Decimal(0),
        taker_fee=Decimal(str(TAKER_FEE)),
        ts_event=0,
        ts_init=0,
    )


def _stop_recording_trades(engine: BacktestEngine) -> None:
    """Spare the engine a cost that nobody needs here and that none of its settings avoids.

    `run_analysis=False` stops the analysis after the run, yet at every closed trade the analyser still concatenates
    pandas series as long as the trades so far: about a quarter of the time of a run with many orders.
    """
    engine.portfolio.analyzer.record_trade = lambda *_: None


def _main() -> None:
    workload = parse_workload("NautilusTrader")
    instrument = _instrument()
    bar_type = BarType.from_str(f"{instrument.id}-1-MINUTE-LAST-EXTERNAL")
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True), run_analysis=False))
    engine.add_venue(
        venue=VENUE,
        oms_type=OmsType.NETTING,
        account_type=AccountType.MARGIN,
        base_currency=USDT,
        starting_balances=[Money(STARTING_CASH, USDT)],
    )
    engine.add_instrument(instrument)
    watch = Stopwatch()
    frame = read_bars(workload.bars).to_pandas()
    frame.index = frame.pop("ts_ns").astype("datetime64[ns, UTC]")
    bars = BarDataWrangler(bar_type, instrument).process(frame)
    last_close = bars[-1].close
    del frame
    engine.add_data(bars)
    load = watch.lap()
    _stop_recording_trades(engine)
    engine.add_strategy(EmaCross(EmaCrossConfig(bar_type=bar_type, fast=workload.fast, slow=workload.slow)))
    engine.run()
    run = watch.lap()
    cash = engine.portfolio.account(VENUE).balance_total(USDT).as_double()
    open_positions = engine.cache.positions_open()
    write_report(
        workload.out_json,
        engine="NautilusTrader",
        version=nautilus_trader.__version__,
        fills_at="close of the deciding bar",
        bars=len(bars),
        orders=engine.cache.orders_closed_count(),
        load=load,
        run=run,
        final_equity=cash + sum(p.unrealized_pnl(last_close).as_double() for p in open_positions),
        peak_rss_mb=peak_rss_mb(),
    )
    engine.dispose()


if __name__ == "__main__":
    _main()
