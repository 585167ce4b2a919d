"""Data from the Hugging Face hub, only where it is asked for by name: `--data hf:OWNER/NAME[@REVISION]`.

Rows must be JSON or JSON lines in the repository. What was fetched stays in the hub's own cache, not in the project.
"""

from pathlib import Path

from evals.gate.rows import RowsError

PREFIX = "hf:"


def located(data: str) -> Path:
    """The local folder or file of `--data`. Raises RowsError where it is not there, or the hub is out of reach."""
    if not data.startswith(PREFIX):
        path = Path(data)
        if not path.exists():
            raise RowsError(f"{path} does not exist; for data on the hub write hf:OWNER/NAME")
        return path
    name, _, revision = data.removeprefix(PREFIX).partition("@")
    if name.count("/") != 1:
        raise RowsError(f"'{data}' does not name a data set: write hf:OWNER/NAME or hf:OWNER/NAME@REVISION")
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - local runs do not wait for it
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError  # noqa: PLC0415

    patterns = ["*.json", "*.jsonl"]
    try:
        return Path(snapshot_download(name, repo_type="dataset", revision=revision or None, allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise RowsError(
            f"'{name}' could not be fetched from the hub ({type(error).__name__}): download it elsewhere and give the "
            "folder as --data"
        ) from None
