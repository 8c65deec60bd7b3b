"""Hard clips with a known truth: what real scanners show and the cohort does not, one kind at a time."""

from __future__ import annotations

from benchmarks.challenges.kinds import (
    CHALLENGES,
    KINDS,
    Challenge,
    plan_challenge,
    render_challenge,
    write_challenge,
)

__all__ = ["CHALLENGES", "KINDS", "Challenge", "plan_challenge", "render_challenge", "write_challenge"]
