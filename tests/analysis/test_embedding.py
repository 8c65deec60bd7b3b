from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score, silhouette_score

from cardio_mlflow.analysis.embedding import COLUMNS, cluster_table, embed
from cardio_mlflow.errors import InputError

PATIENTS, SIZE = 40, 8
DISEASE = np.arange(PATIENTS) % 2 == 1


def make_features(patients: int = PATIENTS, seed: int = 0, gap: float = 6.0) -> pd.DataFrame:
    """Two groups, every second patient in the other; the last dimension is constant."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(patients, SIZE)) + gap * (np.arange(patients) % 2)[:, None]
    values[:, -1] = 0.1
    table = pd.DataFrame(values, columns=[f"f{i}" for i in range(SIZE)])
    table.insert(0, "network", np.arange(patients) // 2 % 5 + 1)
    table.insert(0, "patient_id", [f"P{i:03d}" for i in range(patients)])
    return table


def with_disease(one: pd.DataFrame) -> pd.DataFrame:
    changed = one.copy()
    at = changed["parameter"] == "meanPAP"
    changed.loc[at, "reference"] = np.where(DISEASE, 35.0, 15.0)
    return changed


@pytest.fixture(scope="module")
def features() -> pd.DataFrame:
    return make_features()


@pytest.fixture(scope="module")
def embedding(features: pd.DataFrame) -> pd.DataFrame:
    return embed(features, 0)


@pytest.fixture(scope="module")
def clusters(features: pd.DataFrame, embedding: pd.DataFrame, table) -> pd.DataFrame:
    return cluster_table(features, embedding, with_disease(table())).set_index("method")


def test_a_row_a_patient_with_finite_places(embedding: pd.DataFrame) -> None:
    names = ["patient_id", "umap_1", "umap_2", "tsne_1", "tsne_2", "kmeans", "dbscan"]
    assert list(embedding.columns) == names
    assert embedding["patient_id"].tolist() == [f"P{i:03d}" for i in range(PATIENTS)]
    assert np.isfinite(embedding[names[1:5]].to_numpy()).all()


def test_two_clear_groups_are_found(embedding: pd.DataFrame, clusters: pd.DataFrame) -> None:
    assert tuple(clusters.reset_index().columns) == COLUMNS
    assert clusters.loc["kmeans", "clusters"] == 2
    assert clusters.loc["kmeans", "ari_ph"] == 1
    assert clusters.loc["dbscan", "clusters"] == 2
    assert clusters.loc["dbscan", "ari_ph"] > 0.7
    assert clusters.loc["kmeans", "noise"] == 0
    assert np.isnan(clusters.loc["kmeans", "radius"])
    assert clusters.loc["dbscan", "radius"] > 0
    assert (clusters["silhouette"] > 0.5).all()
    for method in ("umap", "tsne"):
        places = embedding[[f"{method}_1", f"{method}_2"]]
        assert silhouette_score(places, DISEASE) > 0.3


def test_agreement_with_the_network_is_about_none(embedding: pd.DataFrame, clusters: pd.DataFrame) -> None:
    networks = np.arange(PATIENTS) // 2 % 5
    for method in ("kmeans", "dbscan"):
        expected = adjusted_rand_score(networks, embedding[method])
        assert clusters.loc[method, "ari_network"] == pytest.approx(expected)
        assert abs(expected) < 0.15
    assert (clusters["note"] == "").all()


def test_the_same_seed_gives_the_same_map_whatever_the_order_of_rows_and_columns(
    features: pd.DataFrame, embedding: pd.DataFrame
) -> None:
    shuffled = features.sample(frac=1, random_state=1)
    shuffled = shuffled[[*reversed(shuffled.columns)]]
    pd.testing.assert_frame_equal(embed(shuffled, 0), embedding)


def test_references_never_enter(features: pd.DataFrame, embedding: pd.DataFrame, clusters, table) -> None:
    """Columns other than f0, f1 ... are not read; other references change nothing but the ARI with PH."""
    reference = np.where(DISEASE, 1.0, -1.0) * np.arange(PATIENTS)
    pd.testing.assert_frame_equal(
        embed(features.assign(reference=reference, meanPAP=reference), 0), embedding
    )
    other = with_disease(table())
    at = other["parameter"] == "meanPAP"
    other.loc[at, "reference"] = np.random.default_rng(3).permutation(other.loc[at, "reference"])
    again = cluster_table(features, embedding, other).set_index("method")
    pd.testing.assert_frame_equal(again.drop(columns="ari_ph"), clusters.drop(columns="ari_ph"))
    assert abs(again.loc["kmeans", "ari_ph"]) < 0.3
    moved = with_disease(table()).assign(prediction=1.0)
    pd.testing.assert_frame_equal(cluster_table(features, embedding, moved).set_index("method"), clusters)


def test_patients_without_a_reference_are_left_out_of_the_ari(features, embedding, table) -> None:
    one = with_disease(table())
    at = one["parameter"] == "meanPAP"
    partly = one.copy()
    partly.loc[at & (one["patient_id"] < "P010"), "reference"] = np.nan
    assert cluster_table(features, embedding, partly).set_index("method").loc["kmeans", "ari_ph"] == 1
    none = one.assign(reference=np.nan)
    result = cluster_table(features, embedding, none)
    assert result["ari_ph"].isna().all()
    assert (result["note"] == "PH unknown: no ARI").all()
    alike = one.assign(reference=one["reference"].mask(at, 30.0))
    assert (cluster_table(features, embedding, alike)["note"] == "all patients are alike in PH: no ARI").all()


def test_several_networks_of_a_patient_are_joined(features: pd.DataFrame, table) -> None:
    """The groups show only in the second network, at a scale of its own that standardising takes away."""
    noise = make_features(seed=1, gap=0.0).assign(network=1)
    second = features.assign(network=2)
    names = [f"f{i}" for i in range(SIZE)]
    second[names] = 1e-3 * second[names] + 50
    joined = pd.concat([noise, second])
    result = embed(joined, 0)
    assert len(result) == PATIENTS
    rows = cluster_table(joined, result, with_disease(table(cohort="II"))).set_index("method")
    assert rows.loc["kmeans", "ari_ph"] > 0.9
    assert rows["ari_network"].isna().all()
    assert rows["note"].str.contains("several networks per patient: no ARI with the network").all()


def test_what_cannot_be_embedded_is_refused(features: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="at least 10 patients"):
        embed(make_features(9), 0)
    with pytest.raises(InputError, match="same number of networks"):
        embed(pd.concat([features, features.iloc[:3].assign(network=9)]), 0)
    with pytest.raises(InputError, match="without a gap"):
        embed(features.assign(f2=np.nan), 0)
    with pytest.raises(InputError, match="differ between patients"):
        embed(features.assign(**{f"f{i}": 0.1 for i in range(SIZE)}), 0)


def test_ten_patients_are_enough() -> None:
    result = embed(make_features(10).assign(network=1), 0)
    assert len(result) == 10
    assert np.isfinite(result.drop(columns="patient_id").to_numpy(float)).all()
