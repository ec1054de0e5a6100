"""Settings of the property tests: how long an example takes is no property on a busy machine."""

from hypothesis import settings

settings.register_profile("house", deadline=None)
settings.load_profile("house")
