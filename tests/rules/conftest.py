"""Properties run without a deadline: how long one example takes says more about the machine than about a rule."""

from hypothesis import settings

settings.register_profile("rules", deadline=None)
settings.load_profile("rules")
