"""What is wrong where the store refuses: on one screen, with what to do."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import mlflow
from mlflow.exceptions import MlflowException
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from cardio_mlflow.errors import InputError, StoreGoneError

_GO_ON: Final = "What was done is kept: then go on with the same command and -P resume=true."
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REASONS: Final = {
    "readonly database|read-only": "it may not be written by you. Ask its owner, or take another with "
    "MLFLOW_TRACKING_URI",
    "unable to open database": "it cannot be opened: its folder is missing, or may not be entered or written",
    "disk is full|No space left|disk I/O": f"its disk is full. Make room there. {_GO_ON}",
    "database is locked": f"another program holds it locked. {_GO_ON}",
    "not a database|malformed": "the file is no sqlite database, or a damaged one. Bring back a copy",
    "password authentication|no password supplied": "it refuses the user or the password (PGPASSWORD, "
    "~/.pgpass)",
    "UNAUTHENTICATED|not authenticated|error code 401": "it wants a user and a password: set "
    "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
    "PERMISSION_DENIED|error code 403|Permission denied": "it does not let this user do that: ask "
    "who runs it",
}  # fmt: skip
"""What the text of a fault says, as a regular expression, and what it means."""
_GONE: Final = "Max retries|[Cc]onnection|timed out|could not translate|error code 50[234]"


@contextmanager
def explained(uri: str | None = None) -> Iterator[None]:
    """Turn refusals of the store, and of the folder of its artifacts, into an InputError to be read.

    Args:
        uri: the store's address, where it is not that of this process.
    """
    try:
        yield
    except (MlflowException, SQLAlchemyError, ModuleNotFoundError) as error:
        kind = StoreGoneError if is_gone(error) else InputError
        raise kind(refusal(error, uri)) from error
    except OSError as error:
        if error.filename is None and is_gone(error):  # of a download from a server
            raise StoreGoneError(refusal(error, uri)) from error
        raise InputError(_explain_file(error)) from error


def shown_address(uri: str) -> str:
    """An address without the password in it."""
    if "@" not in uri:
        return uri
    return re.sub(r"//([^:/@]*):.*@", r"//\1:***@", uri)


def refusal(error: Exception, uri: str | None = None) -> str:
    """What a store's refusal means, and what to do.

    Args:
        error: what mlflow or SQLAlchemy has raised.
        uri: the store's address, where it is not that of this process.
    """
    uri = uri or mlflow.get_tracking_uri()
    store = f"The MLflow store {shown_address(uri)}"
    text = f"{getattr(error, 'error_code', '')} {error}"
    if "database schema" in text:
        return f"{store} {_other_schema(text, uri)}"
    if isinstance(error, ModuleNotFoundError):
        return (
            f"{store} cannot be used, since a driver is missing: {error}. For PostgreSQL: pip install "
            "'psycopg[binary]', or psycopg2-binary with an address postgresql+psycopg2://…"
        )
    if isinstance(error, ArgumentError | NoSuchModuleError):
        return f"{store} cannot be used: {_first_line(error)}"
    for pattern, meaning in _REASONS.items():
        if re.search(pattern, text):
            return f"{store} cannot be used: {meaning}."
    if is_gone(error):
        return (
            f"{store} cannot be used: it does not answer, or is in trouble. See that it runs and can be "
            f"reached from here. {_GO_ON}"
        )
    return f"{store} refuses: {_first_line(error)}"


def is_gone(error: Exception) -> bool:
    """Whether a store does not answer at all."""
    return re.search(_GONE, str(error)) is not None and not any(re.search(p, str(error)) for p in _REASONS)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def _other_schema(text: str, uri: str) -> str:
    """An older database is to be upgraded; of a newer one this MLflow does not know the version."""
    found = re.search(r"found version (\w+)", text)
    versions = Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions"
    if found and found[1] != "None" and not list(versions.glob(f"{found[1]}_*.py")):
        return f"was written by a newer MLflow than {mlflow.__version__}: use that one, or another store."
    address = shown_address(uri)
    what = make_url(uri).database if uri.startswith("sqlite") else "the database (pg_dump)"
    return (
        f"was made by an older MLflow than {mlflow.__version__}. Its tables have to be changed, once, and no "
        f"older MLflow reads them afterwards: see that nobody uses the store, copy {what} to a safe place, "
        f"and then run\n    mlflow db upgrade '{address}'"
    )


def _explain_file(error: OSError) -> str:
    """A file of the store or of its artifacts, here or on a server, that the system refuses."""
    what = str(error.filename or f"what the store {shown_address(mlflow.get_tracking_uri())} keeps as files")
    if error.errno in _FULL:
        return f"The disk is full: {what} cannot be written. Make room there. {_GO_ON}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{what} may not be read or written by you. Mend that, or take another store. {_GO_ON}"
    return f"The store's files cannot be read or written: {_first_line(error)}"
