"""Whether references and predictions keep the identities that tie the parameters to one another."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy import stats

from cardio_mlflow.analysis import agreement
from cardio_mlflow.analysis.bootstrap import LEAST_COMPARED
from cardio_mlflow.analysis.comparison import differences, variant_table, with_sign
from cardio_mlflow.analysis.predictions import BY_IDENTITY, FloatArray, wide
from cardio_mlflow.analysis.subgroups import participants_of
from cardio_mlflow.parameters import parameter

SIDES: Final = {"references": "reference", "predictions": "prediction"}
"""Name of a side in the tables to its column in the predictions table."""

COLUMNS: Final = (
    "identity", "unit", "side", "n", "r", "bias", "sd", "lower", "upper", "mae", "note",
)  # fmt: skip
PAIR_COLUMNS: Final = ("identity", "unit", "side", "patient_id", "left", "right")


@dataclass(frozen=True)
class Identity:
    """One parameter as a function of others.

    Attributes:
        text: the identity as it is written.
        left: key of the parameter on the left, whose unit both sides have.
        needs: keys of the parameters on the right.
        divisor: the value that must be above zero, "" if there is none; "BSA" is the body surface in m².
        right: the right side, from one column per parameter and BSA.
    """

    text: str
    left: str
    needs: tuple[str, ...]
    divisor: str
    right: Callable[[pd.DataFrame], pd.Series[float]]


IDENTITIES: Final = (
    Identity(
        "PVR = (meanPAP - PCWP) / CO", "PVR", ("meanPAP", "PCWP", "CO"), "CO",
        lambda values: (values["meanPAP"] - values["PCWP"]) / values["CO"],
    ),
    Identity(
        "meanPAP = (SPAP + 2 dPAP) / 3", "meanPAP", ("SPAP", "dPAP"), "",
        lambda values: (values["SPAP"] + 2 * values["dPAP"]) / 3,
    ),
    Identity("CI = CO / BSA", "CI", ("CO",), "BSA", lambda values: values["CO"] / values["BSA"]),
)  # fmt: skip
"""Pulmonary vascular resistance and cardiac index by definition (Humbert M et al. ESC/ERS guidelines, Eur
Heart J 2022;43:3618-3731); the mean pressure by the one-third rule, which only approximates it (Chemla D et
al. Chest 2004;126:1313-1317)."""


def identity_pairs(predictions: pd.DataFrame, participants: pd.DataFrame | None) -> pd.DataFrame:
    """Left and right side of each identity, of each patient that has all its values.

    Args:
        participants: with `bsa` (m²) where it is known; a patient without it has reference CO / reference CI.

    Returns:
        `PAIR_COLUMNS`, both sides in `unit`, sorted by identity, side and patient. A patient whose divisor
        is not above zero is left out.
    """
    frames = [
        _pairs(_values(predictions, participants, side), identity, side)
        for identity in IDENTITIES
        for side in SIDES
    ]
    return pd.concat(frames, ignore_index=True)[list(PAIR_COLUMNS)]


def identity_table(predictions: pd.DataFrame, participants: pd.DataFrame | None) -> pd.DataFrame:
    """How well each identity holds among the references and among the predictions.

    Args:
        predictions: as for `identity_pairs`.
        participants: as for `identity_pairs`.

    Returns:
        One row for each identity and side, with `COLUMNS`: signed Pearson r of left and right, the mean
        (bias) and standard deviation (n − 1) of left − right, its 95 % limits of agreement (bias ∓ 1.96·sd;
        Bland JM, Altman DG. Lancet 1986;327:307-310) and the mean of its size, in `unit`.
    """
    rows = []
    for identity in IDENTITIES:
        for side in SIDES:
            values = _values(predictions, participants, side)
            pairs = _pairs(values, identity, side)
            left, right = (pairs[name].to_numpy(np.float64) for name in ("left", "right"))
            head = {"identity": identity.text, "unit": parameter(identity.left).unit, "side": side}
            note = "; ".join(_reasons(left, right) + _notes(values, identity, side))
            rows.append(head | _agreement(left, right) | {"note": note})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _values(predictions: pd.DataFrame, participants: pd.DataFrame | None, side: str) -> pd.DataFrame:
    """One row per patient: the parameters of a side, BSA, and whether BSA is the reference CO / CI."""
    reference = wide(predictions, "reference")
    values = wide(predictions, SIDES[side]).astype(np.float64)
    table = participants_of(predictions, participants)
    bsa = pd.Series(np.nan, index=values.index)
    if "bsa" in table.columns:
        bsa = table["bsa"].astype(np.float64).reindex(values.index)
    values["derived"] = False
    if {"CO", "CI"} <= set(reference.columns):
        derived = reference["CO"] / reference["CI"].where(reference["CI"] > 0)
        values["derived"] = bsa.isna() & derived.notna()
        bsa = bsa.fillna(derived)
    return values.assign(BSA=bsa)


def _complete(values: pd.DataFrame, identity: Identity) -> pd.DataFrame:
    """The patients that have all values of an identity."""
    needed = [identity.left, *identity.needs, *([identity.divisor] if identity.divisor else [])]
    if not set(needed) <= set(values.columns):
        return values.reindex(columns=list(dict.fromkeys([*values.columns, *needed]))).iloc[:0]
    return values.dropna(subset=needed)


def _pairs(values: pd.DataFrame, identity: Identity, side: str) -> pd.DataFrame:
    complete = _complete(values, identity)
    if identity.divisor:
        complete = complete[complete[identity.divisor] > 0]
    pairs = pd.DataFrame({"left": complete[identity.left], "right": identity.right(complete)})
    pairs = pairs.rename_axis("patient_id").reset_index()
    return pairs.assign(identity=identity.text, unit=parameter(identity.left).unit, side=side)


def _agreement(left: FloatArray, right: FloatArray) -> dict[str, object]:
    """The columns from `n` to `mae`; the limits need three patients, as everywhere."""
    bias = float(agreement.bias(right, left))
    sd = float((left - right).std(ddof=1)) if left.size >= agreement.SMALLEST else float("nan")
    reach = float(stats.norm.ppf(0.975)) * sd
    return {
        "n": left.size,
        "r": float(agreement.pearson(left, right)),
        "bias": bias,
        "sd": sd,
        "lower": bias - reach,
        "upper": bias + reach,
        "mae": float(agreement.mean_absolute_error(left, right)),
    }


def _reasons(left: FloatArray, right: FloatArray) -> list[str]:
    """Why statistics are NaN, in words."""
    n = left.size
    if n == 0:
        return ["no patient has all values"]
    if n < agreement.SMALLEST:
        return [f"{n} patient{'s' if n > 1 else ''}: no correlation and no limits"]
    sides = {"left": left, "right": right}
    return [f"constant {name} side: no r" for name, side in sides.items() if agreement.is_constant(side)]


def _notes(values: pd.DataFrame, identity: Identity, side: str) -> list[str]:
    """Who was left out, and where the body surface is from."""
    complete = _complete(values, identity)
    if complete.empty or not identity.divisor:
        return []
    usable = complete[identity.divisor] > 0
    left_out = int((~usable).sum())
    notes = [f"{left_out} left out: {identity.divisor} not above zero"] if left_out else []
    derived = int((complete["derived"].astype(bool) & usable).sum())
    if identity.divisor == "BSA" and derived:
        trivial = ", for whom the identity holds by construction" if side == "references" else ""
        notes.append(f"BSA of {derived} of {int(usable.sum())} patients from reference CO / CI{trivial}")
    return notes


USED_COLUMNS: Final = (
    "parameter", "unit", "patients", "by_identity", "n",
    "r", "r_direct", "r_difference", "r_difference_low", "r_difference_high",
    "mae", "mae_direct", "mae_difference", "mae_difference_low", "mae_difference_high", "note",
)  # fmt: skip
ENDS: Final = ("", "_low", "_high")
"""A difference and the ends of its interval, by what a column's name has at its end."""


