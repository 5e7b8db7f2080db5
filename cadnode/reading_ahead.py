"""The next image of an exam is read and cut into patches while the model works on this one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from cadnode.core.analysis import Prepared, prepare
from cadnode.core.eligibility import judge
from cadnode.core.errors import CadnodeError
from cadnode.core.exam import ExamImage, ImageState
from cadnode.core.mammogram import ImageHeader, Intent
from cadnode.core.model import ModelSpec
from cadnode.core.ports import MammogramReader, ResultFiles


class ReadingAhead:
    """Reads the images of one exam, one of them ahead; what nobody asks for is dropped.

    An image is counted as begun when its reading begins, ahead or not, and once. The one before
    it is under way then: so that an image that takes the worker down counts against its neighbour
    once at most, an image that was begun before is read alone.
    """

    def __init__(
        self,
        reader: MammogramReader,
        files: ResultFiles,
        *,
        analyzed_views: frozenset[str],
        begin: Callable[[ExamImage], int],
    ) -> None:
        """`begin` notes that reading starts, and says how many times it has."""
        self._reader = reader
        self._files = files
        self._views = analyzed_views
        self._begin = begin
        self._begun: dict[int, int] = {}
        self._work: _Work | None = None

    def tries(self, image: ExamImage) -> int:
        """How often reading the image has begun, this time included."""
        tries = self._begun.get(image.id)
        if tries is None:
            tries = self._begun[image.id] = self._begin(image)
        return tries

    def prepared(self, image: ExamImage, header: ImageHeader, spec: ModelSpec) -> Prepared:
        """The image, ready for the model. Raises ImageFailed and ImageUnreachable."""
        work, self._work = self._work, None
        ready = work.result() if work is not None and work.image_id == image.id else None
        return ready or self._read(image, header, spec)

    def look_ahead(self, image: ExamImage, after: Sequence[ExamImage], spec: ModelSpec) -> None:
        """Begin with the next of the images `after` this one, if neither was begun before."""
        following = next((other for other in after if _is_new(other)), None)
        if following is None or self.tries(image) > 1 or self.tries(following) > 1:
            return
        self._work = _Work(following.id, lambda: self._suitable(following, spec))

    def _suitable(self, image: ExamImage, spec: ModelSpec) -> Prepared | None:
        header = self._reader.header(self._files.path_of(image.path))
        unread = judge(header, analyzed_views=self._views) is not None
        if unread or header.intent is Intent.PROCESSING:
            return None
        return self._read(image, header, spec)

    def _read(self, image: ExamImage, header: ImageHeader, spec: ModelSpec) -> Prepared:
        return prepare(self._reader.mammogram(self._files.path_of(image.path), header), spec)


class _Work:
    """One image being read in a thread."""

    def __init__(self, image_id: int, read: Callable[[], Prepared | None]) -> None:
        self.image_id = image_id
        self._read = read
        self._ready: Prepared | None = None
        self._error: CadnodeError | None = None
        # A process that ends waits for nothing that nobody will ask for.
        self._thread = threading.Thread(target=self._run, name="reading ahead", daemon=True)
        self._thread.start()

    def result(self) -> Prepared | None:
        """What came of it, once it has; None when nothing did. Raises what reading it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._ready

    def _run(self) -> None:
        try:
            self._ready = self._read()
        except CadnodeError as error:
            self._error = error


def _is_new(image: ExamImage) -> bool:
    return image.state is ImageState.RECEIVED and image.intent is not Intent.PROCESSING
