"""A record of the audit log is there whole or not at all, also when the disk fills up while it is written."""

import subprocess
import sys
from pathlib import Path

from proxy.audit.append import append

FILLS_UP = """
import resource, signal, sys
from pathlib import Path
from proxy.audit.append import append
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))  # no file may grow beyond: as on a disk that is full
path = Path(sys.argv[1])
append(path, b"a" * 59 + b"\\n")
try:
    append(path, b"b" * 59 + b"\\n")
except OSError:
    append(path, b"c" * 29 + b"\\n")
"""


def test_lines_follow_each_other_and_are_the_owners(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for line in (b"first\n", b"second\n"):
        append(path, line)
    assert path.read_bytes() == b"first\nsecond\n"
    assert path.stat().st_mode & 0o077 == 0


def test_what_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", FILLS_UP, tmp_path / "log"], check=True)
    assert (tmp_path / "log").read_bytes() == b"a" * 59 + b"\n" + b"c" * 29 + b"\n"
