"""What would this strategy have cost? The real decisions on synthetic or recorded traffic, thousands of times.

`play` is one rollout, `summary` many of them, `plot` draws them, and `backtest` lets stable's own pods pose as
previews.
"""
