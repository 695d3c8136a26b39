"""The configuration schema: one declaration of each key, presets that change only differing values."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import yaml

from prospect_core.sequence.context_noise import NoiseRates
from prospect_core.train.config.compose import composable_config_keys, composable_group_options, compose_config
from prospect_core.train.config.describe import describe_config_keys
from prospect_core.train.config.schema import Config
from prospect_core.train.data.frame_samplers import Silent
from prospect_core.util.errors import UserError
from tests.helpers.paths import ROOT


def test_compose_config_defaults_equal_schema():
    assert compose_config()[0] == Config()


def test_compose_config_builds_components():
    config, _ = compose_config(["sampling.context_noise.late=0.25", "sampling.frames.silent.rate=0.5"])
    assert config.sampling.context_noise == NoiseRates(late=0.25)
    assert config.sampling.frames.silent == Silent(0.5)


@pytest.mark.parametrize(
    "given",
    ["sampling.context_noise.late=1.5", "sampling.frames.silent.rate=-1", "sampling.curriculum={start: 0, until: 0.5}"],
)
def test_compose_config_component_range_raises(given):
    with pytest.raises(UserError, match=given.partition("=")[0].replace(".", r"\.")):
        compose_config([given])


def test_config_keys_have_descriptions():
    described = {one.key: one for one in describe_config_keys()}
    assert list(described) == list(composable_config_keys())
    assert not [key for key, one in described.items() if not one.meaning]


def test_config_key_defaults_equal_schema():
    def flat(tree, prefix=""):
        for key, value in tree.items():
            if isinstance(value, dict):
                yield from flat(value, f"{prefix}{key}.")
            else:
                yield prefix + key, value

    values = dict(flat(asdict(Config())))
    for one in describe_config_keys():
        # a disabled component has no values in the tree
        if one.default and one.key in values:
            assert yaml.safe_load(one.default) == pytest.approx(values[one.key]) or one.default == str(values[one.key])


@pytest.mark.parametrize("group", ["model", "data", "sampling", "loss", "optimiser", "run"])
def test_config_presets_repeat_no_default(group):
    folder = ROOT / "prospect_core" / "train" / "conf" / group
    base = asdict(Config())

    def repeated(preset, default, prefix=""):
        for key, value in (preset or {}).items():
            # the shape of a published model is given completely
            if key in ("vision", "text"):
                continue
            if isinstance(value, dict) and isinstance(default.get(key), dict):
                yield from repeated(value, default[key], f"{prefix}{key}.")
            elif key != "defaults" and value == default.get(key):
                yield prefix + key

    for name in composable_group_options(group):
        text = (folder / f"{name}.yaml").read_text("utf-8")
        preset = yaml.safe_load(text)
        if "defaults:" in text:
            continue
        root = base if "_global_" in text else base["train"] if "@package train" in text else base[group]
        assert not list(repeated(preset, root)), name
