"""The mini-MIAS set (Suckling et al. 1994): 322 films at 200 um with `Info.txt`.

For research only; it is measured on, never trained on, for the bundle we ship.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cadnode.core.annotations import Annotation, Case
from cadnode.core.errors import ConfigError
from cadnode.core.mammogram import Laterality
from cadnode.training.image_files import as_mammogram, read_picture

PITCH_MM = 0.2
_TISSUE = {"F": "fatty", "G": "fatty-glandular", "D": "dense-glandular"}
_FINDING = {
    "CALC": "calcifications",
    "CIRC": "circumscribed mass",
    "SPIC": "spiculated mass",
    "MISC": "other mass",
    "ARCH": "architectural distortion",
    "ASYM": "asymmetry",
    "NORM": "normal",
}


@dataclass(frozen=True, slots=True)
class Film:
    """What `Info.txt` says of one film."""

    name: str
    tissue: str
    kinds: tuple[str, ...]
    """`NORM`, `CALC`, `CIRC`, ..."""
    clusters: tuple[tuple[float, float, float], ...]
    """(x, y, radius) in pixels, y from the bottom."""
    everywhere: bool
    """Calcifications without a place."""

    @property
    def finding(self) -> str:
        """In words; calcifications where there are any."""
        kind = "CALC" if "CALC" in self.kinds else self.kinds[0]
        return _FINDING.get(kind, kind)

    @property
    def patient(self) -> str:
        """Odd and even neighbours are the right and left films of one patient."""
        return f"mias{(int(self.name[3:]) + 1) // 2:03}"


def read_info(path: Path) -> list[Film]:
    """Every film of `Info.txt`, in order. Raises ConfigError where it is not that file."""
    rows: dict[str, list[list[str]]] = {}
    for line in path.read_text("latin-1").splitlines():
        words = line.split()
        if len(words) >= 3 and words[0].startswith("mdb") and words[0][3:].isdecimal():
            rows.setdefault(words[0], []).append(words[1:])
    if not rows:
        raise ConfigError(f"{path} names no film")
    films = []
    for name, facts in rows.items():
        calcified = [words for words in facts if words[1] == "CALC"]
        placed = [words for words in calcified if len(words) >= 6 and words[3].isdecimal()]
        films.append(
            Film(
                name,
                _TISSUE.get(facts[0][0], facts[0][0]),
                tuple(words[1] for words in facts),
                tuple(_circle(path, name, words[3:6]) for words in placed),
                len(placed) < len(calcified),
            )
        )
    return films


def _circle(path: Path, name: str, words: list[str]) -> tuple[float, float, float]:
    if not all(word.isdecimal() for word in words):
        raise ConfigError(f"{path}: {name} has no place at {' '.join(words)}")
    x, y, radius = map(float, words)
    return x, y, radius


def cases(folder: Path, films: list[Film]) -> Iterator[Case]:
    """The films as cases, read one at a time from `NAME.png`, or `NAME.pgm` as they are published."""
    for film in films:
        png = folder / f"{film.name}.png"
        pixels = read_picture(png if png.exists() else png.with_suffix(".pgm"))
        rows = pixels.shape[0]
        side = Laterality.LEFT if int(film.name[3:]) % 2 == 0 else Laterality.RIGHT
        yield Case(
            as_mammogram(pixels, name=film.name, pitch_mm=PITCH_MM, laterality=side),
            film.patient,
            tuple(Annotation(((x, rows - y),), radius) for x, y, radius in film.clusters),
            complete=not film.everywhere,
            groups=(("tissue", film.tissue), ("finding", film.finding)),
        )
