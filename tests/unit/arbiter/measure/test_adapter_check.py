"""An adapter's files are the provider's: what is wrong with them is the provider's fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from veritune.arbiter.measure.adapter_check import check_adapter
from veritune.common.documents.manifest import Training
from veritune.common.documents.receipts import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from veritune.common.errors import PeerError, TooLargeError
from veritune.common.limits import LIMITS


def test_a_configuration_that_is_too_large_is_the_providers_fault(tmp_path: Path) -> None:
    (tmp_path / ADAPTER_WEIGHTS).touch()
    (tmp_path / ADAPTER_CONFIG).write_bytes(b" " * (LIMITS.document + 1))
    with pytest.raises(PeerError) as caught:
        check_adapter(tmp_path, Training())
    assert isinstance(caught.value, TooLargeError)
