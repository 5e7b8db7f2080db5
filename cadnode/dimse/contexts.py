"""What the node accepts and proposes: SOP classes and transfer syntaxes, as in its conformance
statement (PS3.4 annex B.5, PS3.5 annex A)."""

from __future__ import annotations

from collections.abc import Iterable

from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from pynetdicom.presentation import PresentationContext, build_context

VERIFICATION = "1.2.840.10008.1.1"

RECEIVED_SOP_CLASSES: dict[str, str] = {
    "1.2.840.10008.5.1.4.1.1.1.2": "Digital Mammography X-Ray Image - For Presentation",
    "1.2.840.10008.5.1.4.1.1.1.2.1": "Digital Mammography X-Ray Image - For Processing",
    "1.2.840.10008.5.1.4.1.1.13.1.3": "Breast Tomosynthesis Image",
    "1.2.840.10008.5.1.4.1.1.13.1.4": "Breast Projection X-Ray Image - For Presentation",
    "1.2.840.10008.5.1.4.1.1.13.1.5": "Breast Projection X-Ray Image - For Processing",
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture Image",
    "1.2.840.10008.5.1.4.1.1.7.1": "Multi-frame Single Bit Secondary Capture Image",
    "1.2.840.10008.5.1.4.1.1.7.2": "Multi-frame Grayscale Byte Secondary Capture Image",
    "1.2.840.10008.5.1.4.1.1.7.3": "Multi-frame Grayscale Word Secondary Capture Image",
    "1.2.840.10008.5.1.4.1.1.7.4": "Multi-frame True Color Secondary Capture Image",
}
"""Storage SOP classes that the receiver accepts, by UID."""

# Where one proposed context leaves the choice, the acceptor takes the first of these that is
# offered: a compressed one, because a sender that has both mostly holds the image compressed.
RECEIVED_TRANSFER_SYNTAXES: tuple[str, ...] = (
    JPEGLosslessSV1,
    JPEGLossless,
    JPEGLSLossless,
    JPEG2000Lossless,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    RLELossless,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
)
"""Transfer syntaxes that the receiver accepts for every storage SOP class: lossless ones only."""

UNCOMPRESSED_TRANSFER_SYNTAXES: tuple[str, ...] = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


def received_contexts() -> list[PresentationContext]:
    """The presentation contexts that the receiver accepts."""
    contexts = [build_context(VERIFICATION, list(UNCOMPRESSED_TRANSFER_SYNTAXES))]
    contexts.extend(
        build_context(sop_class_uid, list(RECEIVED_TRANSFER_SYNTAXES))
        for sop_class_uid in RECEIVED_SOP_CLASSES
    )
    return contexts


def proposed_contexts(sop_classes: Iterable[tuple[str, str]]) -> list[PresentationContext]:
    """One context for every (SOP class, transfer syntax) asked for, and for an uncompressed one
    a further context in each uncompressed syntax, so that the peer cannot choose for us."""
    wanted: dict[tuple[str, str], None] = {}
    for sop_class_uid, transfer_syntax_uid in sop_classes:
        wanted[sop_class_uid, transfer_syntax_uid] = None
        if transfer_syntax_uid in UNCOMPRESSED_TRANSFER_SYNTAXES:
            for other in UNCOMPRESSED_TRANSFER_SYNTAXES:
                wanted[sop_class_uid, other] = None
    return [build_context(sop_class, syntax) for sop_class, syntax in wanted]
