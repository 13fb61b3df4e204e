import jaxtyping
import pytest


@pytest.fixture
def unchecked():
    """Without the type checker of the tests, which would get ahead of the package's own errors."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
