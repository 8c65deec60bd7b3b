"""What a network has seen, kept with its run, so that it is never tested on the same clips or persons."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from typing import Final

from cardio_mlflow.data.cohort.persons import PERSON, person_key
from cardio_mlflow.errors import InputError
from cardio_mlflow.pipelines.inputs import StudyInputs
from cardio_mlflow.tracking.finished import FinishedRun

TRAINED_ON: Final = "trained_on.json"
"""The artifact: digests of the clips' files and pixels, and of the persons."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedOn:
    """What folds were trained, validated and chosen on.

    Attributes:
        contents: digests of the clips' files and of their prepared frames.
        persons: digests (`person_digest`) of those that the label sheet named, apart from the patient ids.
    """

    contents: frozenset[str]
    persons: frozenset[str]

    def to_json(self) -> str:
        """As text, sorted."""
        return json.dumps({"contents": sorted(self.contents), "persons": sorted(self.persons)}, indent=1)


def seen_of(inputs: StudyInputs, patients: tuple[str, ...]) -> TrainedOn:
    """The clips and persons of these patients."""
    contents = frozenset().union(*(_clips_of(inputs, patient) for patient in patients))
    return TrainedOn(contents, frozenset(_named_persons(inputs, patients).values()))


def person_digest(person: str) -> str:
    """What stands for a person in the artifact, 32 hexadecimal digits: a record number is not written there.

    It is the same for 7, 007 and 7.0, as another cohort's sheet may spell it.

    Whoever has the artifact can try numbers out; ``pseudonymize`` leaves them pseudonyms to find.
    """
    return hashlib.blake2b(person_key(person).encode(), digest_size=16, person=b"cardio person").hexdigest()


def _clips_of(inputs: StudyInputs, patient: str) -> frozenset[str]:
    """Digests of the files and of the prepared frames of a patient's clips."""
    prepared = inputs.prepared
    return frozenset((*prepared.contents.get(patient, ()), *prepared.pixels.get(patient, ())))


def _named_persons(inputs: StudyInputs, patients: tuple[str, ...]) -> dict[str, str]:
    """The digest of the person of each of these patients for whom the label sheet gives one."""
    persons = inputs.cohort.labels[PERSON]
    return {p: person_digest(persons[p]) for p in patients if persons[p] != p}


def read_trained_on(run: FinishedRun) -> TrainedOn:
    """What the folds behind a run have seen; nothing, and a warning, of a run older than this record."""
    if not run.has(TRAINED_ON):
        log.warning(
            "The model was registered before models kept the contents of their clips: whether it was "
            "trained on a clip of this test can be known from the patients' ids alone. Train and validate "
            "again to have the clips compared too."
        )
        return TrainedOn(frozenset(), frozenset())
    found = json.loads(run.text(TRAINED_ON))
    return TrainedOn(frozenset(found["contents"]), frozenset(found["persons"]))


def check_new(seen: TrainedOn, inputs: StudyInputs, patients: tuple[str, ...], *, same_names: bool) -> None:
    """Check that no clip and no person of a test was trained on, whatever the cohorts are called.

    Args:
        seen: by the model.
        inputs: the cohort of the test.
        patients: those to test on.
        same_names: whether the persons of both are named alike: as in the sheet, or by one key.

    Raises:
        InputError: some were; they are counted, not named.
    """
    persons = _named_persons(inputs, patients)
    clips = sum(not seen.contents.isdisjoint(_clips_of(inputs, patient)) for patient in patients)
    known = sum(person in seen.persons for person in persons.values()) if same_names else 0
    for count, what in (
        (clips, "have a clip, the same file or the same pictures,"),
        (known, "are examinations of a person"),
    ):
        if count:
            raise InputError(
                f"{count} of the {len(patients)} Cohort II patients {what} that the model was trained on. "
                "Take them out of Cohort II (the label sheet's cohort column), or register a model that was "
                "trained without them."
            )
