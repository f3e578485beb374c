"""What every test of the cluster parts needs."""

import pytest
from fireworks.utilities import fw_serializers


@pytest.fixture(autouse=True)
def _adapter_is_known(monkeypatch):
    """Spare FireWorks the search through its own tests, which --strict-markers refuses."""
    module = "fireworks.user_objects.queue_adapters.common_adapter"
    monkeypatch.setitem(fw_serializers.SAVED_FW_MODULES, "CommonAdapter", module)
