"""Where the meshes of a robot description lie, and which of them may be read."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from fourd_ros.errors import MeshUnavailable, PathNotAllowed

OWN_PACKAGE = "fourd_ros"
OWN_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class MeshPaths:
    """Turns the mesh references of a URDF into files.

    Args:
        package_roots: folder of every package that ``package://`` may name besides the installed ones.
        base_directory: folder that relative references start from.
        allowed_roots: only files below these, and the meshes shipped here, are read. None: below
            `base_directory`, `package_roots` and the share folder of installed packages.
    """

    package_roots: Mapping[str, Path]
    base_directory: Path | None = None
    allowed_roots: Sequence[Path] | None = None

    def resolve(self, reference: str) -> Path:
        """The file that a reference means; links are followed before the roots are checked.

        Raises:
            PathNotAllowed: it lies below no allowed root, or is not local.
            MeshUnavailable: no such package, no possible file name, or a relative reference without `base_directory`.
        """
        located = self._locate(reference)
        try:
            path = located.resolve()
        except (OSError, RuntimeError, ValueError) as error:  # loops of links, names no file can have
            raise MeshUnavailable(f"mesh '{reference}' cannot be a file: {error}") from error
        roots = self._roots()
        if not any(path.is_relative_to(root) for root in roots):
            raise PathNotAllowed(
                f"mesh '{reference}' is {path}, below none of the allowed roots "
                f"{[str(root) for root in roots]}; add its folder to the allowed roots (parameter mesh_roots)"
            )
        return path

    def _locate(self, reference: str) -> Path:
        scheme, separator, rest = reference.partition("://")
        if separator and scheme == "package":
            package, _, inside = rest.partition("/")
            return self._package(package, reference) / unquote(inside).lstrip("/")
        if separator and scheme == "file":
            return Path("/", unquote(rest.removeprefix("localhost")))
        if separator:
            raise PathNotAllowed(f"mesh '{reference}'; only package://, file:// and relative references are read")
        if os.path.isabs(reference):
            return Path(reference)
        if self.base_directory is None:
            raise MeshUnavailable(f"mesh '{reference}' is relative and the URDF came without a folder; use package://")
        return self.base_directory / reference

    def _package(self, name: str, reference: str) -> Path:
        if name in self.package_roots:
            return self.package_roots[name]
        if name == OWN_PACKAGE:
            return OWN_ROOT
        for share in _installed_shares():
            if name not in ("", ".", "..") and (share / name).is_dir():
                return share / name
        raise MeshUnavailable(
            f"mesh '{reference}': package '{name}' is neither in package_roots nor below AMENT_PREFIX_PATH; "
            "source the workspace that holds it or name its folder"
        )

    def _roots(self) -> list[Path]:
        if self.allowed_roots is not None:
            given = [*self.allowed_roots]
        else:
            given = [*self.package_roots.values(), *_installed_shares()]
            given += [self.base_directory] if self.base_directory is not None else []
        return [root.resolve() for root in (*given, OWN_ROOT / "assets")]


def _installed_shares() -> list[Path]:
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    return [Path(prefix) / "share" for prefix in prefixes if prefix]
