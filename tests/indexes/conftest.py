"""How long a property may take is not what it is about: machines are shared, and a slow one must fail nothing."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
