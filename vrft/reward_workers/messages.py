"""Messages between a run and the workers of its rewards: values of Python as lines of JSON.

A run writes samples, completions and pictures, and its worker makes them again: ``to_message`` and
``from_message``. What comes back from a worker is plain JSON, of which nothing is made but numbers
and texts: a worker that has been taken over cannot make the run build anything.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import decimal
import enum
import fractions
import importlib
import sys
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any

# NumPy, torch and Pillow are looked for in sys.modules: a value of theirs has imported them.

KIND = "$"
"""The key of an object that stands for a value which JSON does not have."""


class CannotTravel(Exception):
    """A value that a message cannot hold; the text names its type."""


def to_message(value: Any) -> Any:
    """Return a value as JSON can hold it, from which ``from_message`` makes an equal one.

    Besides JSON's own types these are tuples, sets, bytes, paths, numbers and times of the standard
    library, members of enums, dataclasses of importable modules, arrays of NumPy, tensors of torch
    and pictures of Pillow. Raises CannotTravel for anything else.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is list:
        return [to_message(item) for item in value]
    for kind, (holds, write, _) in KINDS.items():
        if holds(value):
            return {KIND: kind, **write(value)}
    raise CannotTravel(f"a value of type {type(value).__name__}")


def from_message(message: Any) -> Any:
    """Return the value that ``to_message`` has written; dataclasses are imported by name."""
    if isinstance(message, list):
        return [from_message(item) for item in message]
    if not isinstance(message, dict):
        return message
    kind = message.get(KIND)
    if kind is None:
        return {key: from_message(item) for key, item in message.items()}
    return KINDS[kind][2](message)


def named(cls: type) -> dict[str, str]:
    """Return the module and name of a class; CannotTravel if it cannot be imported by them."""
    module = sys.modules.get(cls.__module__)
    if cls.__module__ == "__main__" or getattr(module, cls.__qualname__, None) is not cls:
        raise CannotTravel(f"a value of type {cls.__name__}, which no module has by that name")
    return {"module": cls.__module__, "name": cls.__qualname__}


def class_of(message: Mapping[str, Any]) -> Any:
    """Import the class that a message names."""
    return getattr(importlib.import_module(message["module"]), message["name"])


def instance_of(module: str, *names: str) -> Callable[[Any], bool]:
    """Return a function that tells whether a value is of one of a module's types, if imported."""

    def holds(value: Any) -> bool:
        loaded = sys.modules.get(module)
        return loaded is not None and isinstance(value, tuple(getattr(loaded, n) for n in names))

    return holds


