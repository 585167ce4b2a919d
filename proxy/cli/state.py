"""The state folder, as commands find it before they start a server in it, and what they leave there themselves."""

import tempfile
from pathlib import Path

ENGINE_KEY_FILE = "engine.key"


class StateUnusable(Exception):
    """The state folder cannot be used; the message names it, the cause and the cure."""


def check_state(state: Path) -> None:
    """Makes the folder, its owner's alone, and sees that files can be made in it. Raises StateUnusable."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=state):
            pass
    except OSError as error:
        raise StateUnusable(
            f"the state folder {state} cannot be used ({(error.strerror or 'no reason given').lower()}): check free "
            "space and permissions, or name another with 'state' or LETHE_STATE"
        ) from None


def keep_key(state: Path, key: str) -> Path:
    """Leaves the engine's key to the user who runs it, for evaluations that must see the engine itself."""
    path = state / ENGINE_KEY_FILE
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(key, "ascii")
    return path
