"""All suites by name."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from evals.suites.choices import choices
from evals.suites.items import Suite
from evals.suites.lines import lines
from evals.suites.multilingual import multilingual
from evals.suites.muse import muse
from evals.suites.rwku import rwku
from evals.suites.tofu import tofu

SUITES: Mapping[str, Callable[[Path, str | None], Suite]] = MappingProxyType(
    {"tofu": tofu, "multilingual": multilingual, "choices": choices, "muse": muse, "rwku": rwku, "lines": lines}
)
