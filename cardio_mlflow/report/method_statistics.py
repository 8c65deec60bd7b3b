"""The paragraphs on statistics of a methods section."""

from __future__ import annotations

from cardio_mlflow.parameters import PARAMETERS, Parameter
from cardio_mlflow.report.method_facts import MethodFacts


def statistics_paragraphs(facts: MethodFacts) -> list[str]:
    """Which statistics were computed, and how."""
    return [
        _agreement_statistics(),
        _classification_statistics(facts),
        _further_analyses(),
        _intervals(facts),
    ]


def _agreement_statistics() -> str:
    return (
        "Agreement was described by the signed Pearson correlation r (with Fisher's interval as well), "
        "Spearman's rank correlation, Lin's concordance correlation coefficient (Biometrics "
        "1989;45:255-268), the intraclass correlation coefficient for absolute agreement of single "
        "measurements (Shrout and Fleiss, Psychol Bull 1979;86:420-428; McGraw and Wong, Psychol Methods "
        "1996;1:30-46), the mean absolute error, the root mean squared error, and bias and 95 % limits of "
        "agreement of prediction − reference (Bland and Altman, Lancet 1986;327:307-310) with exact "
        "intervals (Carkeet, Optom Vis Sci 2015;92:e71-e80). Standard deviations had n − 1 in the "
        "denominator."
    )


def _low_side() -> list[Parameter]:
    return [p for p in PARAMETERS if p.abnormal == "below"]


def _classification_statistics(facts: MethodFacts) -> str:
    others = (
        "was fitted without the patient's own fold"
        if facts.cohort == "I" and facts.folds
        else "was fitted within the cohort itself, in five parts, each patient without the own part; so it "
        "is calibrated to the cohort that it is judged on"
    )
    low = " and ".join(p.key for p in _low_side())
    return (
        "Discrimination was described by the area under the ROC curve (AUC; Hanley and McNeil, Radiology "
        "1982;143:29-36) with intervals by the bootstrap and by DeLong (Biometrics 1988;44:837-845), at each "
        f"parameter's own cut-off and for PH; for {low} lower predictions counted as more abnormal. "
        "Sensitivity, specificity, predictive values and accuracy have Wilson intervals (J Am Stat Assoc "
        "1927;22:209-212), likelihood ratios intervals by the log method (Simel, J Clin Epidemiol "
        "1991;44:763-770). Net benefit followed Vickers and Elkin (Med Decis Making 2006;26:565-574); the "
        f"probability of PH came from a logistic regression on the predicted meanPAP that {others}."
    )


def _further_analyses() -> str:
    return (
        "Further analyses, given where they could be done: haemodynamic phenotypes (ESC/ERS 2022) with "
        "Cohen's kappa; the spread of residuals over the predictions (Breusch and Pagan, Econometrica "
        "1979;47:1287-1294, in Koenker's form; White, Econometrica 1980;48:817-838); formulas that tie "
        "parameters together; subgroups; the patients with the largest errors; and maps and clusters of the "
        "network's features."
    )


def _intervals(facts: MethodFacts) -> str:
    return (
        "Where no other method is named, 95 % intervals are bias-corrected and accelerated (BCa) intervals "
        f"of a patient bootstrap ({facts.resamples} resamples, seed {facts.seed}; Efron, J Am Stat Assoc "
        "1987;82:171-185). Those of the mean r, of subgroups and of the decision curve are percentile "
        "intervals (Efron and Tibshirani, An Introduction to the Bootstrap, 1993). All but the decision "
        "curve's are widened for few patients (Hesterberg, Am Stat 2015;69:371-386). No correction was made "
        f"for multiple comparisons.{_persons(facts)}"
    )


def _persons(facts: MethodFacts) -> str:
    if facts.persons is None:
        return ""
    return (
        f" The {facts.patients} examinations were of {facts.persons} persons: the bootstrap drew persons, "
        "each with all examinations (cluster bootstrap; Davison and Hinkley, Bootstrap Methods and their "
        "Application, 1997), and DeLong's variance was summed by person (Obuchowski, Biometrics "
        "1997;53:567-578). The intervals of Fisher, Wilson and of likelihood ratios, those of bias and "
        "limits of agreement by the t distribution, and the tests of the residuals' spread take "
        "examinations for independent."
    )
