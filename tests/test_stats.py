"""Reference values, exact enumeration and properties of the sequential tests."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_step import stats

RATES = st.floats(1e-4, 0.999)


def binomial(y: int, n: int, p: float) -> float:
    return math.comb(n, y) * p**y * (1.0 - p) ** (n - y)


def e_table(n_c, n_b, a_c, a_b, **options) -> list[tuple[int, int, float]]:
    """Every outcome (y_c, y_b) with its e-value."""
    return [
        (y_c, y_b, math.exp(stats.log_e(y_c, n_c, y_b, n_b, a_c, a_b, **options)))
        for y_c, y_b in product(range(n_c + 1), range(n_b + 1))
    ]


def mean_of(table: list[tuple[int, int, float]], n_c: int, n_b: int, p_c: float, p_b: float) -> float:
    """E[e] at the point (p_c, p_b)."""
    chance_c = [binomial(y, n_c, p_c) for y in range(n_c + 1)]
    chance_b = [binomial(y, n_b, p_b) for y in range(n_b + 1)]
    return sum(chance_c[y_c] * chance_b[y_b] * e for y_c, y_b, e in table)


@pytest.mark.parametrize(
    ("counts", "alternative", "options", "expected"),
    [
        ((2, 10, 1, 990), (stats.shift_odds(0.001, 30), 0.001), {"null": "at most"}, 6.053342),
        ((1, 1, 0, 99), (stats.shift_odds(0.001, 5000), 0.001), {"null": "at most"}, 5.321360),
        ((0, 500, 4, 4500), (0.001, 0.001), {"null": "at least", "margin": 0.002}, 0.943326),
        ((3, 100, 2, 900), (0.01, 0.002), {"null": "at most", "ratio": 1.5}, 2.186837),
        ((1, 1, 0, 1), (2 / 3, 1 / 3), {"null": "at most"}, math.log(16 / 9)),
    ],
)
def test_log_e_reference(counts, alternative, options, expected):
    assert stats.log_e(*counts, *alternative, **options) == pytest.approx(expected, abs=1e-6)


def test_projection_reference():
    assert stats.project(500, 4500, 0.001, 0.001, 1.0, 0.002) == pytest.approx((0.00293166, 0.00093166), abs=1e-8)
    assert stats.project(1, 1, 0.75, 0.25, 1.0, 0.0) == (0.5, 0.5)
    assert stats.project(1, 1, 0.75, 0.25, 1.0, 1e-9) == pytest.approx((0.5, 0.5), abs=1e-8)


def test_odds_give_the_noncentral_hypergeometric():
    """Given the sum, the counts of two sides whose odds differ by 2 follow (1, 8, 4)/13."""
    rate = 0.3
    weights = [binomial(y, 2, stats.shift_odds(rate, 2.0)) * binomial(2 - y, 2, rate) for y in range(3)]
    assert [w / sum(weights) for w in weights] == pytest.approx([1 / 13, 8 / 13, 4 / 13])


@pytest.mark.parametrize(
    ("ratio", "margin"), [(1.0, 0.0), (1.5, 0.0), (0.7, 0.0), (1.0, 0.05), (1.2, 0.03), (1.0, -0.05)]
)
@pytest.mark.parametrize(("n_c", "n_b"), [(1, 1), (2, 9), (7, 3), (5, 12)])
@pytest.mark.parametrize("null", ["at most", "at least"])
def test_e_has_mean_at_most_one_over_the_whole_null(ratio, margin, n_c, n_b, null):
    """Exact enumeration: no point of the null gives the e-value a mean above 1, and the projection gives it 1."""
    alternatives = (
        [(0.9, 0.2), (0.02, 0.01), (0.4, 0.35)] if null == "at most" else [(0.01, 0.1), (0.1, 0.1), (0.2, 0.9)]
    )
    grid = [i / 40 for i in range(41)]
    for a_c, a_b in alternatives:
        table = e_table(n_c, n_b, a_c, a_b, null=null, ratio=ratio, margin=margin)
        for p_b in grid:
            edge = ratio * p_b + margin
            for p_c in [edge, *grid]:
                if 0 <= p_c <= 1 and (p_c <= edge if null == "at most" else p_c >= edge):
                    assert mean_of(table, n_c, n_b, p_c, p_b) <= 1.0 + 1e-9
        if not (a_c <= ratio * a_b + margin if null == "at most" else a_c >= ratio * a_b + margin):
            q_c, q_b = stats.project(n_c, n_b, a_c, a_b, ratio, margin)
            assert mean_of(table, n_c, n_b, q_c, q_b) == pytest.approx(1.0, abs=1e-9)


def test_e_allows_a_probability_of_its_own_for_each_request():
    """Requests of one window with different chances, whose averages satisfy the null."""
    chances_c, chances_b = (0.0, 0.3, 0.6), (0.1, 0.5)  # both average 0.3
    mean = 0.0
    for outcome in product((0, 1), repeat=5):
        chance = math.prod(p if o else 1 - p for o, p in zip(outcome, chances_c + chances_b, strict=True))
        y_c, y_b = sum(outcome[:3]), sum(outcome[3:])
        mean += chance * math.exp(stats.log_e(y_c, 3, y_b, 2, 0.8, 0.3, null="at most"))
    assert mean <= 1.0


@given(RATES, RATES, st.integers(1, 10**6), st.integers(1, 10**6), st.floats(0.3, 3.0), st.floats(-0.2, 0.2))
def test_projection_is_on_the_boundary_and_nearest(a_c, a_b, n_c, n_b, ratio, margin):
    least, most = max(0.0, -margin / ratio), min(1.0, (1.0 - margin) / ratio)
    q_c, q_b = stats.project(n_c, n_b, a_c, a_b, ratio, margin)
    assert q_c == pytest.approx(ratio * q_b + margin)
    assert least <= q_b <= most

    def distance(x: float) -> float:
        return n_c * stats.divergence(a_c, ratio * x + margin) + n_b * stats.divergence(a_b, x)

    here = distance(q_b)
    for other in (0.5 * (q_b + least), 0.5 * (q_b + most), q_b + 0.01 * (least - q_b), q_b + 0.01 * (most - q_b)):
        assert here <= distance(other) + 1e-9 * abs(here) + 1e-9


def test_an_empty_side_says_nothing():
    assert stats.log_e(0, 0, 3, 100, 0.03, 0.001, null="at most") == 0.0
    assert stats.log_e(3, 100, 0, 0, 0.03, 0.001, null="at most") == pytest.approx(0.0, abs=1e-12)
    assert stats.log_e(0, 0, 0, 0, 0.03, 0.001, null="at most") == 0.0
    assert stats.log_e(0, 0, 3, 100, 0.001, 0.001, null="at least", margin=0.005) == pytest.approx(0.0, abs=1e-12)


def test_without_stable_the_margin_alone_is_tested():
    """p_c >= p_b + d implies p_c >= d, which the preview's own requests can refute."""
    alone = stats.log_e(0, 1000, 0, 0, 0.001, 0.001, null="at least", margin=0.005)
    assert alone == pytest.approx(1000 * (math.log1p(-0.001) - math.log1p(-0.005)))


