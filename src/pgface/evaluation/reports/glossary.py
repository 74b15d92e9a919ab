"""The meaning of the words in a report.

The terms are those of ISO/IEC 2382-37 and ISO/IEC 19795-1.
"""

from __future__ import annotations

from typing import Final

GLOSSARY: Final = (
    ("Similarity", "How alike two faces are for the model: the cosine of their embeddings, from -1 to 1."),
    ("Threshold", "The similarity from which on two faces count as one person."),
    ("Mated pair", "Two photos of one person."),
    ("Non-mated pair", "Two photos of two people."),
    (
        "FMR, false match rate",
        "The share of non-mated pairs that count as one person. It falls as the threshold rises.",
    ),
    (
        "FNMR, false non-match rate",
        "The share of mated pairs that count as two people. It rises with the threshold.",
    ),
    (
        "FPIR, false positive identification rate",
        "The share of searches for a person who is not enrolled that still name a person.",
    ),
    (
        "FNIR, false negative identification rate",
        "The share of searches for an enrolled person that do not name that person.",
    ),
    ("EER, equal error rate", "The rate at the threshold where FMR and FNMR are equal."),
    ("FTE, failure to enroll", "The share of photos in which no usable face was found."),
    (
        "DET, detection error trade-off",
        "A curve of FNMR against FMR over all thresholds. The lower it lies, the better the model.",
    ),
    (
        "Area under the ROC",
        "The chance that a mated pair is more similar than a non-mated one. 1 is perfect, and 0.5 is a guess.",
    ),
    ("Rank", "The place of the right person among all enrolled people, the most similar first."),
    ("Verification (1:1)", "Is this photo of the person it is said to be?"),
    ("Identification (1:N)", "Who of all enrolled people is in this photo, if any?"),
    (
        "95 % interval",
        "A range that holds the true rate in 95 of 100 such measurements. Few people or few pairs make it wide.",
    ),
)
"""Each term with its meaning."""
