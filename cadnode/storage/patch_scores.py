"""Patch scores as rows: about 1 kB for an image, replaced whenever the image is read again."""

from __future__ import annotations

import zlib

import numpy as np
from sqlalchemy import Connection, delete, insert, select

from cadnode.core.patch_map import HeatMap, PatchMap
from cadnode.storage.tables import images, patch_scores

_PATCH = np.dtype([("row", "<i4"), ("column", "<i4"), ("probability", "<f2")])


def replace_patch_map(connection: Connection, image_id: int, patch_map: PatchMap | None) -> None:
    """Keep the scores of an image in the place of earlier ones; None only forgets those."""
    connection.execute(delete(patch_scores).where(patch_scores.c.image_id == image_id))
    if patch_map is not None:
        connection.execute(insert(patch_scores).values(_row(image_id, patch_map)))


def purge_patch_maps(connection: Connection, exam_id: int) -> None:
    """Forget the scores of every image of an exam."""
    of_exam = select(images.c.id).where(images.c.job_id == exam_id)
    connection.execute(delete(patch_scores).where(patch_scores.c.image_id.in_(of_exam)))


def kept_patch_map(connection: Connection, image_id: int) -> PatchMap | None:
    """The scores of an image, or None when none are kept."""
    row = connection.execute(
        select(patch_scores).where(patch_scores.c.image_id == image_id)
    ).one_or_none()
    if row is None:
        return None
    patches = np.frombuffer(zlib.decompress(row.patches), dtype=_PATCH)
    cells = np.frombuffer(zlib.decompress(row.heat), dtype=np.uint8)
    return PatchMap(
        image_shape=(row.image_rows, row.image_columns),
        row_scale=row.row_scale,
        column_scale=row.column_scale,
        patch_size=row.patch_size,
        origins=np.column_stack([patches["row"], patches["column"]]).astype(np.int32),
        probability=patches["probability"].astype(np.float32),
        heat=HeatMap(
            values=np.divide(cells.reshape(row.heat_rows, row.heat_columns), 255, dtype=np.float32),
            row_step=row.heat_row_step,
            column_step=row.heat_column_step,
        ),
        thresholds=tuple(row.thresholds),
        recommended=row.recommended,
    )


def _row(image_id: int, patch_map: PatchMap) -> dict[str, object]:
    patches = np.empty(len(patch_map.origins), dtype=_PATCH)
    patches["row"], patches["column"] = patch_map.origins.T
    patches["probability"] = patch_map.probability
    heat = patch_map.heat
    cells = (np.clip(heat.values, 0, 1) * 255 + 0.5).astype(np.uint8)
    return {
        "image_id": image_id,
        "image_rows": patch_map.image_shape[0],
        "image_columns": patch_map.image_shape[1],
        "row_scale": patch_map.row_scale,
        "column_scale": patch_map.column_scale,
        "patch_size": patch_map.patch_size,
        "patch_count": len(patches),
        "patches": zlib.compress(patches.tobytes()),
        "heat_rows": cells.shape[0],
        "heat_columns": cells.shape[1],
        "heat_row_step": heat.row_step,
        "heat_column_step": heat.column_step,
        "heat": zlib.compress(cells.tobytes()),
        "thresholds": list(patch_map.thresholds),
        "recommended": patch_map.recommended,
    }
