"""Differences between models, their confidence intervals, and the power of the test."""

import numpy as np
import pytest

from enl_paper.comparison import compare, t_quantile


@pytest.mark.parametrize(
    ("p", "freedom", "value"),
    [(0.975, 1, 12.7062), (0.975, 2, 4.3027), (0.975, 14, 2.1448), (0.8, 14, 0.8681), (0.05, 30, -1.6973)],
)
def test_quantiles_are_those_of_a_printed_table(p, freedom, value):
    assert t_quantile(p, freedom) == pytest.approx(value, rel=1e-3)


def test_two_models_are_the_paired_t_test():
    a, b = np.array([50.0, 52.0, 51.0, 55.0]), np.array([51.0, 54.5, 51.5, 57.0])
    found = compare({"a": a, "b": b})
    paired = (b - a).std(ddof=1) / 2  # standard error of the mean of four differences
    assert found.difference("b", "a") == pytest.approx(1.5)
    assert found.interval == pytest.approx(3.1824 * paired, rel=1e-3)
    assert found.detectable == pytest.approx((3.1824 + 0.9785) * paired, rel=1e-3)
    assert found.significant("b", "a") == (1.5 > 3.1824 * paired)
    assert found.deviation["a"] == pytest.approx(a.std(ddof=1))


def test_a_detectable_difference_is_detected_that_often():
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(400):
        noise = rng.normal(0, 1, (8, 3)) + rng.normal(0, 5, (1, 3))  # the seed's own effect is taken out
        noise[1] += (2.1448 + 0.8681) * (2 / 3) ** 0.5
        hits.append(compare({str(i): row for i, row in enumerate(noise)}).significant("1", "0"))
    assert 0.72 < np.mean(hits) < 0.88


@pytest.mark.parametrize("values", [{}, {"a": [1.0, 2.0]}, {"a": [1.0], "b": [2.0]}, {"a": [1.0, 2.0], "b": [1.0]}])
def test_too_little_to_compare_is_said(values):
    with pytest.raises(ValueError, match="two models"):
        compare(values)
