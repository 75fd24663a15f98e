"""A daemon for the tests of a module, unless the module has one of its own."""

from __future__ import annotations

from tests.support.daemon_fixtures import client as client
from tests.support.daemon_fixtures import daemon as daemon
from tests.support.daemon_fixtures import manifest as manifest
