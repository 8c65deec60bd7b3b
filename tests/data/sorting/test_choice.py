from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.quality import Quality
from cardio_mlflow.data.sorting.choice import TAKEN, Candidate, choose_clips

GOOD = Quality(fit_score=0.95, gating="trace", phase_verified=True, beats=2, depth_cm=15.0, frame_rate=60.0)
REFUSED = Quality(Outcome.COLOR_DOPPLER)
BEST = Candidate("best", "IM_2", "R0002", "FC", GOOD, 1, "s1", "20240101090000")


def other(quality=None, **changes):
    """A clip that differs from the best in so much, and comes before it by name."""
    return replace(
        BEST, **{"clip": "other", "place": "IM_1", "quality": replace(GOOD, **(quality or {}))} | changes
    )


@pytest.mark.parametrize(
    ("worse", "why"),
    [
        (other(days=-241, quality={"fit_score": 1.0}), "241 days before the catheterisation, the one"),
        (other(days=None, quality={"fit_score": 1.0}), "unknown days from the catheterisation, the"),
        (replace(other(quality={"fit_score": 1.0}), suggested=True), "its view is only suggested, the one"),
        (other({"phase_verified": False, "fit_score": 1.0}), "phase not verified, the one taken: phase"),
        (other({"beats": 0, "fit_score": 1.0}), "no whole cycle known, the one taken: a whole cycle by R"),
        (other({"gating": "periodicity", "fit_score": 1.0}), "a whole cycle by the picture, the one taken"),
        (other({"gating": "heart_rate", "fit_score": 1.0}), "no whole cycle known"),
        (other({"fit_score": 0.81}), "fit score 0.81, the one taken: fit score 0.95"),
        (other({"depth_cm": 8.0}), "depth 8.0 cm, the one taken: depth 15.0 cm"),
        (other({"depth_cm": None, "frame_rate": 30.0}), "depth not known"),
        (other({"frame_rate": 31.0}), "31 frames a second, the one taken: 60 frames"),
        (other({"beats": 1}), "1 whole heartbeat, the one taken: 2 whole heartbeats"),
        (other(place="IM_10"), "the other of two alike, by name"),
        (other(clip="best", place="IM_10"), "the same content as another file of the view"),
        (other(quality={}, view="other"), "another view"),
        (other(view=""), "its view is not known"),
        (replace(other(chosen=True), quality=REFUSED), "refused: colour Doppler"),
    ],
)  # fmt: skip
def test_why_a_clip_is_not_taken(worse, why):
    chosen = choose_clips([worse, BEST])
    assert chosen[BEST.place] == TAKEN
    assert chosen[worse.place].startswith(why)


def test_a_choice_on_the_page_wins_over_everything_but_a_refusal():
    poor = other({"fit_score": 0.1, "phase_verified": False}, days=900, chosen=True)
    assert choose_clips([BEST, poor]) == {
        "IM_1": TAKEN,
        "IM_2": "not chosen on the page, the one taken: chosen on the page",
    }


def test_what_is_near_enough_alike_is_decided_by_what_comes_next():
    """0.951 and 0.99 fit alike, 15 and 16 cm are as deep, 60 frames a second are enough."""
    alike = other({"fit_score": 0.99, "depth_cm": 16.0, "frame_rate": 200.0}, place="IM_3")
    assert choose_clips([alike, BEST])[BEST.place] == TAKEN


def test_without_dates_the_fuller_study_wins_then_the_newer():
    early = [replace(BEST, clip=f"e{v}", place=f"E_{v}", view=v, days=None) for v in ("FC", "TC", "SA")]
    late = [replace(BEST, clip=f"l{v}", place=f"L_{v}", view=v, days=None, study="s2", moment="20240601")
            for v in ("FC", "TC", "LA")]  # fmt: skip
    why = choose_clips([*early, *late[:2]])
    assert why["L_FC"] == "a study with 2 of the four views, the one taken: a study with 3 of the four views"
    why = choose_clips([*early, *late])
    assert [place for place, reason in why.items() if reason == TAKEN] == ["E_SA", "L_FC", "L_LA", "L_TC"]
    assert why["E_FC"].startswith("a study with 1 newer ones")


def test_too_far_from_the_catheterisation_is_left_out_also_when_chosen():
    far = replace(BEST, days=31, chosen=True)
    assert choose_clips([far], 30) == {
        BEST.place: "31 days after the catheterisation, more than within_days=30"
    }
    assert choose_clips([replace(far, days=-30), other(view="TC", days=None)], 30) == dict.fromkeys(
        ("IM_1", "IM_2"), TAKEN
    )


def test_one_content_for_two_patients_is_nobodys():
    why = choose_clips([BEST, replace(BEST, place="IM_9", patient="R0003")])
    assert set(why.values()) == {"the same content stands for 2 patients: find out whose it is"}


qualities = st.builds(
    Quality, st.sampled_from([Outcome.OK, Outcome.OK, Outcome.NO_SECTOR]),
    fit_score=st.none() | st.floats(0, 1), gating=st.sampled_from(["trace", "periodicity", "clip"]),
    phase_verified=st.none() | st.booleans(), beats=st.none() | st.integers(0, 3),
    depth_cm=st.none() | st.floats(0, 30), frame_rate=st.none() | st.floats(0, 200),
)  # fmt: skip
candidates = st.lists(
    st.builds(
        Candidate, st.sampled_from("abcdefgh"), st.integers(0, 99).map(lambda n: f"SE_{n % 7}/IM_{n}"),
        st.sampled_from(["R0001", "R0002"]), st.sampled_from(["FC", "TC", "SA", "other", ""]), qualities,
        st.none() | st.integers(-400, 400), st.sampled_from("st"),
        st.sampled_from(["", "20200101", "20210101"]), st.booleans(),
    ), unique_by=lambda one: one.place, max_size=20,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(candidates, st.none() | st.integers(0, 400), st.randoms(use_true_random=False))
def test_one_clip_at_most_never_a_refused_one_in_any_order(several, within_days, random):
    why = choose_clips(several, within_days)
    assert sorted(why) == sorted(one.place for one in several)
    taken = [one for one in several if why[one.place] == TAKEN]
    assert len({(one.patient, one.view) for one in taken}) == len(taken)
    assert all(one.quality.outcome == Outcome.OK and one.view in ("FC", "TC", "SA") for one in taken)
    shuffled = random.sample(several, len(several))
    assert choose_clips(shuffled, within_days) == why
    for one in several:  # who could be taken is, or somebody is in its stead
        if not (reason := why[one.place]).startswith(
            ("refused", "another", "its view", "the same content stands")
        ):
            assert "more than within_days" in reason or (one.patient, one.view) in {
                (t.patient, t.view) for t in taken
            }
