"""The EMA-cross book in backtrader, set up as its documentation advises for speed.

Data is preloaded, lines are computed ahead (`runonce`) and the standard observers are off. The averages are plain
Python, as its own indicator starts from a simple average. A market order given on a bar is filled at the next
bar's open.
"""

from collections.abc import Iterator

import backtrader as bt
import pyarrow as pa
from peer import (
    QUANTITY,
    STARTING_CASH,
    TAKER_FEE,
    Lap,
    Stopwatch,
    parse_workload,
    peak_rss_mb,
    read_bars,
    write_report,
)

DAY_NS = 86_400_000_000_000
EPOCH_DAY = 719_163.0  # 1970-01-01 as backtrader counts: days, 0001-01-01 being 1


class TableFeed(bt.feed.DataBase):
    """Bars from a table in memory; backtrader's feed for pandas takes 80 microseconds a bar to say the same."""

    params = (("table", None), ("timeframe", bt.TimeFrame.Minutes))

    rows: Iterator[tuple[float, ...]]

    def start(self) -> None:
        """Begin at the first bar."""
        super().start()
        table: pa.Table = self.p.table
        days = table["ts_ns"].to_numpy() / DAY_NS + EPOCH_DAY
        prices = (table[name].to_pylist() for name in ("open", "high", "low", "close", "volume"))
        self.rows = zip(days.tolist(), *prices, strict=True)

    def _load(self) -> bool:
        row = next(self.rows, None)
        if row is None:
            return False
        lines = self.lines
        lines.datetime[0], lines.open[0], lines.high[0], lines.low[0], lines.close[0], lines.volume[0] = row
        return True


class EmaCross(bt.Strategy):
    """Long while the fast average is above the slow one, short while it is below."""

    params = (("fast", 0), ("slow", 0), ("watch", None))

    load: Lap

    def start(self) -> None:
        """Take the time at which the bars are in memory: backtrader preloads them inside its run."""
        self.load = self.p.watch.lap()
        self.close = self.data.close
        self.alpha_fast = 2.0 / (self.p.fast + 1.0)
        self.alpha_slow = 2.0 / (self.p.slow + 1.0)
        self.warm_up = self.p.slow
        self.bars = 0
        self.fast = self.slow = 0.0
        self.is_long: bool | None = None

    def next(self) -> None:
        """Flip the position where the averages have crossed."""
        close = self.close[0]
        self.bars += 1
        if self.bars == 1:
            self.fast = self.slow = close
        else:
            self.fast = self.alpha_fast * close + (1.0 - self.alpha_fast) * self.fast
            self.slow = self.alpha_slow * close + (1.0 - self.alpha_slow) * self.slow
        if self.bars < self.warm_up:
            return
        if self.fast > self.slow and self.is_long is not True:
            self.buy(size=QUANTITY if self.is_long is None else 2 * QUANTITY)
            self.is_long = True
        elif self.fast < self.slow and self.is_long is not False:
            self.sell(size=QUANTITY if self.is_long is None else 2 * QUANTITY)
            self.is_long = False


def _main() -> None:
    workload = parse_workload("backtrader")
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker.setcash(STARTING_CASH)
    cerebro.broker.setcommission(commission=TAKER_FEE)
    watch = Stopwatch()
    cerebro.adddata(TableFeed(table=read_bars(workload.bars)))
    cerebro.addstrategy(EmaCross, fast=workload.fast, slow=workload.slow, watch=watch)
    (strategy,) = cerebro.run()
    run = watch.lap()
    write_report(
        workload.out_json,
        engine="backtrader",
        version=bt.__version__,
        fills_at="open of the next bar",
        bars=strategy.bars,
        orders=sum(order.status == order.Completed for order in cerebro.broker.orders),
        load=strategy.load,
        run=run,
        final_equity=cerebro.broker.getvalue(),
        peak_rss_mb=peak_rss_mb(),
    )


if __name__ == "__main__":
    _main()
