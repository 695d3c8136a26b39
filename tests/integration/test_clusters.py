"""The examples for clusters: they load, match the model, and two processes train with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import yaml

from prospect_core.train.config.compose import compose_config
from tests.helpers.paths import ROOT
from tests.helpers.training import SMALL

EXAMPLES = ROOT / "benchmarks" / "cluster"


@pytest.mark.parametrize("name", ["ddp", "fsdp"])
def test_cluster_examples_load_in_accelerate(name):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(EXAMPLES / f"{name}.yaml"))
    assert config.distributed_type.value == {"ddp": "MULTI_GPU", "fsdp": "FSDP"}[name]


def test_cluster_examples_wrap_existing_layers(model, monkeypatch):
    """A name without a layer would shard nothing, or fail on the cluster."""
    from accelerate.utils import FullyShardedDataParallelPlugin

    options = yaml.safe_load((EXAMPLES / "fsdp.yaml").read_text())["fsdp_config"]
    for key, value in options.items():
        monkeypatch.setenv(key.upper(), str(value))
    # these need a GPU
    for key in ("FSDP_SYNC_MODULE_STATES", "FSDP_CPU_RAM_EFFICIENT_LOADING"):
        monkeypatch.setenv(key, "false")
    monkeypatch.setenv("FSDP_TRANSFORMER_CLS_TO_WRAP", options["fsdp_transformer_layer_cls_to_wrap"])
    plugin = FullyShardedDataParallelPlugin()
    plugin.set_auto_wrap_policy(model)
    wrapped = {cls.__name__ for cls in plugin.auto_wrap_policy.keywords["transformer_layer_cls"]}
    assert wrapped == set(options["fsdp_transformer_layer_cls_to_wrap"].split(","))
    assert wrapped <= {type(module).__name__ for module in model.modules()}


def test_cluster_example_loads_in_deepspeed():
    from accelerate.utils import DeepSpeedPlugin

    file = EXAMPLES / "deepspeed_zero2.json"
    config, text = compose_config([f"train.deepspeed={file}", "data=x", "output=y"])
    assert config.train.deepspeed == str(file)
    assert str(file) in text
    try:
        plugin = DeepSpeedPlugin(hf_ds_config=json.loads(file.read_text()))
    except ImportError:
        pytest.skip("the package deepspeed is not installed; the file was read and composed all the same")
    assert plugin.zero_stage == 2


@pytest.mark.slow
def test_accelerate_launch_trains_with_two_processes(world, tmp_path):
    launch = ["accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no",
              "--dynamo_backend", "no", "--main_process_port", "0", "-m", "prospect_core.cli"]  # fmt: skip
    command = [sys.executable, "-m", *launch, "train", f"data={world.root}", f"output={tmp_path / 'out'}",
               "train.max_steps=4", *SMALL]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "out" / "model.safetensors").is_file()
    # only one of the two processes prints it
    assert done.stdout.count("checkpoint: ") == 1
