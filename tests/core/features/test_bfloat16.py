"""bfloat16 values stored as uint16 equal PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prospect_core.features.bfloat16 import from_bfloat16_bits, to_bfloat16_bits

pytestmark = pytest.mark.integration


@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False), min_size=1, max_size=20))
def test_bfloat16_bits_equal_torch(numbers):
    array = np.array(numbers, dtype=np.float32)
    expected = torch.from_numpy(array).to(torch.bfloat16)
    bits = to_bfloat16_bits(array)
    assert bits.tolist() == expected.view(torch.uint16).tolist()
    assert from_bfloat16_bits(bits).tolist() == expected.float().tolist()


def test_bfloat16_bits_keep_shape():
    array = np.arange(24, dtype=np.float64).reshape(2, 3, 4)
    assert np.array_equal(from_bfloat16_bits(to_bfloat16_bits(array)), array)
