"""What a poll costs."""

from __future__ import annotations

import statistics
import time

from pipeline_step.judge import Evidence, Metric, Policy, Side, Window, update
from pipeline_step.verdict import verdict

EDGES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def milliseconds(polls: int = 300) -> tuple[float, float]:
    """Median time to fold and to judge a poll of five error and five latency metrics."""
    errors = tuple(Metric(name=f"errors {i}", limit=0.01) for i in range(5))
    latencies = tuple(Metric(name=f"latency {i}", edges=EDGES, edge=0.5, max_increase=0.01) for i in range(5))
    policy, evidence = Policy(metrics=errors + latencies), Evidence()
    slower = (900, 700, 400, 200, 100, 30, 4, 1, 0, 0, 0)
    windows = {metric.name: Window(Side(1000, (1,)), Side(9000, (8,)), ((3, 4500), (5, 4500))) for metric in errors}
    windows |= {
        metric.name: Window(Side(1000, slower), Side(9000, tuple(9 * n for n in slower))) for metric in latencies
    }
    folds, judges = [], []
    for _ in range(polls):
        start = time.process_time()
        evidence = update(policy, evidence, windows, 10.0)
        middle = time.process_time()
        verdict(policy, evidence)
        folds.append(middle - start)
        judges.append(time.process_time() - middle)
    return 1000 * statistics.median(folds), 1000 * statistics.median(judges)