def test_an_alternative_inside_the_null_is_worth_nothing():
    assert stats.log_e(50, 100, 0, 100, 0.01, 0.02, null="at most") == 0.0
    assert stats.log_e(0, 100, 50, 100, 0.02, 0.001, null="at least", margin=0.005) == 0.0


def test_evidence_is_clipped():
    assert stats.log_e(10**6, 10**6, 0, 10**6, 0.9, 0.001, null="at most") == stats.LOG_LIMIT
    assert stats.log_e(0, 10**6, 10**6, 10**6, 0.9, 0.001, null="at most") == -stats.LOG_LIMIT


@pytest.mark.parametrize(
    ("bad", "total", "null", "expected"),
    [(5, 100, "at most", 1.655654), (2, 10, "at most", 2.940706), (0, 500, "at least", 4.096224)],
)
def test_limit_reference(bad, total, null, expected):
    assert stats.log_e_limit(bad, total, 0.01, null=null) == pytest.approx(expected, abs=1e-6)


def test_377_clean_requests_prove_less_than_one_percent():
    needed = math.log(20.0)
    assert stats.log_e_limit(0, 376, 0.01, null="at least") < needed <= stats.log_e_limit(0, 377, 0.01, null="at least")


@pytest.mark.parametrize("null", ["at most", "at least"])
@pytest.mark.parametrize("limit", [0.01, 0.3, 0.9])
def test_limit_e_has_mean_at_most_one(null, limit):
    for n in (1, 5, 40):
        for step in range(101):
            rate = limit * step / 100 if null == "at most" else limit + (1 - limit) * step / 100
            mean = sum(binomial(y, n, rate) * math.exp(stats.log_e_limit(y, n, limit, null=null)) for y in range(n + 1))
            assert mean <= 1.0 + 1e-9


def test_limit_is_a_running_product():
    """E[E_n | first n-1 requests] = E_(n-1) at the limit itself: what makes it valid at any time."""
    limit = 0.07
    for bad, total in ((0, 0), (1, 3), (4, 50)):
        now = math.exp(stats.log_e_limit(bad, total, limit, null="at most"))
        worse = math.exp(stats.log_e_limit(bad + 1, total + 1, limit, null="at most"))
        better = math.exp(stats.log_e_limit(bad, total + 1, limit, null="at most"))
        assert limit * worse + (1 - limit) * better == pytest.approx(now)


