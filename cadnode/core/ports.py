"""The seams between the life of an exam and the libraries that carry it out.

A protocol stands here when it has two implementations; a test fake counts as one. Contract suites
in `tests/contract` run on every implementation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cadnode.core.delivery_ports import DeliveryStore
from cadnode.core.exam import (
    BuiltResult,
    DocumentReference,
    ExamReport,
    ImageState,
)
from cadnode.core.findings import Finding
from cadnode.core.jobs import (
    Acceptance,
    Exam,
    ExamStatus,
    NewImage,
    Priority,
    Problem,
    StoredResult,
)
from cadnode.core.mammogram import ImageHeader, Mammogram
from cadnode.core.model import ModelSpec, PatchScores, RunsOn
from cadnode.core.patch_map import PatchMap
from cadnode.core.proof_ports import CommitmentStore, ProofStore
from cadnode.core.reasons import Reason
from cadnode.core.retention import Purgeable
from cadnode.core.retry import SendOutcome


class MammogramReader(Protocol):
    """Reads stored DICOM files."""

    def header(self, path: Path) -> ImageHeader:
        """What the file says without its pixels. Raises ImageFailed (UNREADABLE), and
        ImageUnreachable when the system refuses to read it now."""
        ...

    def mammogram(self, path: Path, header: ImageHeader) -> Mammogram:
        """The decoded image. Raises ImageFailed with the reason it cannot be read."""
        ...


class Classifier(Protocol):
    """A model that scores patches."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def runs_on(self) -> RunsOn:
        """What it computes on."""
        ...

    def classify(self, patches: NDArray[np.float32]) -> PatchScores:
        """Scores for normalised patches of shape (n, patch_size, patch_size).

        The same patch gets the same score in any batch, to 1e-4, or to 0.02 where it was computed
        in bfloat16. Raises ModelUnfit.
        """
        ...


