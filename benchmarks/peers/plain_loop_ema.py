"""The EMA-cross book as one plain Python loop: no events, no order book, no risk, nothing written.

It is no rival. It says what the others must report: the number of orders and the final equity.
"""

import platform

from peer import QUANTITY, STARTING_CASH, TAKER_FEE, Stopwatch, parse_workload, peak_rss_mb, read_bars, write_report


def _main() -> None:
    workload = parse_workload("a plain Python loop")
    watch = Stopwatch()
    closes = read_bars(workload.bars)["close"].to_pylist()
    load = watch.lap()
    alpha_fast = 2.0 / (workload.fast + 1.0)
    alpha_slow = 2.0 / (workload.slow + 1.0)
    fast = slow = closes[0]
    cash, position, orders = float(STARTING_CASH), 0.0, 0
    for bar, close in enumerate(closes, start=1):
        if bar > 1:
            fast = alpha_fast * close + (1.0 - alpha_fast) * fast
            slow = alpha_slow * close + (1.0 - alpha_slow) * slow
        if bar < workload.slow or fast == slow:
            continue
        target = QUANTITY if fast > slow else -QUANTITY
        if target != position:
            traded = target - position
            cash -= traded * close + abs(traded) * close * TAKER_FEE
            position = target
            orders += 1
    run = watch.lap()
    write_report(
        workload.out_json,
        engine="plain loop",
        version=platform.python_version(),
        fills_at="close of the deciding bar",
        bars=len(closes),
        orders=orders,
        load=load,
        run=run,
        final_equity=cash + position * closes[-1],
        peak_rss_mb=peak_rss_mb(),
    )


if __name__ == "__main__":
    _main()
