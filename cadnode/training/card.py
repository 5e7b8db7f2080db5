"""The model card that goes with a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Section:
    """One heading of the card with its text (Markdown)."""

    title: str
    text: str


INTENDED_USE = (
    "Marks clusters of calcifications on full-field digital and digitised film mammograms (CC and"
    " MLO views) for a reader who looks at every image anyway. For research and for the local"
    " evaluation of a site. Not a medical device: nobody has approved it, and no mark is not a"
    " finding of health."
)
LIMITS = (
    "It says where calcifications may be, not whether they are benign or malignant.",
    "It does not look for masses, distortions or asymmetries.",
    "Tomosynthesis, magnification, spot and implant views are not read.",
    "Scores are not probabilities of disease, and are only as calibrated as the patches they"
    " were trained on.",
)


def write_card(name: str, version: str, sections: Sequence[Section]) -> str:
    """The card as Markdown; intended use and limits are always there."""
    parts = [f"# {name} {version}", "## Intended use", INTENDED_USE]
    for section in sections:
        parts += [f"## {section.title}", section.text]
    parts += ["## Limits", "\n".join(f"- {limit}" for limit in LIMITS)]
    return "\n\n".join(parts) + "\n"
