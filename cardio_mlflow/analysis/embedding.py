"""Maps and clusters of the patients' features, found without any reference.

The clusters and both maps come from the same principal components, the clusters never from a map, since
UMAP and t-SNE distort distances and can show groups that are not there.
"""

from __future__ import annotations

import re
import warnings
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.cluster import DBSCAN, KMeans
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sklearn.neighbors import NearestNeighbors

from cardio_mlflow.analysis.predictions import FloatArray
from cardio_mlflow.analysis.subgroups import pulmonary_hypertension
from cardio_mlflow.errors import InputError

IntArray = NDArray[np.int64]

SMALLEST: Final = 10
COMPONENTS, VARIANCE = 20, 0.95
"""At most so many principal components, and no more than keep this share of the variance."""

CLUSTERS: Final = range(2, 7)
MIN_SAMPLES: Final = 5
NEIGHBOURS, PERPLEXITY = 15, 30
COLUMNS: Final = ("method", "clusters", "noise", "radius", "silhouette", "ari_ph", "ari_network", "note")


class NoEmbeddingError(Exception):
    """This machine cannot compute an embedding."""


def embed(features: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Map patients to two dimensions, and group them, by their features.

    UMAP: McInnes L, Healy J, Melville J. arXiv 1802.03426, 2018. t-SNE: van der Maaten L, Hinton G. J Mach
    Learn Res 2008;9:2579-2605. The number of k-means clusters (2 to 6) is that of the best silhouette
    (Rousseeuw PJ. J Comput Appl Math 1987;20:53-65). DBSCAN: Ester M et al. KDD 1996, with the radius at
    the knee of the sorted distances to the fifth point.

    Args:
        features: patient_id, network and f0, f1 ...: a row for each patient and network. Each number is
            standardised within its network, and a patient's networks are put side by side.
        seed: of all three methods.

    Returns:
        A row for each patient, sorted by id: patient_id, umap_1, umap_2, tsne_1, tsne_2, kmeans, dbscan
        (-1 for noise).

    Raises:
        InputError: fewer than 10 patients, features missing or equal in all of them, or patients with
            different numbers of networks.
        NoEmbeddingError: UMAP cannot be used.
    """
    patients, components = _components(features)
    umap, tsne = _umap(components, seed), _tsne(components, seed)
    return pd.DataFrame({
        "patient_id": patients,
        "umap_1": umap[:, 0],
        "umap_2": umap[:, 1],
        "tsne_1": tsne[:, 0],
        "tsne_2": tsne[:, 1],
        "kmeans": _kmeans(components, seed),
        "dbscan": DBSCAN(eps=_radius(components), min_samples=MIN_SAMPLES).fit_predict(components),
    })  # fmt: skip


def cluster_table(features: pd.DataFrame, embedding: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """How the clusters relate to pulmonary hypertension, and to the network that the features are from.

    Adjusted Rand index: Hubert L, Arabie P. J Classif 1985;2:193-218; patients of DBSCAN's noise count as
    one more cluster there, and are left out of the silhouette.

    Args:
        features: as given to `embed`.
        embedding: as `embed` returns it.
        predictions: a checked predictions table of one variant; only its references are read.

    Returns:
        One row per method, with `COLUMNS`. `ari_network` is there only where each patient has one
        network's features (Cohort I).

    Raises:
        InputError: as `embed`.
    """
    patients, components = _components(features)
    labels = embedding.set_index("patient_id").loc[patients]
    disease = pulmonary_hypertension(predictions).reindex(patients).to_numpy(object)
    known = np.array([value in (True, False) for value in disease])
    networks = features.assign(patient_id=features["patient_id"].astype(str)).sort_values("patient_id")
    rows = []
    for method in ("kmeans", "dbscan"):
        own = labels[method].to_numpy(np.int64)
        row, notes = _quality(components, own)
        row["ari_ph"], why = _rand(own[known], disease[known].astype(bool).astype(np.int64), "PH")
        notes += why
        row["ari_network"] = np.nan
        if len(networks) == len(patients):
            row["ari_network"], why = _rand(own, networks["network"].to_numpy(np.int64), "network")
            notes += why
        else:
            notes.append("several networks per patient: no ARI with the network")
        radius = _radius(components) if method == "dbscan" else np.nan
        rows.append({"method": method, "radius": radius, "note": "; ".join(notes), **row})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _quality(components: FloatArray, labels: IntArray) -> tuple[dict[str, float], list[str]]:
    """Number of clusters, noise and silhouette, and why there is none."""
    clustered = labels >= 0
    clusters = len(set(labels[clustered].tolist()))
    row: dict[str, float] = {"clusters": clusters, "noise": int((~clustered).sum()), "silhouette": np.nan}
    if not 2 <= clusters < clustered.sum():
        return row, [f"{clusters} cluster{'' if clusters == 1 else 's'}: no silhouette"]
    row["silhouette"] = float(silhouette_score(components[clustered], labels[clustered]))
    return row, []


def _rand(labels: IntArray, groups: IntArray, name: str) -> tuple[float, list[str]]:
    """The adjusted Rand index of clusters and known groups, NaN where either is all of one kind."""
    if len(labels) == 0:
        return float("nan"), [f"{name} unknown: no ARI"]
    if len(set(groups.tolist())) < 2:
        return float("nan"), [f"all patients are alike in {name}: no ARI"]
    if len(set(labels.tolist())) < 2:
        return float("nan"), [f"all patients in one group: no ARI with {name}"]
    return float(adjusted_rand_score(groups, labels)), []


def _components(features: pd.DataFrame) -> tuple[list[str], FloatArray]:
    """Patient ids, sorted, and their principal components, shape (patients, at most 20)."""
    table = features.assign(patient_id=features["patient_id"].astype(str))
    named = [str(name) for name in table if re.fullmatch(r"f\d+", str(name))]
    names = sorted(named, key=lambda name: int(name[1:]))
    table = table.sort_values(["patient_id", "network"])
    patients = sorted(set(table["patient_id"]))
    if len(patients) < SMALLEST:
        raise InputError(f"embedding needs at least {SMALLEST} patients")
    if len(set(table.groupby("patient_id").size())) > 1:
        raise InputError("embedding needs the features of the same number of networks for each patient")
    values = table[names].to_numpy(np.float64, copy=True)
    if not names or not np.isfinite(values).all():
        raise InputError("embedding needs features without a gap")
    for network in set(table["network"]):
        own = (table["network"] == network).to_numpy()
        values[own] = _standardised(values[own])
    joined = values.reshape(len(patients), -1)
    if not joined.any():
        raise InputError("embedding needs features that differ between patients")
    model = PCA(n_components=min(COMPONENTS, *joined.shape), svd_solver="full").fit(joined)
    kept = int(np.searchsorted(np.cumsum(model.explained_variance_ratio_), VARIANCE)) + 1
    return patients, np.asarray(model.transform(joined)[:, :kept], dtype=np.float64)


def _standardised(values: FloatArray) -> FloatArray:
    """Each column with mean 0 and standard deviation 1 (n − 1); 0 where it is constant."""
    centred = values - values.mean(axis=0)
    constant = np.abs(centred).max(axis=0) <= 1e-6 * np.abs(values).max(axis=0)
    sd = np.where(constant, 1.0, np.sqrt((centred**2).sum(axis=0) / max(len(values) - 1, 1)))
    return np.asarray(np.where(constant, 0.0, centred / sd))


def _umap(components: FloatArray, seed: int) -> FloatArray:
    neighbours = min(NEIGHBOURS, len(components) - 1)
    try:
        # Importing umap takes seconds, since it compiles: only drawing a map waits for it.
        from umap import UMAP

        with warnings.catch_warnings():  # spectral start of a graph in several parts, from clear groups
            warnings.simplefilter("ignore")
            model = UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1)
            return np.asarray(model.fit_transform(components), dtype=np.float64)
    except (ImportError, OSError, RuntimeError) as error:  # numba finds no folder for what it has compiled
        raise NoEmbeddingError(f"UMAP cannot be used on this machine: {error}") from error


def _tsne(components: FloatArray, seed: int) -> FloatArray:
    perplexity = min(PERPLEXITY, (len(components) - 1) / 3)
    # A single component cannot start t-SNE in two dimensions by its own principal components.
    start = "pca" if components.shape[1] > 1 else "random"
    model = TSNE(random_state=seed, perplexity=perplexity, init=start)
    return np.asarray(model.fit_transform(components), dtype=np.float64)


def _kmeans(components: FloatArray, seed: int) -> IntArray:
    """The k-means labels of the best silhouette; as many clusters as different patients at most."""
    different = len(np.unique(components, axis=0))
    found = [
        KMeans(k, n_init=10, random_state=seed).fit_predict(components)
        for k in CLUSTERS
        if k <= min(different, len(components) - 1)
    ]
    return np.asarray(max(found, key=lambda labels: float(silhouette_score(components, labels))), np.int64)


def _radius(components: FloatArray) -> float:
    """DBSCAN's radius: the knee of the sorted distances to the fifth point (itself the first).

    The knee is where the curve is farthest from its chord.
    The distance to the chord is proportional to the height over it, so that no axis needs a scale.
    """
    distances, _ = NearestNeighbors(n_neighbors=MIN_SAMPLES).fit(components).kneighbors(components)
    curve = np.sort(distances[:, -1])
    height = np.abs(curve - np.linspace(curve[0], curve[-1], len(curve)))
    radius = float(curve[height.argmax()])
    # Many equal patients have distance 0, which DBSCAN refuses as a radius.
    return radius if radius > 0 else float(np.finfo(np.float64).eps)
