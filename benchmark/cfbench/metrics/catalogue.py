"""What each reported number is: title, direction, range, definition and source."""

from typing import Literal, NamedTuple


class MetricInfo(NamedTuple):
    """A metric as a scorecard describes it.

    Attributes:
        title: As in a table.
        direction: Whether "higher" or "lower" is better.
        low: The lowest possible value.
        high: The highest possible value, or None if there is no bound.
        definition: One sentence.
        source: Where the definition comes from.
    """

    title: str
    direction: Literal["higher", "lower"]
    low: float
    high: float | None
    definition: str
    source: str = ""


_ASVSPOOF = "ASVspoof 5 evaluation plan, track 1 (arXiv 2408.08739)"

METRICS = {
    "macro_f1": MetricInfo(
        "macro-F1", "higher", 0, 1, "mean F1 of the classes that have support in the truth"
    ),
    "macro_f1_spoofed": MetricInfo(
        "macro-F1, spoofed classes",
        "higher",
        0,
        1,
        "mean F1 of the spoofed classes that have support; bona fide speech only costs precision",
    ),
    "weighted_f1": MetricInfo(
        "weighted F1",
        "higher",
        0,
        1,
        "mean F1 weighted by support, bona fide speech included",
        "the metric of arXiv 2505.12994",
    ),
    "accuracy": MetricInfo("accuracy", "higher", 0, 1, "share of right answers"),
    "balanced_accuracy": MetricInfo(
        "balanced accuracy", "higher", 0, 1, "mean recall of the classes that have support"
    ),
    "log_loss": MetricInfo(
        "log loss (nats)", "lower", 0, 36.05, "mean of -ln p(truth), p at least 2.2e-16"
    ),
    "brier": MetricInfo(
        "Brier score",
        "lower",
        0,
        2,
        "mean over utterances of the sum over classes of (p - truth)^2; for spoof detection the "
        "two-class form (p - truth)^2, at most 1",
        "Brier 1950",
    ),
    "ece": MetricInfo(
        "expected calibration error",
        "lower",
        0,
        1,
        "mean |accuracy - confidence| over 15 bins of equal width",
        "Guo et al. 2017 (arXiv 1706.04599)",
    ),
    "eer": MetricInfo(
        "EER",
        "lower",
        0,
        1,
        "where miss and false-alarm rate are equal on the ROC curve, linear between its points; "
        "tied scores are one point",
    ),
    "eer_paper": MetricInfo(
        "EER as in the paper's code",
        "lower",
        0,
        1,
        "mean of miss and false alarm at the score where they are closest, bona fide before spoof "
        "among ties",
        "the authors' code of arXiv 2505.12994; for parity only",
    ),
    "auroc": MetricInfo(
        "AUROC", "higher", 0, 1, "probability that a bona fide score exceeds a spoof's, ties half"
    ),
    "fpr95": MetricInfo(
        "FPR95",
        "lower",
        0,
        1,
        "share of the other class at or above the highest threshold that at least 95 % of the "
        "positive class, the last one, are at or above; ties are accepted together",
        "Liang et al. 2018 (arXiv 1706.02690)",
    ),
    "min_dcf": MetricInfo(
        "minDCF", "lower", 0, 1, "lowest normalised detection cost of any threshold", _ASVSPOOF
    ),
    "act_dcf": MetricInfo(
        "actDCF",
        "lower",
        0,
        None,
        "normalised detection cost at the Bayes threshold of the log-likelihood ratios",
        _ASVSPOOF,
    ),
    "cllr": MetricInfo(
        "Cllr (bits)",
        "lower",
        0,
        None,
        "log-likelihood-ratio cost; probabilities are taken as posteriors at equal priors",
        "Brümmer and du Preez 2006; " + _ASVSPOOF,
    ),
    "precision": MetricInfo("precision", "higher", 0, 1, "right answers of all answers of a class"),
    "recall": MetricInfo("recall", "higher", 0, 1, "right answers of all utterances of a class"),
    "f1": MetricInfo("F1", "higher", 0, 1, "harmonic mean of precision and recall"),
    "miss": MetricInfo("miss rate", "lower", 0, 1, "bona fide utterances taken for spoof"),
    "false_alarm": MetricInfo(
        "false-alarm rate", "lower", 0, 1, "spoofed utterances taken for bona fide"
    ),
    "exact_match": MetricInfo(
        "exact match", "higher", 0, 1, "spoofed utterances whose VQ, AUX and DEC are all right"
    ),
    "unknown_combination": MetricInfo(
        "unknown combination",
        "lower",
        0,
        1,
        "spoofed utterances given a VQ, AUX and DEC that no known codec or generator has",
    ),
    "contradiction": MetricInfo(
        "contradiction",
        "lower",
        0,
        1,
        "spoofed utterances that some of VQ, AUX and DEC call real and others not",
    ),
    "bin_contradiction": MetricInfo(
        "contradiction with BIN",
        "lower",
        0,
        1,
        "spoofed utterances that BIN and at least one tracing task differ on as to real or fake",
    ),
}
"""Every metric that a scorecard may hold, by its key there."""

OF_ANY_DETECTION = {
    "auroc": "probability that a score of the positive class, the last one, exceeds one of the "
    "other, ties half",
    "brier": "mean over utterances of the sum over classes of (p - truth)^2; for detection the "
    "two-class form (p - truth)^2, at most 1",
    "eer_paper": "mean of miss and false alarm at the score where they are closest, the positive "
    "class before the other among ties",
    "miss": "utterances of the positive class, the last one, taken for the other",
    "false_alarm": "utterances of the other class taken for the positive, the last one",
}
"""How the definitions read where another detection task than that of spoofs is scored."""
