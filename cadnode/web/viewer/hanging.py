"""Which image is hung where, as a radiologist hangs them: chest walls back to back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cadnode.core.exam import ImageState
from cadnode.core.mammogram import Intent
from cadnode.web.viewer.ports import ViewedImage

PLACES = ("RCC", "LCC", "RMLO", "LMLO")
"""The four places, row by row: the right breast on the left."""


@dataclass(frozen=True, slots=True)
class Hanging:
    """The images of an exam in their places."""

    places: tuple[tuple[str, ViewedImage | None], ...]
    """The four views; None where there is none."""
    further: tuple[ViewedImage, ...]
    """Everything else, in order of arrival."""

    @property
    def empty(self) -> bool:
        """True when none of the four is there."""
        return all(image is None for _, image in self.places)


def hang(images: Sequence[ViewedImage]) -> Hanging:
    """The hanging of an exam. Of several images of one view, the place is for one that was read,
    then for a For Presentation one, then for the last that came."""
    places: list[tuple[str, ViewedImage | None]] = []
    for place in PLACES:
        of_view = [image for image in images if image.view_name == place]
        places.append((place, max(of_view, key=_fitness, default=None)))
    hung = {image.id for _, image in places if image is not None}
    return Hanging(tuple(places), tuple(image for image in images if image.id not in hung))


def _fitness(image: ViewedImage) -> tuple[bool, bool, bool, int]:
    known = image.record.image
    return (
        known.state is ImageState.ANALYZED,
        image.tiles is not None,
        known.intent is Intent.PRESENTATION,
        known.id,
    )
