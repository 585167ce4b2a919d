"""How properties are tested: with the same examples on every run, or with new ones where somebody looks for them.

A run that judges a change must judge that change alone: a new example found by chance in it would accuse the wrong one.
`EXPLORE=1 make test` (or pytest with it) draws new examples; what it finds becomes an `@example` of its property.
"""

import os

from hypothesis import settings


def settle() -> None:
    """Load the profile. To be called by a conftest before tests are imported.

    How long a property may take is not what it is about: machines are shared, and a slow one must fail nothing.
    """
    settings.register_profile("explore", deadline=None)
    settings.register_profile("repeat", deadline=None, derandomize=True)
    settings.load_profile("explore" if os.environ.get("EXPLORE") else "repeat")
