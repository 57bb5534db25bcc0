"""A service under gunicorn, as documented: what it does on the wire, and how it ends."""

from commands import GUNICORN
from drain_tests import DrainTests
from serving_tests import ServingTests

TWO = {"WORKERS": "2"}


class TestServing(ServingTests):
    command = GUNICORN
    environment = TWO


class TestDraining(DrainTests):
    command = GUNICORN
    environment = TWO
