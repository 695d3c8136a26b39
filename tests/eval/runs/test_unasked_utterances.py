"""Runs under protocols that ask the model: utterances of its own are not recorded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prospect_core.records import EpisodeRecord, EpisodeTiming, Knobs, ReplayProtocol
from prospect_core.timeline import Poll
from prospect_core.util.json_io import load_json
from prospect_eval.runs.executor import keep_executor_result
from prospect_eval.runs.folder import RunConfig
from tests.helpers.predictions import episode, predict, say


def kept(initiative, texts):
    knobs = Knobs(protocol=ReplayProtocol(initiative=initiative))
    asked = replace(episode(say(2.0)), polls=(Poll("p", 3.0, "What?"),))
    record = replace(predict(asked, texts), knobs=knobs)
    config = RunConfig("m", "m", "d", "d", "test", None, knobs, "code")
    result = keep_executor_result(config, "m", asked, (record, EpisodeTiming(asked.id, 0.0, {})), "fail")
    return load_json(EpisodeRecord, result.body.encode(), "record")


@pytest.mark.parametrize("initiative", ["polled", "chunked"])
def test_record_of_a_polled_run_has_no_utterances(initiative, caplog):
    with caplog.at_level("INFO"):
        assert kept(initiative, [(4, "Hello."), (9, "Bye.")]).utterances == ()
    assert f"2 utterances by itself, not recorded under a protocol that is {initiative}" in caplog.text


def test_record_of_an_autonomous_run_keeps_its_utterances():
    assert [one.text for one in kept("autonomous", [(4, "Hello."), (9, "Bye.")]).utterances] == ["Hello.", "Bye."]
