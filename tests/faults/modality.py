"""A modality that sends exams until they are acknowledged, and sometimes misbehaves itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from cadnode.core.uids import derive_uid
from tests.faults.encoding import encoded
from tests.faults.ledger import Ledger, SentImage
from tests.faults.plan import ExamPlan
from tests.integration import modality
from tests.integration.modality import FOR_PRESENTATION, IMPLICIT
from tests.objects import mammogram

CALLING_AE = "MG1"
PAUSE_SECONDS = 0.3
"""Before what was not acknowledged is sent again."""


def study_uid(seed: int, round_number: int, exam: int) -> str:
    """The Study Instance UID of an exam of a round."""
    return derive_uid("faults", str(seed), str(round_number), str(exam))


def make_images(study_instance_uid: str, exam: ExamPlan) -> list[SentImage]:
    """The images of an exam, the late one last."""
    views = [*exam.views, *([exam.late_view] if exam.late_view else [])]
    return [
        _image(study_instance_uid, view, number + 17 * exam.number)
        for number, view in enumerate(views)
    ]


def _image(study_instance_uid: str, view: str, seed: int) -> SentImage:
    dataset = mammogram(
        laterality=view[0],
        view=view[1:],
        study_uid=study_instance_uid,
        seed=seed,
        instance_number=1,
    )
    return SentImage(
        str(dataset.SOPInstanceUID),
        str(dataset.SOPClassUID),
        study_instance_uid,
        encoded(dataset),
    )


def send_until_acknowledged(
    port: int, images: Sequence[SentImage], ledger: Ledger, *, ends: float
) -> bool:
    """Send, and send again what was not acknowledged, until `ends` (monotonic seconds)."""
    while waiting := [image for image in images if not ledger.has(image)]:
        if time.monotonic() > ends:
            return False
        # Killed or full at the other end, which is what this is for: a pause and again.
        with suppress(OSError, ValueError):
            _send(port, waiting, ledger)
        if any(not ledger.has(image) for image in images):
            time.sleep(PAUSE_SECONDS)
    return True


def _send(port: int, images: Sequence[SentImage], ledger: Ledger) -> None:
    with modality.Modality(port, calling=CALLING_AE) as line:
        kind, _ = line.associate([(FOR_PRESENTATION, IMPLICIT)])
        if kind != 2:
            return
        for image in images:
            status, _ = line.store(image.sop_instance_uid, image.data_set)
            if status == -1:
                return
            if status == 0:
                ledger.acknowledge(image)
        line.release()


def break_off(port: int, image: SentImage, *, politely: bool) -> bool:
    """Send a part of an image and abort, or hang up; True when the node had accepted us."""
    try:
        with modality.Modality(port, calling=CALLING_AE) as line:
            if line.associate([(FOR_PRESENTATION, IMPLICIT)])[0] != 2:
                return False
            line.store(image.sop_instance_uid, image.data_set, only=0.6, chunk=2000)
            if politely:
                line.abort()
            return True
    except OSError:
        return False


def send_in_parallel(port: int, image: SentImage, ledger: Ledger, times: int = 4) -> int:
    """Send one image over so many associations at once; how many were acknowledged."""
    ready, done = threading.Barrier(times), threading.Lock()
    acknowledged = 0

    def send() -> None:
        nonlocal acknowledged
        try:
            with modality.Modality(port, calling=CALLING_AE) as line:
                accepted = line.associate([(FOR_PRESENTATION, IMPLICIT)])[0] == 2
                ready.wait(5)
                if accepted and line.store(image.sop_instance_uid, image.data_set)[0] == 0:
                    ledger.acknowledge(image)
                    with done:
                        acknowledged += 1
        except (OSError, threading.BrokenBarrierError):
            ready.abort()

    _together([send] * times)
    return acknowledged


def _together(calls: Sequence[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=call, daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
