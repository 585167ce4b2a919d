"""What the pages name exists, and no tracked file names what it must not: somebody's machine, or a package host."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
# They look like settings: files in the state folder, and an action of the audit log.
NO_SETTINGS = ("engine.log", "engine.key", "ledger.sqlite3", "ledger.restored")
REFERENCE = (ROOT / "docs" / "reference.md").read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    text = page.read_text("utf-8")
    for target in re.findall(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = page.parent / path if path else page
        assert found.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", found.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_folders_and_files_that_are_named_exist(page: Path):
    """`docs/x.md`, `guards/engine` and the like, in code spans."""
    known = {path.name for path in ROOT.iterdir() if path.is_dir()}
    for span in re.findall(r"`([\w./-]+)`", page.read_text("utf-8")):
        first = span.split("/")[0]
        if "/" in span and first in known:
            assert (ROOT / span).exists(), f"{page.name} names {span}"


def test_settings_that_the_pages_name_are_known():
    """Every setting in a code span of the guide that has a section is one of the configuration."""
    sections = ("listen", "admin", "upstream", "embedder", "ledger", "engine", "limits")
    for page in PAGES:
        for name in re.findall(rf"`((?:{'|'.join(sections)})\.\w+)`", page.read_text("utf-8")):
            assert f"`{name}`" in REFERENCE or name in NO_SETTINGS, f"{page.name} names {name}"


def test_metrics_that_the_pages_name_exist():
    for page in PAGES:
        for name in re.findall(r"`(lethe_\w+)`", page.read_text("utf-8")):
            assert f"`{name.removesuffix('_total')}" in REFERENCE, f"{page.name} names {name}"


def test_commands_that_the_pages_name_exist():
    known = set(re.findall(r"^### `(lethe[a-z ]*)`$", REFERENCE, re.MULTILINE))
    for page in PAGES:
        if page.name == "reference.md":
            continue
        for words in re.findall(r"`(?:\.venv/bin/)?(lethe(?: [a-z]+)+)", page.read_text("utf-8")):
            assert any(words == one or words.startswith(f"{one} ") for one in known - {"lethe"}), (
                f"{page.name}: {words}"
            )


# -- tracked files


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_knows_the_machine_it_was_made_on():
    """Absolute paths of somebody's machine, and hosts that packages are fetched from."""
    places = re.compile(rb"(?<![\w.:/])/(?:root|work|home/\w+|Users/\w+)/|" + re.escape(str(ROOT).encode()) + rb"/")
    hosts = re.compile(rb"py" rb"thonhosted\.org|py" rb"pi\.org|\bindex-url[ =]+\w+://", re.IGNORECASE)
    for path in tracked():
        content = path.read_bytes()
        if b"\0" in content[:1024] or path.is_relative_to(ROOT / "deploy"):  # images have paths of their own
            continue
        for pattern in (places, hosts):
            found = pattern.search(content)
            assert found is None, f"{path.relative_to(ROOT)}: {found and found[0].decode()}"


def test_requirements_name_packages_and_no_addresses():
    for path in (ROOT / "requirements").glob("*.[ti][xn]*"):
        for line in path.read_text("utf-8").splitlines():
            text = line.split("#")[0]
            assert "://" not in text, f"{path.name}: {line}"
            assert not re.match(r"\s*(-i|--index-url|--extra-index-url|--find-links|-f)\b", text), (
                f"{path.name}: {line}"
            )
