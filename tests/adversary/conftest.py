"""A daemon for the tests that attack a running one."""

from __future__ import annotations

from tests.support.daemon_fixtures import client as client
from tests.support.daemon_fixtures import daemon as daemon
