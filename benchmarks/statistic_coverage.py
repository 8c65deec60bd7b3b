"""How often the 95 % intervals hold the true value, by simulation at the size of Cohort II (n = 73).

    python -m benchmarks.statistic_coverage [repetitions]

Pairs are drawn from bivariate normal distributions whose truth is known; a statistic passes when its interval
holds the truth in 93 to 97 of 100 cohorts (target: 95 % ± 2). 1,000 repetitions take a few minutes and have a
Monte Carlo error of 0.7 points. Exit status 1 when a target is missed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import numpy as np
from scipy import stats
from tqdm import tqdm

from cardio_mlflow.analysis import agreement
from cardio_mlflow.analysis.bland_altman import limits_of_agreement
from cardio_mlflow.analysis.bootstrap import bootstrap_interval
from cardio_mlflow.analysis.discrimination import area_under_curve, delong_interval
from cardio_mlflow.analysis.predictions import FloatArray

PATIENTS = 73
RESAMPLES = 1000
R, SHIFT, SCALE = 0.7, 0.2, 0.8
"""Correlation; mean and SD of the prediction, where the reference has 0 and 1."""
CUTOFF = 0.3
TARGET = (0.93, 0.97)

Intervals = Iterator[tuple[str, float, float, float]]


def draw(rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Reference and prediction of a cohort."""
    x, noise = rng.standard_normal((2, PATIENTS))
    return x, SHIFT + SCALE * (R * x + np.sqrt(1 - R**2) * noise)


def true_auc() -> float:
    """AUC of the prediction for a reference above the cut-off, by a large simulation."""
    rng = np.random.default_rng(99)
    x, noise = rng.standard_normal((2, 2_000_000))
    y = R * x + np.sqrt(1 - R**2) * noise
    return float(area_under_curve(x, y, cutoff=CUTOFF, abnormal="above"))


def truths() -> dict[str, tuple[Callable[[FloatArray, FloatArray], FloatArray], float]]:
    """Each bootstrapped statistic and its true value."""
    difference_variance = 1 + SCALE**2 - 2 * R * SCALE
    folded = stats.foldnorm(SHIFT / np.sqrt(difference_variance), scale=np.sqrt(difference_variance))
    ccc = 2 * R * SCALE / (1 + SCALE**2 + SHIFT**2)
    slope = R / SCALE
    return {
        "r (bootstrap)": (agreement.pearson, R),
        "Spearman": (agreement.spearman, 6 / np.pi * np.arcsin(R / 2)),
        "CCC": (agreement.concordance, ccc),
        "ICC(2,1)": (agreement.intraclass_correlation, ccc),
        "MAE": (agreement.mean_absolute_error, float(folded.mean())),
        "RMSE": (agreement.root_mean_squared_error, np.sqrt(difference_variance + SHIFT**2)),
        "bias": (agreement.bias, SHIFT),
        "calibration slope": (agreement.calibration_slope, slope),
        "calibration intercept": (agreement.calibration_intercept, -slope * SHIFT),
    }


def intervals(x: FloatArray, y: FloatArray, seed: int, auc: float) -> Intervals:
    """Name, truth, lower and upper end of every interval of a cohort."""
    for name, (statistic, truth) in truths().items():
        found = bootstrap_interval(statistic, x, y, RESAMPLES, seed)
        yield name, truth, found.low, found.high
    yield "r (Fisher)", R, *agreement.fisher_interval(float(agreement.pearson(x, y)), len(x))
    limits = limits_of_agreement(x, y)
    sd = np.sqrt(1 + SCALE**2 - 2 * R * SCALE)
    yield "lower limit (Carkeet)", SHIFT - stats.norm.ppf(0.975) * sd, *limits.lower_interval
    yield "upper limit (Carkeet)", SHIFT + stats.norm.ppf(0.975) * sd, *limits.upper_interval

    def own_auc(a: FloatArray, b: FloatArray) -> FloatArray:
        return area_under_curve(a, b, cutoff=CUTOFF, abnormal="above")

    found = bootstrap_interval(own_auc, x, y, RESAMPLES, seed)
    yield "AUC (bootstrap)", auc, found.low, found.high
    yield "AUC (DeLong)", auc, *delong_interval(x > CUTOFF, y, np.arange(len(x)))


def main(repetitions: int) -> int:
    """Print the coverage of each interval; returns how many miss the target."""
    rng, auc = np.random.default_rng(2026), true_auc()
    held: dict[str, list[bool]] = {}
    for i in tqdm(range(repetitions), unit="cohort"):
        for name, truth, low, high in intervals(*draw(rng), i, auc):
            held.setdefault(name, []).append(low <= truth <= high)
    missed = 0
    for name, values in held.items():
        share = float(np.mean(values))
        good = TARGET[0] <= share <= TARGET[1]
        missed += not good
        print(f"{name:<24} {share:6.1%} {'' if good else 'missed'}")
    return missed


if __name__ == "__main__":
    sys.exit(bool(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)))
