"""Options of the runs behind a curve, read from YAML files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml

from loupe.errors import OptionError

__all__ = ["read_settings"]

Options = TypeVar("Options")


def read_settings(
    kind: type[Options], option: str, path: str | None, own: dict[str, Any]
) -> Options:
    """Read options of this kind from a YAML file, `own` ones in place of the file's.

    Raises:
        OptionError: the file cannot be read, or holds what is no option of this kind.
    """
    from argparse import ArgumentError

    from jsonargparse import ArgumentParser

    try:
        held = {} if path is None else yaml.safe_load(Path(path).read_text("utf-8")) or {}
        if not isinstance(held, dict):
            raise OptionError(f"{option} {path!r} holds no options; expected `name: value` lines.")
        parser = ArgumentParser(exit_on_error=False)
        parser.add_class_arguments(kind)
        return kind(**parser.parse_object({**held, **own}).as_dict())
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ArgumentError) as error:
        told = " ".join(str(error).split()).rstrip(".")
        raise OptionError(
            f"{option} {path!r} cannot be read as options ({told}). Name a YAML file such as the "
            "options.yaml that a run leaves."
        ) from error
