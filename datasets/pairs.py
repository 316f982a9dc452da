"""What a labelled set is made of: pairs that are listed at once and read when asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

Split = Literal["train", "validation"]

IGNORE = 255
"""Value of a label pixel that says nothing."""

LABELS = ("structure_before", "structure_after", "change")
"""The label layers of a pair."""

_UNSAID = 128
"""`IGNORE` in files that this project writes, to be looked at between 0 and 255."""

CACHE_BYTES = 512 * 2**20
"""What one split of a set may keep in memory: 56 pairs of 1024 x 1024 px."""

_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
_MAX_PX = 2**26
"""Larger files are mosaics: read whole for every crop that is cut from them, they would stall a training run."""


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """Two dates of one scene and what is known of them.

    Attributes:
        source: name of the set.
        name: name of the scene within the set.
        before, after: (H, W, 3) uint8 RGB; the same array for single-date imagery.
        structure_before, structure_after, change: (H, W) uint8, 0, 1 or `IGNORE`.
        gsd: nominal metres per pixel.
        single_date: both dates are one picture.
        structures_known: the structure layers speak of the whole scene, not of its changed pixels only.
    """

    source: str
    name: str
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    structure_before: NDArray[np.uint8]
    structure_after: NDArray[np.uint8]
    change: NDArray[np.uint8]
    gsd: float
    single_date: bool = False
    structures_known: bool = True

    @property
    def nbytes(self) -> int:
        """Memory of the pixels, an array that serves twice counted once."""
        arrays = (self.before, self.after, self.structure_before, self.structure_after, self.change)
        return sum({id(a): a.nbytes for a in arrays}.values())


@dataclass(frozen=True, slots=True)
class Entry:
    """A pair before its pixels are read; the attributes of the same name are those of `LabelledPair`.

    Attributes:
        files: what the pair is read from, by layer.
        read: reads it. A function of a module or a `functools.partial` of one, so that entries can be pickled.
    """

    source: str
    name: str
    gsd: float
    files: Mapping[str, Path]
    read: Callable[[Entry], LabelledPair]
    single_date: bool = False
    structures_known: bool = True

    def then(self, change: Callable[[LabelledPair], LabelledPair]) -> Entry:
        """The entry whose pair is changed after it is read; `change` must be picklable, as `read`."""
        return replace(self, read=partial(_read_then, read=self.read, change=change))

    def pair(
        self,
        before: NDArray[np.uint8],
        after: NDArray[np.uint8],
        structure_before: NDArray[np.uint8],
        structure_after: NDArray[np.uint8],
        change: NDArray[np.uint8],
    ) -> LabelledPair:
        return LabelledPair(
            self.source, self.name, before, after, structure_before, structure_after, change,
            self.gsd, self.single_date, self.structures_known,
        )  # fmt: skip


def _read_then(
    entry: Entry, read: Callable[[Entry], LabelledPair], change: Callable[[LabelledPair], LabelledPair]
) -> LabelledPair:
    return change(read(entry))


class LabelledSet(Sequence[LabelledPair]):
    """One split of a set. A pair is read when it is indexed; those used last are kept within a budget of bytes.

    `entries` tells names and what is known of each pair without reading one. Pickled (for a worker process), the
    set takes its entries along, not the pixels. For one thread at a time.

    Args:
        entries: in the order of their names.
        cache_bytes: how much may be kept; 0 keeps nothing.
    """

    def __init__(self, entries: Sequence[Entry], cache_bytes: int = CACHE_BYTES) -> None:
        self.entries = tuple(entries)
        self.cache_bytes = cache_bytes
        self._kept: OrderedDict[int, LabelledPair] = OrderedDict()
        self._bytes = 0

    @property
    def names(self) -> list[str]:
        return [entry.name for entry in self.entries]

    def __len__(self) -> int:
        return len(self.entries)

    @overload
    def __getitem__(self, index: int) -> LabelledPair: ...
    @overload
    def __getitem__(self, index: slice) -> LabelledSet: ...
    def __getitem__(self, index: int | slice) -> LabelledPair | LabelledSet:
        """Read a pair, or narrow the set.

        Raises:
            FileNotFoundError: a file has gone since the set was listed.
            ValueError: a file cannot be read, or does not fit the others of its scene; the message names it.
        """
        if isinstance(index, slice):
            return LabelledSet(self.entries[index], self.cache_bytes)
        index = range(len(self.entries))[index]
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        entry = self.entries[index]
        pair = self._kept[index] = entry.read(entry)
        self._bytes += pair.nbytes
        while self._bytes > self.cache_bytes:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return pair

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_kept": OrderedDict(), "_bytes": 0}


class _Layer(dict[str, Path]):
    """Scene name -> file of one layer, in sorted order."""

    def __init__(self, folder: Path) -> None:
        super().__init__({p.stem: p for p in sorted(folder.glob("*")) if p.suffix.lower() in _SUFFIXES})
        self.folder = folder

    def __missing__(self, name: str) -> Path:
        raise FileNotFoundError(f"{self.folder} has no {name}; every layer holds one file per scene")


def list_files(folder: Path) -> dict[str, Path]:
    """The images of a folder by name.

    Raises:
        FileNotFoundError: the folder is missing or holds no image; later, when a name is looked up, that it lacks it.
    """
    found = _Layer(folder)
    if not found:
        raise FileNotFoundError(f"{folder} holds no images; see datasets/README.md for the expected layout")
    return found


def list_layers(folders: Mapping[str, Path]) -> dict[str, dict[str, Path]]:
    """Scene name -> layer -> file. The first layer says which scenes there are.

    Raises:
        FileNotFoundError: a layer, or one scene of it, is missing.
    """
    layers = {layer: list_files(folder) for layer, folder in folders.items()}
    names = next(iter(layers.values()))
    return {name: {layer: files[name] for layer, files in layers.items()} for name in names}


def every_fifth(names: Sequence[str]) -> set[str]:
    return set(names[::5])


Held = Callable[[Sequence[str]], set[str]]
"""All names of a set -> those that validate."""


def list_split(
    folder: Path, split: Split, layers: Mapping[str, str], held: Held = every_fifth
) -> dict[str, dict[str, Path]]:
    """Scene name -> layer -> file, for one split of a set as it is published.

    Two layouts are told apart: `train/` and `val/` with a folder for each layer; or, as tiles are often cut, one
    folder for each layer, with the names of each split in `list/train.txt` and `list/val.txt`. Where there is no
    `val/`, what `held` says of `train/` validates.

    Args:
        layers: layer -> name of its folder.

    Raises:
        FileNotFoundError: a layer, a scene of it, or a list is missing.
    """
    part = "val" if split == "validation" else "train"
    if not (folder / "train").is_dir() and (folder / "list").is_dir():
        found = list_layers({layer: folder / name for layer, name in layers.items()})
        return {name: found[name] for name in _listed(folder / "list" / f"{part}.txt", found)}
    if (folder / "val").is_dir():
        return list_layers({layer: folder / part / name for layer, name in layers.items()})
    found = list_layers({layer: folder / "train" / name for layer, name in layers.items()})
    out = held(list(found))
    return {name: files for name, files in found.items() if (name in out) == (split == "validation")}


def _listed(path: Path, found: Mapping[str, object]) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; it names the scenes of the split, one a line")
    names = sorted(Path(line.strip()).stem for line in path.read_text("utf-8").splitlines() if line.strip())
    if not names:
        raise FileNotFoundError(f"{path} names no scene; it names those of the split, one a line")
    for name in names:
        if name not in found:
            raise FileNotFoundError(f"{path} names {name}, of which there is no image; copy the tiles again")
    return names


def read_image(path: Path, shape: tuple[int, ...] | None = None) -> NDArray[np.uint8]:
    """An image as (H, W, 3) uint8 RGB.

    Args:
        shape: of what it belongs to; only height and width are compared.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be decoded, is a mosaic, or has another size.
    """
    return _read(path, "RGB", shape)


def read_values(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A mask of one channel as (H, W) uint8, its numbers as they are. Raises as `read_image`."""
    return _read(path, None, shape)


