import jaxtyping
import pytest


@pytest.fixture
def unchecked():
    """Without shape checks, as a user runs it: the package's own messages are what is tested."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
