"""Tests of this folder need torchvision, which `make test-hf` adds to the path."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from tests.helpers.torchvision_operators import make_importable

# before any module imports transformers, which imports torchvision if it exists
if find_spec("torchvision") is not None:
    make_importable()


@pytest.fixture(autouse=True)
def torchvision() -> None:
    if find_spec("torchvision") is None:
        pytest.fail("torchvision is not installed; run these tests by `make test-hf`")
