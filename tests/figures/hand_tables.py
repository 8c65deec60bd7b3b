"""Tables as the analysis modules give them, built by hand from a predictions table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cardio_mlflow.analysis.predictions import reference_and_prediction, wide
from cardio_mlflow.analysis.view_subsets import MEAN, SUBSETS
from cardio_mlflow.parameters import KEYS, PARAMETERS, PULMONARY_HYPERTENSION, Parameter

PHENOTYPES = ("no PH", "pre-capillary", "isolated post-capillary", "combined", "unclassified")
LEVELS = [
    ("sex", "female"), ("sex", "male"), ("age band", "18–39"), ("age band", "40–59"), ("age band", "60–79"),
    ("age band", "80+"), ("rhythm", "sinus"), ("rhythm", "atrial fibrillation"), ("BMI band", "< 25"),
    ("BMI band", "25–30"), ("BMI band", "> 30"), ("scanner", "Vivid E95"), ("PH", "yes"), ("PH", "no"),
]  # fmt: skip
IDENTITIES = {
    "PVR = (meanPAP - PCWP) / CO": "Wood units",
    "meanPAP = (SPAP + 2 dPAP) / 3": "mmHg",
    "CI = CO / BSA": "L/min/m²",
}


def history(epochs: int = 6, **columns: object) -> pd.DataFrame:
    epoch = np.arange(1, epochs + 1)
    base = {"epoch": epoch, "stage": epoch // 3, "train_loss": 1 / epoch, "val_loss": 1.1 / epoch,
            "val_r_mean": 1 - 1 / epoch, "lr_task": 1e-4 / epoch,
            "lr_backbone": np.where(epoch < 3, 0, 3e-5 / epoch)}  # fmt: skip
    r = {f"val_r_{key}": (1 - 1 / epoch) * (1 - 0.08 * i) for i, key in enumerate(KEYS)}
    return pd.DataFrame(base | r | columns)


def positives(values: np.ndarray, wanted: Parameter) -> np.ndarray:
    return values > wanted.cutoff if wanted.abnormal == "above" else values < wanted.cutoff


def roc(one: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    points, rows = [], []
    pressure = wide(one, "reference")["meanPAP"]
    for wanted in PARAMETERS:
        table = one[(one["parameter"] == wanted.key) & one["reference"].notna()]
        score = table["prediction"].to_numpy() * (1 if wanted.abnormal == "above" else -1)
        own = positives(table["reference"].to_numpy(), wanted)
        hypertension = pressure.reindex(table["patient_id"]).to_numpy() > PULMONARY_HYPERTENSION.cutoff
        for outcome, truth in (("cut-off", own), ("PH", hypertension)):
            if outcome == "PH" and wanted is PULMONARY_HYPERTENSION:
                continue
            defined = 0 < truth.sum() < truth.size
            auc = np.mean(score[truth][:, None] > score[~truth]) if defined else np.nan
            criterion = wanted if outcome == "cut-off" else PULMONARY_HYPERTENSION
            rows.append({
                "parameter": wanted.key, "unit": wanted.unit, "outcome": outcome, "n": truth.size,
                "criterion": f"{criterion.key} {criterion.criterion}", "positives": truth.sum(), "auc": auc,
                "auc_low": auc - 0.06, "auc_high": min(auc + 0.05, 1) if defined else np.nan,
                "note": "" if defined else "no reference" if not truth.size else "one class: no AUC",
            })  # fmt: skip
            if defined:
                order = truth[np.argsort(-score)]
                points.append(pd.DataFrame({
                    "parameter": wanted.key, "outcome": outcome,
                    "fpr": np.r_[0, np.cumsum(~order) / (~order).sum()],
                    "tpr": np.r_[0, np.cumsum(order) / order.sum()],
                }))  # fmt: skip
    empty = pd.DataFrame(columns=["parameter", "outcome", "fpr", "tpr"])
    return pd.concat(points) if points else empty, pd.DataFrame(rows)


def classification(one: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for wanted in PARAMETERS:
        reference, prediction = reference_and_prediction(one, wanted.key)
        median = float(np.median(reference)) if reference.size else np.nan
        sign = 1 if wanted.abnormal == "above" else -1
        for split, cutoff in (("cut-off", wanted.cutoff), ("median", median)):
            truth, said = sign * reference > sign * cutoff, sign * prediction > sign * cutoff
            symbol = ">" if sign > 0 else "<"
            rows.append({
                "parameter": wanted.key, "unit": wanted.unit, "split": split,
                "criterion": f"{wanted.key} {symbol} {cutoff:.4g} {wanted.unit}", "n": truth.size,
                "tp": (truth & said).sum(), "fp": (~truth & said).sum(), "fn": (truth & ~said).sum(),
                "tn": (~truth & ~said).sum(), "note": "",
            })  # fmt: skip
    return pd.DataFrame(rows)


def decision(n: int) -> pd.DataFrame:
    threshold = np.arange(0.05, 0.951, 0.01)
    names = ["threshold", "n", "prevalence", "model", "model_low", "model_high", "treat_all", "treat_none"]
    if n < 10:
        return pd.DataFrame(columns=names)
    treat_all = 0.6 - 0.4 * threshold / (1 - threshold)
    model = np.maximum(treat_all, 0.55 * (1 - threshold**2))
    values = (threshold, n, 0.6, model, model - 0.07, model + 0.07, treat_all, 0.0)
    return pd.DataFrame(dict(zip(names, values, strict=True)))


def phenotypes(n: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    counts = np.random.default_rng(0).multinomial(n, np.full(25, 1 / 25))
    pairs = [(a, b) for a in PHENOTYPES for b in PHENOTYPES]
    confusion = pd.DataFrame(pairs, columns=["reference", "prediction"]).assign(n=counts)
    values = {"accuracy": 0.71, "kappa": 0.55} if n > 1 else {"accuracy": np.nan, "kappa": np.nan}
    row = {"n": n, "note": ""}
    for name, value in values.items():
        row |= {name: value, f"{name}_low": value - 0.1, f"{name}_high": value + 0.1}
    return confusion, pd.DataFrame([row])


def residuals(one: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    bands, tests = [], []
    for wanted in PARAMETERS:
        reference, prediction = reference_and_prediction(one, wanted.key)
        order = np.argsort(prediction)
        parts = np.array_split(order, 4) if reference.size else []
        for quartile, part in enumerate(parts, 1):
            residual = (prediction - reference)[part]
            bands.append({
                "parameter": wanted.key, "quartile": quartile, "n": part.size,
                "prediction_low": prediction[part].min() if part.size else np.nan,
                "prediction_high": prediction[part].max() if part.size else np.nan,
                "residual_mean": residual.mean() if part.size else np.nan,
                "residual_sd": residual.std(ddof=1) if part.size > 1 else np.nan,
            })  # fmt: skip
        p = (0.0004, 0.31) if reference.size > 5 else (np.nan, np.nan)
        tests.append(
            {"parameter": wanted.key, "n": reference.size, "bp_p": p[0], "white_p": p[1], "sd_ratio": 1.6}
        )
    return pd.DataFrame(bands), pd.DataFrame(tests)


def identities(one: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    pairs, rows = [], []
    for side in ("references", "predictions"):
        values = wide(one, side[:-1])
        sides = (
            (values["PVR"], (values["meanPAP"] - values["PCWP"]) / values["CO"]),
            (values["meanPAP"], (values["SPAP"] + 2 * values["dPAP"]) / 3),
            (values["CI"], values["CO"] / 1.9),
        )
        for (name, unit), (left, right) in zip(IDENTITIES.items(), sides, strict=True):
            table = pd.DataFrame({"left": left, "right": right}).dropna()
            pairs.append(table.assign(identity=name, unit=unit, side=side))
            d, n = table["left"] - table["right"], len(table)
            sd = d.std() if n > 2 else np.nan
            rows.append({
                "identity": name, "unit": unit, "side": side, "n": n, "r": 0.9 if n > 2 else np.nan,
                "bias": d.mean(), "sd": sd, "lower": d.mean() - 1.96 * sd, "upper": d.mean() + 1.96 * sd,
                "note": "" if n else "no patient with every value",
            })  # fmt: skip
    return pd.concat(pairs), pd.DataFrame(rows)


def subgroups(one: pd.DataFrame) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    rows = []
    for wanted in PARAMETERS:
        reference, prediction = reference_and_prediction(one, wanted.key)
        for subgroup, level in LEVELS:
            chosen = rng.random(reference.size) < 0.4
            n = int(chosen.sum())
            mae = float(np.abs(prediction - reference)[chosen].mean()) if n else np.nan
            rows.append({
                "subgroup": subgroup, "level": level, "parameter": wanted.key, "unit": wanted.unit, "n": n,
                "mae": mae, "mae_low": mae * 0.8, "mae_high": mae * 1.3,
            })  # fmt: skip
    return pd.DataFrame(rows)


def embedding(one: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    patients = sorted(set(one["patient_id"]))
    rng = np.random.default_rng(2)
    places = rng.normal(size=(len(patients), 4)) * 3
    table = pd.DataFrame(places, columns=["umap_1", "umap_2", "tsne_1", "tsne_2"])
    table.insert(0, "patient_id", patients)
    table["kmeans"] = rng.integers(0, 3, len(patients))
    table["dbscan"] = rng.integers(-1, 2, len(patients))
    rows = [("KMeans", 3, 0, np.nan, 0.21), ("DBSCAN", 2, 11, 3.2, np.nan)]
    clusters = pd.DataFrame(rows, columns=["method", "clusters", "noise", "radius", "ari_ph"])
    return table, clusters


def correlations(one: pd.DataFrame, column: str) -> pd.DataFrame:
    matrix = wide(one, column).corr(min_periods=3).reindex(index=KEYS, columns=KEYS)
    return matrix.rename_axis("parameter").reset_index()


def with_intervals(one: pd.DataFrame) -> pd.DataFrame:
    return one.assign(lower=0.8 * one["prediction"], upper=1.3 * one["prediction"])


def view_subset_accuracy() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    rows = [(views, key, rng.random(), 1 + rng.random()) for views in SUBSETS for key in (*KEYS, MEAN)]
    return pd.DataFrame(rows, columns=["views", "parameter", "r", "width_ratio"])


def folds(count: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    r = np.clip(rng.normal(0.6, 0.15, (count, 10)), -1, 0.95)
    table = pd.DataFrame(r, columns=["r_mean", *(f"r_{key}" for key in KEYS)])
    ends = pd.DataFrame({"mean": table.mean(), "SD": table.std()}).T
    table = pd.concat([table, ends])
    table.insert(0, "fold", [*(str(i + 1) for i in range(count)), "mean", "SD"])
    return table
