"""What the header of one file of an export says. It names the patient: it stays in memory, never written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cardio_mlflow.data.outcomes import Outcome

Kind = Literal["cine", "still", "no picture"]
Source = Literal["eye", "tags", "suggested", ""]
"""Who says which view a clip shows; empty where a person is asked."""


@dataclass(frozen=True, slots=True)
class ViewTags:
    """The elements of a header in which a view may be named, as they stand there; empty where absent.

    Attributes:
        codes: of the View Code Sequence and its modifiers: code value, coding scheme, meaning.
    """

    codes: tuple[tuple[str, str, str], ...] = ()
    view_name: str = ""
    stage_name: str = ""
    protocol_name: str = ""
    series_description: str = ""
    image_comments: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose file it is, of which examination, as the header says; empty where absent.

    Attributes:
        study: digest of the Study Instance UID.
        moment: date and time of the study, YYYYMMDDHHMMSS; zeros for a time that is not known.
    """

    patient_id: str = ""
    name: str = ""
    birth_date: str = ""
    sex: str = ""
    accession: str = ""
    study: str = ""
    moment: str = ""


@dataclass(frozen=True, slots=True)
class HeaderFacts:
    """What the header of one file of an export says, and what can be told of its pictures without decoding.

    Attributes:
        outcome: OK, or why the header alone refuses the file, as `prepare` would; a still is OK here.
        message: the reason in words, of sizes and counts only.
        kind: by the number of frames.
        pictures: what the claimed regions show: "2-D", "colour", "M-mode", "spectral"; two "2-D" are two
            panels.
        synthetic: whether it says that its data are.
    """

    outcome: Outcome = Outcome.OK
    message: str = ""
    kind: Kind = "no picture"
    frames: int | None = None
    pictures: tuple[str, ...] = ()
    identity: Identity = Identity()
    tags: ViewTags = ViewTags()
    synthetic: bool = False
