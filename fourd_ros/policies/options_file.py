"""Policies that are told what to do by a file of options."""

from collections.abc import Callable
from pathlib import Path

from fourd_ros.errors import InvalidConfig
from fourd_ros.policies.base import Policy
from fourd_ros.strict_json import read_object

_FOLDER = "folder"


def made_from_file(make: Callable[..., Policy], kind: str, detail: str) -> Policy:
    """The policy that `make` makes of a name and the options in a file.

    Args:
        make: called with the name and one keyword for each option.
        kind: of the policy; its name is ``KIND/NAME_OF_THE_FILE``.
        detail: path of a JSON file; an option ``folder`` in it may be relative to where the file is.

    Raises:
        InvalidConfig: there is no such file, or an option is unknown, missing or of the wrong type.
    """
    path = Path(detail)
    options = read_object(path, error=InvalidConfig)
    if isinstance(options.get(_FOLDER), str):
        options[_FOLDER] = path.parent / options[_FOLDER]
    try:
        return make(f"{kind}/{path.stem}", **options)
    except (TypeError, AttributeError) as error:
        raise InvalidConfig(f"the options in '{path}' do not make a policy of kind '{kind}': {error}") from error
