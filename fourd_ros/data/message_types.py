"""ROS message types without ROS: definitions, serialisation to CDR, type hashes.

The types of the distribution come with ``rosbags``. Any other type is looked up when it is first
named: in the texts offered by a bag, as a ``.msg`` file of this checkout, or of an installed package.
"""

import os
import re
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rosbags.interfaces import Nodetype
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from fourd_ros.errors import UnknownMessageType

TYPE_NAME = re.compile(r"[a-z][a-z0-9_]*/(msg|action|srv)/[A-Za-z][A-Za-z0-9_]*")
CDR_ORDERS = (b"\0\0", b"\0\1")
MAX_DEFINITION_CHARS = 1_000_000
MAX_SEQUENCE_LENGTH = 256 * 1024 * 1024

PARSERS: dict[str, Callable[[str, str], dict[str, Any]]] = {
    "ros2msg": get_types_from_msg,
    "ros2idl": lambda text, typename: get_types_from_idl(text),
}


class MessageTypes(Mapping[str, type]):
    """Message classes by type name (``sensor_msgs/msg/Image``), found on first use.

    Classes take every field as a keyword; numeric arrays are NumPy arrays.
    """

    def __init__(self) -> None:
        self.store: Typestore = get_typestore(Stores.ROS2_KILTED)
        self.store.max_sequence_length = MAX_SEQUENCE_LENGTH
        self._offered: dict[str, tuple[str, str]] = {}

    def __getitem__(self, typename: str) -> type:
        """The class of `typename`.

        Raises:
            UnknownMessageType: no definition of it, or of a type inside it, is at hand.
        """
        if typename not in self.store.types:
            self._load(typename)
        return self.store.types[typename]

    def __iter__(self) -> Iterator[str]:
        return iter(self.store.types)

    def __len__(self) -> int:
        return len(self.store.types)

    def offer(self, typename: str, definition: str, encoding: str = "ros2msg") -> None:
        """Remember the text of a type (with those inside it, as MCAP schemas hold them) until it is needed.

        Known types are left as they are, so a bag cannot redefine them.
        """
        self._offered.setdefault(typename, (encoding, definition))

    def hash(self, typename: str) -> str:
        """The RIHS01 hash that publishers of the type announce."""
        self[typename]
        return self.store.hash_rihs01(typename)

    def definition(self, typename: str) -> str:
        """The definition and those of the types inside it, as MCAP schemas hold them."""
        self[typename]
        return self.store.generate_msgdef(typename, ros_version=2)[0]

    def serialize(self, message: object, typename: str) -> memoryview:
        """CDR bytes of `message`."""
        self[typename]
        return self.store.serialize_cdr(message, typename)

    def deserialize(self, data: bytes | memoryview, typename: str) -> Any:
        """The message in CDR bytes.

        Raises:
            UnknownMessageType: no definition of the type is at hand, or the bytes are not of it.
        """
        self[typename]
        if len(data) < 4 or bytes(data[:2]) not in CDR_ORDERS:
            raise UnknownMessageType(f"{len(data)} bytes for '{typename}' do not begin like CDR")
        definition = self.store.get_msgdef(typename)
        read = definition.deserialize_cdr_le if data[1] else definition.deserialize_cdr_be
        try:
            # What follows the message is of no account: DDS serialises into buffers that may be a little longer.
            return read(memoryview(data)[4:], 0, definition.cls, self.store)[0]
        except (SerdeError, ValueError, KeyError, struct.error) as error:
            raise UnknownMessageType(f"{len(data)} bytes are not a '{typename}': {error}") from error

    def _load(self, typename: str) -> None:
        self._check_name(typename)
        if typename in self._offered:
            self._register(self._parse(typename, *self._offered[typename]))
            return
        found = self._parse(typename, "ros2msg", _definition_file(typename).read_text(encoding="utf-8"))
        for inner in _referenced(found[typename][1]):
            self[inner]
        self._register(found)

    def _parse(self, typename: str, encoding: str, definition: str) -> dict[str, Any]:
        if encoding not in PARSERS or len(definition) > MAX_DEFINITION_CHARS:
            raise UnknownMessageType(
                f"the definition of '{typename}' is {len(definition)} characters of {encoding!r}; "
                f"readable: {sorted(PARSERS)} up to {MAX_DEFINITION_CHARS}"
            )
        try:
            return PARSERS[encoding](definition, typename)
        except (TypesysError, ValueError, IndexError) as error:
            raise UnknownMessageType(f"the definition of '{typename}' cannot be read: {error}") from error

    def _register(self, found: dict[str, Any]) -> None:
        """Add what is new; rosbags turns names into code, so they are checked first."""
        for name in found:
            self._check_name(name)
        try:
            self.store.register({name: fields for name, fields in found.items() if name not in self.store.types})
        except (TypesysError, SyntaxError) as error:
            raise UnknownMessageType(f"the types {sorted(found)} cannot be used: {error}") from error

    @staticmethod
    def _check_name(typename: str) -> None:
        if not TYPE_NAME.fullmatch(typename):
            raise UnknownMessageType(f"'{typename}' is not a type name; needed: like 'sensor_msgs/msg/Image'")


def _referenced(fields: list[Any]) -> Iterator[str]:
    for _, (kind, inner) in fields:
        if kind in (Nodetype.ARRAY, Nodetype.SEQUENCE):
            kind, inner = inner[0]
        if kind == Nodetype.NAME:
            yield inner


def _definition_file(typename: str) -> Path:
    package, group, name = typename.split("/")
    checkout = Path(__file__).parents[2] / "msg"
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    candidates = [Path(prefix, "share", package, group, f"{name}.msg") for prefix in prefixes if prefix]
    if package == "fourd_msgs":
        candidates.insert(0, checkout / group / f"{name}.msg")
    for path in candidates:
        if path.is_file():
            return path
    raise UnknownMessageType(
        f"no definition of '{typename}'; install the package '{package}' or source its workspace "
        f"(looked for {', '.join(map(str, candidates))})"
    )