@pytest.mark.parametrize(
    ("x", "a", "b"), [(0.01, 0.5, 0.5), (0.3, 2.5, 4.5), (0.01, 10.5, 989.5), (0.2, 300.0, 1000.0), (0.9, 0.5, 30.5)]
)
def test_incomplete_beta_against_quadrature(x, a, b):
    """Simpson's rule in t = sin(u)**2, which has no singular ends."""
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

    def density(u: float) -> float:
        s, c = math.sin(u), math.cos(u)
        return 2.0 * math.exp((2 * a - 1) * math.log(s) + (2 * b - 1) * math.log(c) - log_beta) if s and c else (
            2.0 * math.exp(-log_beta) if (a == 0.5 and not s) or (b == 0.5 and not c) else 0.0
        )  # fmt: skip

    end, steps = math.asin(math.sqrt(x)), 20_000
    h = end / steps
    total = density(0.0) + density(end) + sum((4 if i % 2 else 2) * density(i * h) for i in range(1, steps))
    assert math.exp(stats.log_beta_below(x, a, b)) == pytest.approx(total * h / 3, rel=1e-7)
    assert math.exp(stats.log_beta_above(x, a, b)) == pytest.approx(1 - total * h / 3, rel=1e-6)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(1e-5, 0.99))
def test_bounds_enclose_the_rate_and_invert_the_test(bad, good, alpha):
    total = bad + good
    lower, upper = stats.lower_bound(bad, total, alpha), stats.upper_bound(bad, total, alpha)
    assert 0.0 <= lower <= upper <= 1.0
    if total:
        assert lower <= bad / total + 1e-9
        assert bad / total <= upper + 1e-9
    if good and upper < 1.0 - 1e-9:
        assert stats.log_e_limit(bad, total, upper, null="at least") == pytest.approx(math.log(1 / alpha), abs=1e-3)


def test_bounds_shrink_and_start_at_everything():
    assert (stats.lower_bound(0, 0, 0.05), stats.upper_bound(0, 0, 0.05)) == (0.0, 1.0)
    uppers = [stats.upper_bound(0, n, 0.05) for n in (1, 10, 100, 1000, 10**6)]
    assert uppers == sorted(uppers, reverse=True)
    assert uppers[-1] < 1e-5
    assert stats.upper_bound(0, 377, 0.05) < 0.01 < stats.upper_bound(0, 376, 0.05)


def test_band_radius():
    assert stats.band_radius(0, 0.01) == 1.0
    expected = 0.85 * math.sqrt((math.log(math.log(math.e * 1000)) + 0.8 * math.log(161_200)) / 1000)
    assert stats.band_radius(1000, 0.01) == pytest.approx(expected)


def test_share_is_a_running_product_and_finds_a_starved_preview():
    weight = 0.05
    now = math.exp(stats.log_e_share(3, 40, weight))
    to_preview, to_stable = (math.exp(stats.log_e_share(3 + i, 41 - i, weight)) for i in (1, 0))
    assert weight * to_preview + (1 - weight) * to_stable == pytest.approx(now)
    assert stats.log_e_share(0, 100, weight) > math.log(100)
    assert stats.log_e_share(50, 950, weight) < 0.0
    assert stats.log_e_share(10, 0, 1.0) == stats.log_e_share(0, 10, 0.0) == 0.0


def test_pearson_and_overdispersion():
    assert stats.pearson([(2, 10), (4, 10), (0, 0)]) == (pytest.approx(0.2 / 0.21), 1)
    x2, df = stats.pearson([(10, 100), (20, 100), (30, 100)])
    assert (x2, df) == (pytest.approx(200 / (100 * 0.2 * 0.8)), 2)
    assert stats.pearson([(0, 10), (0, 20)]) == stats.pearson([(5, 5), (4, 4)]) == stats.pearson([(1, 9)]) == (0.0, 0)
    assert stats.overdispersion(0.0, 50) == 1.0
    assert stats.overdispersion(100.0, 20) == pytest.approx(105 / 25)
    assert stats.overdispersion(0.0, 0, assumed=2.0) == 2.0
    assert stats.overdispersion(1000.0, 1000, assumed=2.0) == pytest.approx(1010 / 1005)


def test_onset_masses_sum_to_one():
    hazard = 1 / 60
    spent = sum(math.exp(stats.log_onset_mass(t, hazard)) for t in range(500))
    assert spent + math.exp(stats.log_onset_left(500, hazard)) == pytest.approx(1.0)
    assert stats.log_onset_left(0, hazard) == 0.0


@pytest.mark.parametrize(("margin", "expected"), [(0.001, 12861), (0.002, 3848), (0.005, 972), (0.009, 449)])
def test_requests_to_promote_against_the_floors(margin, expected):
    """With Wald's numerator for errors of 1 % and 5 % the promote floors come out."""
    wald = 0.99 * math.log(0.99 / 0.05) + 0.01 * math.log(0.01 / 0.95)
    assert stats.requests_to_promote(0.001, margin, 0.5, wald) == pytest.approx(expected, abs=0.6)


@given(st.lists(st.tuples(st.floats(0.1, 5), st.floats(-400, 400)), min_size=1, max_size=6))
def test_log_mean_lies_between(terms):
    value = stats.log_mean(terms)
    assert min(v for _, v in terms) - 1e-9 <= value <= max(v for _, v in terms) + 1e-9


@given(st.floats(-500, 500), st.floats(-500, 500))
def test_log_add(a, b):
    top = max(a, b)
    assert stats.log_add(a, b) - top == pytest.approx(math.log(math.exp(a - top) + math.exp(b - top)))