def write_dict(value: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the items of a mapping, whose keys may be of any type."""
    return {"items": [[to_message(key), to_message(item)] for key, item in value.items()]}


def read_dict(message: Mapping[str, Any]) -> dict[Any, Any]:
    """Return the mapping of a message's items."""
    return {from_message(key): from_message(item) for key, item in message["items"]}


def write_fields(value: Any) -> dict[str, Any]:
    """Return a dataclass by the arguments of its constructor."""
    fields = {
        field.name: to_message(getattr(value, field.name))
        for field in dataclasses.fields(value)
        if field.init
    }
    return {**named(type(value)), "fields": fields}


def read_fields(message: Mapping[str, Any]) -> Any:
    """Construct the dataclass of a message."""
    fields = {name: from_message(item) for name, item in message["fields"].items()}
    return class_of(message)(**fields)


def write_array(value: Any) -> dict[str, Any]:
    """Return an array of NumPy by its bytes, or by its items where these are objects."""
    if value.dtype.hasobject:
        if value.dtype.fields:
            raise CannotTravel("an array of records that hold objects")
        return {"shape": list(value.shape), "objects": [to_message(item) for item in value.flat]}
    data = base64.b64encode(value.tobytes()).decode("ascii")
    dtype = value.dtype.descr if value.dtype.fields else value.dtype.str
    return {"shape": list(value.shape), "dtype": to_message(dtype), "data": data}


def read_array(message: Mapping[str, Any]) -> Any:
    """Return the array of a message, which can be written to."""
    import numpy as np

    if "objects" in message:
        array = np.empty(message["shape"], dtype=object)
        for place, item in enumerate(message["objects"]):
            array.flat[place] = from_message(item)
        return array
    data = base64.b64decode(message["data"])
    array = np.frombuffer(data, np.dtype(from_message(message["dtype"])))
    return array.reshape(message["shape"]).copy()


def write_tensor(value: Any) -> dict[str, Any]:
    """Return a tensor of torch by the array of its values."""
    try:
        return {"array": to_message(value.detach().cpu().numpy())}
    except TypeError as error:  # bfloat16, which NumPy does not know
        raise CannotTravel(f"a tensor of {value.dtype}") from error


def read_tensor(message: Mapping[str, Any]) -> Any:
    """Return the tensor of a message, on the CPU."""
    import torch

    return torch.from_numpy(from_message(message["array"]))


def write_picture(value: Any) -> dict[str, Any]:
    """Return a picture of Pillow by its pixels and what its file says of them."""
    info = {}
    for key, item in value.info.items():
        try:
            info[key] = to_message(item)
        except CannotTravel:  # a remark of its file, which no pixel depends on
            continue
    exif = value.getexif()
    if exif:  # of a TIFF, whose orientation stands among its tags
        info["exif"] = to_message(exif.tobytes())
    palette = value.getpalette()
    return {
        "mode": value.mode,
        "size": list(value.size),
        "palette": palette,
        "info": info,
        "data": base64.b64encode(value.tobytes()).decode("ascii"),
    }


def read_picture(message: Mapping[str, Any]) -> Any:
    """Return the picture of a message."""
    from PIL import Image

    size = tuple(message["size"])
    picture = Image.frombytes(message["mode"], size, base64.b64decode(message["data"]))
    if message["palette"] is not None:
        picture.putpalette(message["palette"])
    picture.info.update({key: from_message(item) for key, item in message["info"].items()})
    return picture


def is_dataclass(value: Any) -> bool:
    """Tell whether a value is an instance of a dataclass."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def of_types(*types: type) -> Callable[[Any], bool]:
    """Return a function that tells whether a value is of exactly one of some types."""
    return lambda value: type(value) in types


def items_of(value: Any) -> dict[str, Any]:
    """Return the items of a tuple or set."""
    return {"items": [to_message(item) for item in value]}


def read_items(make: Callable[[list[Any]], Any]) -> Callable[[Mapping[str, Any]], Any]:
    """Return a reader of what ``items_of`` writes."""
    return lambda message: make([from_message(item) for item in message["items"]])


def as_text(value: Any) -> dict[str, str]:
    """Return a value by its text."""
    return {"text": str(value)}


def of_text(make: Callable[[str], Any]) -> Callable[[Mapping[str, Any]], Any]:
    """Return a reader of what ``as_text`` writes."""
    return lambda message: make(message["text"])


def by_isoformat(value: Any) -> dict[str, str]:
    """Return a date or time in ISO's form."""
    return {"text": value.isoformat()}


Holds = Callable[[Any], bool]
Write = Callable[[Any], dict[str, Any]]
Read = Callable[[Mapping[str, Any]], Any]

# In this order: a truth value of NumPy is asked for before numbers, an enum before its base type.
KINDS: Mapping[str, tuple[Holds, Write, Read]] = {
    "dict": (lambda value: isinstance(value, Mapping), write_dict, read_dict),
    "tuple": (of_types(tuple), items_of, read_items(tuple)),
    "set": (of_types(set), items_of, read_items(set)),
    "frozenset": (of_types(frozenset), items_of, read_items(frozenset)),
    "named tuple": (
        lambda value: isinstance(value, tuple) and hasattr(value, "_fields"),
        lambda value: {**named(type(value)), **items_of(value)},
        lambda message: class_of(message)(*read_items(list)(message)),
    ),
    "bytes": (
        of_types(bytes, bytearray),
        lambda value: {"data": base64.b64encode(value).decode("ascii")},
        lambda message: base64.b64decode(message["data"]),
    ),
    "path": (lambda value: isinstance(value, PurePath), as_text, of_text(Path)),
    "enum": (
        lambda value: isinstance(value, enum.Enum),
        lambda value: {**named(type(value)), "member": value.name},
        lambda message: class_of(message)[message["member"]],
    ),
    "dataclass": (is_dataclass, write_fields, read_fields),
    "decimal": (of_types(decimal.Decimal), as_text, of_text(decimal.Decimal)),
    "fraction": (of_types(fractions.Fraction), as_text, of_text(fractions.Fraction)),
    "uuid": (of_types(uuid.UUID), as_text, of_text(uuid.UUID)),
    "datetime": (
        of_types(datetime.datetime),
        by_isoformat,
        of_text(datetime.datetime.fromisoformat),
    ),
    "date": (of_types(datetime.date), by_isoformat, of_text(datetime.date.fromisoformat)),
    "time": (of_types(datetime.time), by_isoformat, of_text(datetime.time.fromisoformat)),
    "timedelta": (
        of_types(datetime.timedelta),
        lambda value: {"parts": [value.days, value.seconds, value.microseconds]},
        lambda message: datetime.timedelta(*message["parts"]),
    ),
    "array": (instance_of("numpy", "ndarray"), write_array, read_array),
    "scalar": (
        instance_of("numpy", "generic"),
        lambda value: {"array": to_message(value.reshape(1))},
        lambda message: from_message(message["array"])[0],
    ),
    "tensor": (instance_of("torch", "Tensor"), write_tensor, read_tensor),
    "picture": (instance_of("PIL.Image", "Image"), write_picture, read_picture),
}
"""Kind -> whether a value is of it, how a message holds it, and how it is made again."""