def has_identities(predictions: pd.DataFrame) -> bool:
    """Whether any prediction followed by an identity."""
    return "way" in predictions.columns and bool(predictions["way"].eq("identity").any())


def identities_used_table(predictions: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
    """How well CO, CI and SVRI are predicted by identity and by their own heads, on the same patients.

    Patients are resampled, both ways together, so the interval is that of the difference (`differences`).

    Args:
        predictions: a checked predictions table of one variant and one cohort, with `way` and `direct`.
        resamples: bootstrap resamples of persons, at least.

    Returns:
        One row for each of `BY_IDENTITY`, with `USED_COLUMNS`: how many patients have a prediction, how many
        of these came by identity, and n of those with a reference and a direct prediction; of the n, signed
        Pearson r and MAE (in `unit`) of either way, and identity minus direct with its 95 % interval.
    """
    direct = predictions.get("direct", pd.Series(np.nan, predictions.index))
    rows = predictions.assign(direct=direct)[predictions["way"].eq("identity") & direct.notna()]
    tables = {
        "identity": [rows.assign(variant="identity")],
        "direct": [rows.assign(variant="direct", prediction=rows["direct"])],
    }
    if rows.empty:
        of = apart = pd.DataFrame(columns=["variant", "parameter"])
    else:
        of, apart = variant_table(tables, 0, seed), differences(tables, resamples, seed, ("direct",))
    return pd.DataFrame(
        [_row(key, predictions, of, apart) for key in BY_IDENTITY], columns=list(USED_COLUMNS)
    )


def _row(key: str, predictions: pd.DataFrame, of: pd.DataFrame, apart: pd.DataFrame) -> dict[str, object]:
    """The row of one parameter, from the tables of `variant_table` and `differences`."""
    own = predictions[predictions["parameter"] == key]
    row: dict[str, object] = {"parameter": key, "unit": parameter(key).unit, "patients": len(own)}
    row |= {"by_identity": int(own["way"].eq("identity").sum()), "n": 0}
    ways = of[of["parameter"] == key].set_index("variant")
    for pair in apart[apart["parameter"] == key].to_dict("records"):
        row["n"] = pair["n"]
        for name in ("r", "mae"):
            row |= {name: ways.loc["identity", name], f"{name}_direct": ways.loc["direct", name]}
            row |= {f"{name}_difference{end}": pair[name + (end or "_difference")] for end in ENDS}
    defined = np.isfinite(float(str(row.get("r_difference_low", np.nan))))
    return row | {"note": "" if defined else "too few patients, or all have one value: no r or no interval"}


def identities_in_words(table: pd.DataFrame, body_surface: pd.Series | None = None) -> list[str]:
    """Which values followed by identity, and what that gained.

    Args:
        table: of `identities_used_table`.
        body_surface: of the patients, m², NaN where it is not known; None where nothing is known of it.

    Returns:
        A sentence or two.
    """
    rows = table.to_dict("records")
    counts = ", ".join(
        f"{row['parameter']} of {row['by_identity']} of {row['patients']} patients" for row in rows
    )
    known = (
        f" Body surface was known of {body_surface.notna().sum()} of {body_surface.size} patients; CI of the "
        "others followed from the stroke volume index."
        if body_surface is not None
        else ""
    )
    first = (
        "Stroke volume was predicted. CO and CI followed from it where heart rate was known, SVRI where mean "
        "arterial pressure was known too, and were predicted by their own heads elsewhere. By identity came "
        f"{counts}.{known}"
    )
    told = "; ".join(_with_and_without(row) for row in rows if np.isfinite(row["r_difference"]))
    return [first, *([f"Signed r with the identities, and by the own head alone: {told}."] if told else [])]


def _with_and_without(row: Mapping[Hashable, Any]) -> str:
    ways = " against ".join(f"{row[name]:.2f}".replace("-", "−") for name in ("r", "r_direct"))
    if row["n"] < LEAST_COMPARED:
        return f"{row['parameter']} {ways} (n = {row['n']}, too few to compare)"
    change, low, high = (with_sign(row[f"r_difference{end}"]) for end in ("", "_low", "_high"))
    interval = "no interval" if np.isnan(row["r_difference_low"]) else f"95 % CI {low} to {high}"
    return f"{row['parameter']} {ways} (difference {change}, {interval}; n = {row['n']})"