class OutputBuilder(Protocol):
    """Makes one kind of result object."""

    @property
    def kind(self) -> str: ...

    def objects(self, report: ExamReport) -> Iterator[BuiltResult]:
        """One object after the other, each made when it is asked for; none when this kind has
        nothing to say about `report`.

        Equal reports give equal bytes. Raises ResultInvalid when an object breaks one of our own
        invariants, ImageFailed and ImageUnreachable when an image that it shows cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class OutgoingObject:
    """One stored result object on its way out; the file is sent as it is."""

    sop_class_uid: str
    sop_instance_uid: str
    path: Path


@dataclass(frozen=True, slots=True)
class PeerCheck:
    """The answer to "could we deliver there now?"."""

    reachable: bool
    accepted: Mapping[str, bool]
    """By SOP class UID: is its presentation context accepted?"""
    detail: str


class Sender(Protocol):
    """The way to one destination."""

    def send(self, objects: Sequence[OutgoingObject]) -> Sequence[SendOutcome]:
        """One outcome per object, in order, over one association. Never raises for trouble at
        the other end, and comes back within its deadline whatever the peer does."""
        ...

    def check(self, sop_class_uids: Sequence[str]) -> PeerCheck:
        """C-ECHO, and which storage contexts the destination accepts."""
        ...


class ResultFiles(Protocol):
    """Where result objects are kept and images are read."""

    def keep_result(self, study_instance_uid: str, built: BuiltResult) -> StoredResult:
        """Keep the object for good: equal objects have equal content, in one file or in two.

        Raises SpoolFull when it cannot be kept now."""
        ...

    def path_of(self, relative: str) -> Path:
        """Where the file can be read now; nothing lies there when it is gone.

        Raises NotFound for a path that leads elsewhere, ImageUnreachable when what keeps the file
        does not answer."""
        ...

    def remove(self, relative: str) -> None:
        """Delete the file if it is there. Raises as `path_of`, and SpoolFull."""
        ...


class ExamStore(DeliveryStore, ProofStore, CommitmentStore, Protocol):
    """The job database: the only truth about exams. Every call is one transaction.

    A claim gives a lease; a call that changes a claimed exam or delivery names its owner, and
    raises LeaseLost when the lease has gone to somebody else. Every change of status leaves a row
    in `events`. All times are timezone-aware UTC and come from the caller.
    """

    # receiving

    def accept(self, image: NewImage, *, now: datetime) -> Acceptance:
        """Add a kept image to its exam; the image may be acknowledged once this has returned.

        The exam in `receiving` of that study gets it; with none, a new exam is made, at the next
        revision when the study has been seen before. SAME and CONFLICT change nothing but events;
        after CONFLICT the caller removes the file.

        CHANGED: other bytes under a SOP Instance UID kept before. They take the place of the old
        ones in an exam that `renews`; the file of the old ones stays until its exam is purged.
        The same bytes after they were purged are NEW, for their file is there again; `returned`
        when a result of their study has been delivered.
        """
        ...

    # the analysis lane

    def claim_exam(
        self, owner: str, *, now: datetime, lease: timedelta, exam_id: int | None = None
    ) -> Exam | None:
        """The exam that has been due longest in the analysis lane, or None. Counts a try.

        With `exam_id` that one, and None when it is not due or somebody holds it.

        Exams of a higher priority come first. Among equals, closed exams come first, for they lack only their report; those that a person has asked
        to be read again come last.
        """
        ...

    def renew_exam(self, exam: Exam, *, now: datetime, lease: timedelta) -> None:
        """Hold the exam for another `lease` from now."""
        ...

    def begin_image(self, exam: Exam, image_id: int, *, now: datetime) -> int:
        """Note that reading starts; returns how many times it has started since it last came to an
        end, this one included."""
        ...

    def record_image(
        self,
        exam: Exam,
        image_id: int,
        *,
        state: ImageState,
        header: ImageHeader | None = None,
        findings: Sequence[Finding] = (),
        model: str | None = None,
        patch_map: PatchMap | None = None,
        reason: Reason | None = None,
        detail: str = "",
        now: datetime,
    ) -> None:
        """Write down what became of one image, replacing what was known of it. Raises StaleExam
        when other bytes took its place since the claim.

        Also used with state RECEIVED and a header to note what a held image is.
        """
        ...

    def patch_map(self, image_id: int) -> PatchMap | None:
        """The patch scores of an analyzed image, as `record_image` got them: probabilities to
        0.001, the heat map to 1/255. None when there are none, or they were purged."""
        ...

    def release_exam(
        self,
        exam: Exam,
        *,
        due_at: datetime,
        problem: Problem | None = None,
        blameless: bool = False,
        now: datetime,
    ) -> None:
        """Hand the exam back until `due_at`, at once if an image came meanwhile.

        Without a problem, or with one that is not the exam's fault (`blameless`: the node is
        unfit), the count of tries starts anew, and so does that of its images still to be read.
        """
        ...

    def move_exam(
        self,
        exam: Exam,
        to: ExamStatus,
        *,
        text: str,
        problem: Problem | None = None,
        now: datetime,
    ) -> None:
        """Move the exam on and end the lease; `text` is the event's plain sentence.

        Moves to `analyzed` and `skipped` raise StaleExam when an image arrived since the claim.
        Raises IllegalMove when the table does not have the move. The move to `analyzed` sets
        `analyzed_at` to `now` and makes the exam due at once. The problem is kept on the exam.
        """
        ...

    def predecessors(self, exam: Exam) -> Sequence[DocumentReference]:
        """What the newest earlier revision that sent anything has sent, or may have sent: the
        predecessor documents of this revision. Changes nothing."""
        ...

    def record_results(
        self,
        exam: Exam,
        results: Sequence[StoredResult],
        destinations: Mapping[str, Sequence[str]],
        *,
        predecessors: Sequence[DocumentReference] = (),
        now: datetime,
    ) -> None:
        """Move `analyzed -> reported`: one result row each, and one pending delivery for each
        destination (name -> kinds it wants) that wants it. With no delivery due, on to
        `delivered` at once.

        Every earlier revision of the study is superseded by it: one not reported yet ends, what
        it has not sent is withdrawn, what it failed to send waits for nobody any more. A delivery
        on its way may still end well. Raises StaleExam when `predecessors`, as the results name
        them, are no longer what `predecessors()` says.
        """
        ...

    # housekeeping and persons

    def reanalyze(self, exam_id: int, *, by: str, now: datetime) -> int:
        """Begin a new revision of the exam's study with the images that are there, all of them to
        be read again; returns its exam id.

        Raises IllegalMove while a revision is being worked on, and when images were purged.
        """
        ...

    def drop_destination(self, destination: str, *, why: str, by: str, now: datetime) -> int:
        """Cancel every delivery that waits for `destination` or failed there; returns how many.
        Exams that wait for nothing else move on."""
        ...

    def set_priority(self, exam_id: int, to: Priority, *, by: str, now: datetime) -> None:
        """Put an exam, what it has to deliver, and its later revisions before others or among
        them. Raises IllegalMove for a finished one."""
        ...

    def resend(
        self,
        exam_id: int,
        destinations: Mapping[str, Sequence[str]],
        *,
        by: str,
        now: datetime,
    ) -> int:
        """Have the stored result objects of a delivered or committed exam sent again, to each
        destination (name -> kinds it wants), also to one that never got them; nothing is built
        anew. Moves it to `reported`; returns how many deliveries are due.

        Raises IllegalMove for any other status, when a newer revision has superseded it, and when
        it has nothing that a destination wants.
        """
        ...

    def retry(self, exam_id: int, *, by: str, now: datetime) -> ExamStatus:
        """Start a failed exam again at the step that failed; returns its new status.

        A reported exam's pending deliveries become due at once instead, and so do the proofs that
        a delivered one waits for.

        Images that failed because a worker was lost, and failed deliveries, start again too.
        """
        ...

    def cancel(self, exam_id: int, *, why: str, by: str, now: datetime) -> None:
        """Give an exam up for good; pending deliveries are cancelled. Of a delivered exam, only
        the proofs that it waits for are given up."""
        ...

    def purgeable(self, *, finished_before: datetime, limit: int) -> Sequence[Purgeable]:
        """Exams whose files nobody needs any more and that finished before a moment, the oldest
        first.

        Only delivered, committed, skipped, superseded and cancelled exams: never one that somebody
        still needs, that waits for a proof or that no destination ever got, and none that a later
        revision refers to.
        """
        ...

    def mark_purged(self, exam_id: int, *, now: datetime) -> Sequence[str]:
        """Mark an exam purged if it still is `purgeable`, and return the relative paths of the
        files that may now be deleted; none when it was purged before. Raises IllegalMove when
        somebody needs it again."""
        ...
