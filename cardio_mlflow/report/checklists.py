"""Reporting checklists, item by item: what the report fills, and what the authors still have to write.

TRIPOD+AI: Collins GS et al. BMJ 2024;385:e078378. CLAIM 2024 update: Tejani AS et al. Radiol Artif Intell
2024;6:e240300. The items are worded briefly in this project's own words; the published text is what counts.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal, NamedTuple

from cardio_mlflow.report.methods import MethodFacts
from cardio_mlflow.settings import Settings

TRIPOD_AI: Final = "TRIPOD+AI 2024"
CLAIM: Final = "CLAIM 2024"
AUTHORS: Final = "to be written by the authors"

Need = Literal["settings", "versions", "cohort I", "cohort II"]


class Item(NamedTuple):
    """One item of a checklist.

    Attributes:
        number: as in the checklist.
        text: the item, in short.
        where: what fills it and where in the report; empty when the report never fills it.
        needs: facts without which it stays open.
        tables: tables of the analysis, of which at least one must be in the report (none named: no matter).
    """

    number: str
    text: str
    where: str = ""
    needs: tuple[Need, ...] = ()
    tables: tuple[str, ...] = ()


class ChecklistRow(NamedTuple):
    """One item with its state: checklist, number, item, status, and where it is filled or what is missing."""

    checklist: str
    number: str
    item: str
    status: Literal["filled", "open"]
    where: str


TRIPOD_AI_ITEMS: Final[tuple[Item, ...]] = (
    Item("1", "Title: development or evaluation of a prediction model, population, outcome"),
    Item("2", "Structured abstract"),
    Item("3a", "Background: clinical context, rationale, existing models"),
    Item("3b", "Background: target population, purpose and users of the model"),
    Item("3c", "Background: known health inequalities"),
    Item("4", "Objectives: development, evaluation or both"),
    Item("5a", "Data: sources and how representative they are"),
    Item("5b", "Data: dates of recruitment"),
    Item("6a", "Participants: setting, number and place of centres"),
    Item("6b", "Participants: criteria of eligibility"),
    Item("6c", "Participants: treatments received"),
    Item("7", "Data preparation and quality checks"),
    Item("8a", "Outcome: definition and how it was measured"),
    Item("8b", "Outcome: who assessed it, where judgement was needed"),
    Item("8c", "Outcome: blinding of its assessment"),
    Item("9a", "Predictors: choice of the first ones", "Methods: network (views, and what else was known)",
         ("settings",)),
    Item("9b", "Predictors: definition and measurement"),
    Item("9c", "Predictors: who assessed them, where judgement was needed"),
    Item("10", "Sample size: how it was arrived at"),
    Item("11", "Missing data: how they were handled",
         "Methods: missing references; Participant flow: how many"),
    Item("12a", "Analysis: how the data were used and split", "Methods: cohorts and folds", ("settings",)),
    Item("12b", "Analysis: scaling and transformation of predictors and targets", "Methods: scaling",
         ("settings",)),
    Item("12c", "Analysis: type of model, steps of building, internal validation",
         "Methods: network, training, folds; Settings", ("settings",)),
    Item("12d", "Analysis: differences between clusters such as centres",
         "Subgroups by scanner", (), ("subgroups:scanner",)),
    Item("12e", "Analysis: measures and plots of performance", "Methods: statistics with their sources"),
    Item("12f", "Analysis: updating or recalibration of the model"),
    Item("12g", "Evaluation: how predictions were calculated", "Methods: the registered model",
         ("settings", "cohort II")),
    Item("13", "Class imbalance: methods against it"),
    Item("14", "Fairness: approaches", "Subgroups: errors compared between them", (), ("subgroups:people",)),
    Item("15", "Output of the model and thresholds", "Methods: parameters, units and cut-offs"),
    Item("16", "Differences between training and evaluation data"),
    Item("17", "Ethics: approval and consent"),
    Item("18a", "Funding"),
    Item("18b", "Conflicts of interest"),
    Item("18c", "Protocol"),
    Item("18d", "Registration"),
    Item("18e", "Availability of the data"),
    Item("18f", "Availability of the code"),
    Item("19", "Involvement of patients and the public"),
    Item("20a", "Results: flow of participants", "Participant flow", (), ("participants",)),
    Item("20b", "Results: characteristics of the participants"),
    Item("20c", "Results: comparison with the development data"),
    Item("21", "Results: participants and events in each analysis",
         "Performance: n and abnormal; tables: n of each row"),
    Item("22", "Full model, so that others can use it"),
    Item("23a", "Performance with intervals, in key subgroups too", "Performance; Subgroups", (),
         ("subgroups:people",)),
    Item("23b", "Heterogeneity of performance between clusters", "Subgroups by scanner", (),
         ("subgroups:scanner",)),
    Item("24", "Results of updating the model"),
    Item("25", "Interpretation, fairness included"),
    Item("26", "Limitations"),
    Item("27a", "Use: how poor or missing input is handled"),
    Item("27b", "Use: what users have to do and know"),
    Item("27c", "Next steps of research"),
)  # fmt: skip
"""TRIPOD+AI, 27 items in 52 parts."""

CLAIM_ITEMS: Final[tuple[Item, ...]] = (
    Item("1", "Title or abstract names the AI method"),
    Item("2", "Structured abstract"),
    Item("3", "Background: intended use and clinical role"),
    Item("4", "Aims and hypotheses"),
    Item("5", "Prospective or retrospective"),
    Item("6", "Goal of the study"),
    Item("7", "Data sources"),
    Item("8", "Criteria of inclusion and exclusion"),
    Item("9", "Preprocessing of the data"),
    Item("10", "Selection of parts of the data", "Methods: network (views and frames)", ("settings",)),
    Item("11", "De-identification"),
    Item("12", "Missing data", "Methods: missing references; Participant flow: how many"),
    Item("13", "Image acquisition protocol"),
    Item("14", "Reference standard: how it was obtained"),
    Item("15", "Reference standard: why it was chosen"),
    Item("16", "Reference standard: source and who annotated"),
    Item("17", "Reference standard: annotation of the test set"),
    Item("18", "Reference standard: variability between and within raters"),
    Item("19", "Assignment to partitions", "Methods: cohorts and folds", ("settings",)),
    Item("20", "Level at which partitions are disjoint", "Methods: patients", ("settings",)),
    Item("21", "Intended sample size"),
    Item("22", "Model: inputs, outputs and layers", "Methods: network; Settings; the code has the layers",
         ("settings",)),
    Item("23", "Software libraries and versions", "Methods: software", ("versions",)),
    Item("24", "Initialisation of the parameters", "Methods: backbone; Settings: seed", ("settings",)),
    Item("25", "Training: augmentation, hyperparameters, number of models", "Methods: training; Settings",
         ("settings",)),
    Item("26", "Selection of the final model", "Methods: which weights were kept", ("settings",)),
    Item("27", "Ensembling", "Methods: the registered model", ("settings", "cohort II")),
    Item("28", "Metrics of performance", "Methods: statistics with their sources"),
    Item("29", "Significance and uncertainty", "Methods: intervals"),
    Item("30", "Robustness or sensitivity analysis"),
    Item("31", "Explainability"),
    Item("32", "Evaluation on internal data", "Performance: Cohort I, out of fold", ("cohort I",)),
    Item("33", "Testing on external data"),
    Item("34", "Registration of a clinical trial"),
    Item("35", "Numbers of included and excluded patients", "Participant flow", (), ("participants",)),
    Item("36", "Demographic and clinical characteristics by partition"),
    Item("37", "Performance and uncertainty on all partitions"),
    Item("38", "Diagnostic performance and precision", "Performance; Discrimination; Classification", (),
         ("discrimination", "classification")),
    Item("39", "Failure analysis", "Largest errors", (), ("worst_patients",)),
    Item("40", "Limitations"),
    Item("41", "Implications for practice"),
    Item("42", "Full protocol or technical details"),
    Item("43", "Availability of software, model and data"),
    Item("44", "Funding and the funders' role"),
)  # fmt: skip
"""The CLAIM 2024 update, 44 items."""


def checklist_rows(
    facts: MethodFacts, settings: Settings | None, *, tables: Collection[str] = ()
) -> list[ChecklistRow]:
    """State for each item whether the report fills it.

    Args:
        facts: what is known about the predictions.
        settings: of the run that trained; None when the user gave the predictions.
        tables: what the report contains: names of tables such as "discrimination"; "participants"
            when the flow starts from the sheet; "subgroups:scanner" and "subgroups:people" (sex, age, rhythm
            or BMI) for the kinds of subgroups that it shows. Without it, what needs a table stays open.

    Returns:
        All items of TRIPOD+AI, then all of CLAIM. Under an open item that the report could fill, `where`
        says what is missing.
    """
    known = _known(facts, settings)
    return [
        _row(name, item, known, frozenset(tables))
        for name, items in ((TRIPOD_AI, TRIPOD_AI_ITEMS), (CLAIM, CLAIM_ITEMS))
        for item in items
    ]


def _known(facts: MethodFacts, settings: Settings | None) -> frozenset[Need]:
    known: set[Need] = {"cohort I" if facts.cohort == "I" else "cohort II"}
    if settings is not None:
        known.add("settings")
    if facts.versions:
        known.add("versions")
    return frozenset(known)


def _row(checklist: str, item: Item, known: frozenset[Need], tables: frozenset[str]) -> ChecklistRow:
    if not item.where:
        return ChecklistRow(checklist, item.number, item.text, "open", AUTHORS)
    missing: list[str] = [need for need in item.needs if need not in known]
    if item.tables and not tables.intersection(item.tables):
        missing.append(" or ".join(item.tables))
    if missing:
        lacks = f"{AUTHORS}; not in this report: {', '.join(missing)}"
        return ChecklistRow(checklist, item.number, item.text, "open", lacks)
    return ChecklistRow(checklist, item.number, item.text, "filled", item.where)