def read_labels(path: Path, shape: tuple[int, ...], again: str) -> NDArray[np.uint8]:
    """Labels that `write_labels` wrote, (H, W) uint8 of 0, 1 and `IGNORE`.

    Args:
        again: how such a file is written anew, for who has a damaged one. Raises as `read_image`.
    """
    try:
        levels = read_values(path, shape)
    except ValueError as error:
        raise ValueError(f"{error}; or {again}") from error
    if not np.isin(levels, (0, _UNSAID, 255)).all():
        raise ValueError(f"{path} has other values than 0, {_UNSAID} and 255; {again}")
    return np.select([levels == 0, levels == 255], [0, 1], IGNORE).astype(np.uint8)


def write_labels(path: Path, labels: NDArray[np.uint8]) -> None:
    """One layer of labels, (H, W) uint8 of 0, 1 and `IGNORE`, as PNG: 0 no, 255 yes, 128 not said."""
    Image.fromarray(np.select([labels == 0, labels == 1], [0, 255], _UNSAID).astype(np.uint8)).save(path)


def read_mask(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A mask as (H, W) uint8, 1 wherever any channel is not 0. Raises as `read_image`.

    The sets write 0 and 255, 0 and 1, or black and a colour.
    """
    marked: NDArray[np.bool_] = np.any(read_image(path, shape), axis=2)
    return marked.astype(np.uint8)


def _read(path: Path, mode: str | None, shape: tuple[int, ...] | None) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            if image.width * image.height > _MAX_PX:
                raise Image.DecompressionBombError(f"{image.width} x {image.height} px")
            pixels = np.array(image if mode is None else image.convert(mode))
    except FileNotFoundError:
        raise
    except Image.DecompressionBombError:
        raise ValueError(
            f"{path} is a whole mosaic; cut images and masks into tiles of 256 to 1024 px, the same name in every layer"
        ) from None
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path} cannot be read ({error}); copy it from the source again") from error
    if mode is None and (pixels.ndim != 2 or pixels.dtype != np.uint8):
        raise ValueError(f"{path} is no mask of one channel with 8 bits; take the file as it was published")
    if shape is not None and pixels.shape[:2] != shape[:2]:
        h, w = pixels.shape[:2]
        raise ValueError(
            f"{path} has {w} x {h} px, but the earlier image of the scene {shape[1]} x {shape[0]}; "
            "all layers of a scene share one grid: replace the file or remove the scene"
        )
    return pixels


def nodata(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels outside the scene: the sets fill them with (near, after JPEG) black."""
    black: NDArray[np.bool_] = image.max(axis=2) <= 3
    return black


def read_dates(entry: Entry) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The layers `before` and `after`. Raises as `read_image`."""
    before = read_image(entry.files["before"])
    return before, read_image(entry.files["after"], before.shape)


def seen_pair(
    entry: Entry,
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    structure_before: NDArray[np.uint8],
    structure_after: NDArray[np.uint8],
    change: NDArray[np.uint8],
) -> LabelledPair:
    """The pair with its labels taken back, in place, where a date was not seen."""
    unseen_before, unseen_after = nodata(before), nodata(after)
    structure_before[unseen_before], structure_after[unseen_after] = IGNORE, IGNORE
    change[unseen_before | unseen_after] = IGNORE
    return entry.pair(before, after, structure_before, structure_after, change)


def rasterised(polygons: Iterable[BaseGeometry], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Pixels of a grid (H, W) whose centre lies in one of the polygons, which are in pixels of that grid.

    x runs right and y down from the upper left corner of the upper left pixel, as in `inference.findings`.
    """
    shapes = [(p, 1) for p in polygons if not p.is_empty]
    if not shapes:
        return np.zeros(shape[:2], dtype=np.bool_)
    filled: NDArray[np.uint8] = rasterize(shapes, out_shape=shape[:2], dtype=np.uint8)
    return filled.astype(np.bool_)
