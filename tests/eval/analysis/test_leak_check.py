"""The copying model: what it sees, its rules, and official values that follow by hand from small annotations."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from prospect_core.records import ReplayProtocol
from prospect_core.timeline import Episode, Event, Poll, Task
from prospect_core.util.errors import UserError
from prospect_eval.analysis.leak_check import (
    AnswerForms,
    LeakValue,
    check_suite_leaks,
    list_copy_rules,
    list_poll_views,
    make_copying_record,
)
from tests.helpers.commands import evaluate
from tests.helpers.field_cases import find_field_file, read_field_file
from tests.helpers.ovo_bench_items import choice_entry, clue_entry, count_entry, step_entry, write_ovo_bench

POLLED = ReplayProtocol("polled", horizon="official")
ENDED = replace(POLLED, reveals=("horizon",))
GOLD = ReplayProtocol("polled", "gold")


def poll(name, time, question="Now? Answer yes or no.", item="i", **changes):
    return Poll(name, time, question, meta={"item": item}, **changes)


def episode_of(*polls, events=(), fps=1.0):
    return Episode("e", "v", fps, 0, 40, Task("t"), events=events, polls=polls).validate()


def rule_named(name, protocol):
    return next(rule for rule in list_copy_rules(protocol) if rule.name == name)


def answers(episode, protocol, name):
    views = list_poll_views(episode, protocol)
    record = make_copying_record(episode, views, protocol, rule_named(name, protocol), AnswerForms.of([episode]))
    assert record.problems() == []
    return [answer.text for answer in record.answers]


def test_views_count_polls_of_the_same_item_and_question():
    episode = episode_of(poll("a", 1), poll("b", 2, item="j"), poll("c", 3), poll("d", 4, "Other?"), poll("e", 5))
    assert [view.before for view in list_poll_views(episode, POLLED)] == [0, 0, 1, 0, 2]
    assert [view.left for view in list_poll_views(episode, ENDED)] == [2, 0, 1, 0, 0]
    assert {view.left for view in list_poll_views(episode, POLLED)} == {None}


def test_views_hold_the_right_answer_before_only_under_gold_history():
    polls = [
        poll(name, time, accepted=(right,)) for name, time, right in (("a", 1, "Yes"), ("b", 2, "No"), ("c", 3, "Yes"))
    ]
    episode = episode_of(*polls)
    assert [view.previous for view in list_poll_views(episode, GOLD)] == [None, "Yes", "No"]
    assert {view.previous for view in list_poll_views(episode, POLLED)} == {None}
    assert answers(episode, GOLD, "repeats the last right answer of the history") == ["No", "Yes", "No"]


@pytest.mark.parametrize(
    ("protocol", "name", "said"),
    [
        (POLLED, "agrees from poll 1 on", ["Yes", "Yes", "Yes", "Yes"]),
        (POLLED, "agrees from poll 3 on", ["No", "No", "Yes", "Yes"]),
        (ENDED, "agrees from 0 polls before the last on", ["No", "No", "No", "Yes"]),
        (ENDED, "agrees from 2 polls before the last on", ["No", "Yes", "Yes", "Yes"]),
    ],
)
def test_rules_agree_from_a_poll_on(protocol, name, said):
    assert answers(episode_of(*(poll(str(k), k) for k in range(4))), protocol, name) == said


def test_rules_that_count_what_is_left_need_a_protocol_that_reveals_it():
    assert {rule.uses for rule in list_copy_rules(POLLED)} == {"polls so far"}
    assert {rule.uses for rule in list_copy_rules(ENDED)} == {"polls so far", "polls left"}
    assert {rule.uses for rule in list_copy_rules(ReplayProtocol())} == {"time since the question"}
    assert "the history" in {rule.uses for rule in list_copy_rules(GOLD)}


def test_answers_copy_the_prompt():
    polls = (
        poll("a", 1, 'When it shows, output "one". Is it time for "two"? Answer yes or no.'),
        poll("b", 1, 'When it shows, output "one".'),
        poll("c", 2, 'Say "three".', item="j"),
        poll("d", 3, "Which?", item="k", choices=("short", "the longest", "long")),
        poll("e", 4, "How many? Give a number.", item="l"),
        poll("f", 5, "How many? Give a number.", item="l"),
        poll("g", 6, "Say anything.", item="m"),
    )
    assert answers(episode_of(*polls), POLLED, "agrees from poll 1 on") == [
        "Yes", "two", "three", "B", "1", "2", "Say anything.",
    ]  # fmt: skip


def test_two_values_are_answered_with_the_rarer_one_where_the_rule_agrees():
    right = ["<silent>", "<speak>", "<silent>", "<silent>"]
    polls = [poll(str(k), k, "Decide.", kind="chunk", accepted=(value,)) for k, value in enumerate(right)]
    assert answers(episode_of(*polls), POLLED, "agrees from poll 3 on") == [
        "<silent>", "<silent>", "<speak>", "<speak>",
    ]  # fmt: skip


def standing(question, fps=2.0):
    asked = Event("q", 3.0, "user", question, open_until=10.0)
    return Episode("e", "v", fps, 0, 24, Task("t"), events=(asked,)).validate()


@pytest.mark.parametrize(
    ("reveals", "name", "said"),
    [
        ((), "speaks 2 s after the question", [(10, "3")]),
        ((), "speaks every 3 s after the question", [(12, "3"), (18, "3")]),
        ((), "speaks 12 s after the question", []),
        (("horizon",), "speaks 0 s before the end", [(19, "3")]),
        (("horizon",), "speaks 2 s before the end", [(15, "3")]),
    ],
)
def test_standing_question_is_answered_at_the_frames_of_a_rule(reveals, name, said):
    protocol = ReplayProtocol(reveals=reveals)
    episode = standing('When it shows, output "3".')
    record = make_copying_record(episode, (), protocol, rule_named(name, protocol), AnswerForms())
    assert record.problems() == []
    assert [(utterance.frame, utterance.text) for utterance in record.utterances] == said


def test_standing_question_without_quotes_is_answered_with_a_running_number():
    protocol = ReplayProtocol()
    rule = rule_named("speaks every 3 s after the question", protocol)
    record = make_copying_record(standing("Count."), (), protocol, rule, AnswerForms())
    assert [utterance.text for utterance in record.utterances] == ["1", "2"]


def write_streamingbench(folder):
    """Gold times 4 and 9 s after the question; the second question asks for another output than the gold one."""
    questions = [
        {"question": f'When it shows, output "{asked}".', "time_stamp": ask, "ground_truth_time_stamp": gold,
         "ground_truth_output": "40", "task_type": "Proactive Output"}
        for asked, ask, gold in (("40", "00:00:03", "00:00:07"), ("41", "00:00:05", "00:00:14"))
    ]  # fmt: skip
    entries = [{"video_path": "v.mp4", "questions": questions}]
    (folder / "questions_proactive.json").write_text(json.dumps(entries), "utf-8")


def values_of(leaks):
    """Values of copying, the best constant answer (never) and the best exploit (wait and print)."""
    return {(one.value, one.uses): (one.copied, one.constant, one.exploit) for one in leaks.values}


def test_streamingbench_leaks_follow_by_hand(tmp_path):
    """No wait is right for both questions; two polls before the last both are within 2 s of the gold time."""
    write_streamingbench(tmp_path)
    found = {one.name: values_of(one) for one in check_suite_leaks("streamingbench", tmp_path)}
    assert found == {
        "autonomous": {
            ("time_accuracy", "time since the question"): (0.5, 0.0, 0.5),
            ("answer_accuracy", "time since the question"): (0.5, 0.0, 0.5),
        },
        "polled": {
            ("time_accuracy", "polls so far"): (0.5, 0.0, 0.5),
            ("time_accuracy", "polls left"): (1.0, 0.0, 0.5),
            ("answer_accuracy", "polls so far"): (0.5, 0.0, 0.5),
            ("answer_accuracy", "polls left"): (0.5, 0.0, 0.5),
        },
        "official": {
            ("time_accuracy", "polls so far"): (0.5, 0.0, 0.5),
            ("time_accuracy", "polls left"): (1.0, 0.0, 0.5),
            ("answer_accuracy", "polls so far"): (0.5, 0.0, 0.5),
            ("answer_accuracy", "polls left"): (1.0, 0.0, 0.5),
        },
    }


def test_ovo_bench_leaks_follow_by_hand(tmp_path):
    """Two polls of REC count 1, 2; SSR is Yes, No; CRR is No, Yes; the longest option is the right one."""
    entries = [choice_entry(0, options=["a", "the longest"]), count_entry(1), step_entry(2), clue_entry(3)]
    write_ovo_bench(tmp_path / "ovo_bench_new.json", entries)
    (leaks,) = check_suite_leaks("ovo_bench", tmp_path, ["official"])
    second = leaks.rules["agrees from poll 2 on"]
    assert {task: second[task] for task in ("EPM", "REC", "SSR", "CRR")} == {
        "EPM": 1.0, "REC": 1.0, "SSR": 0.0, "CRR": 1.0,
    }  # fmt: skip
    first = leaks.rules["agrees from poll 1 on"]
    assert (first["SSR"], first["CRR"], first["forward"]) == (0.5, 0.5, pytest.approx(2 / 3))
    assert leaks.items == 7
    assert "all_letters" not in {one.constant_name for one in leaks.values}


def test_protocol_without_episodes_has_an_error(tmp_path):
    write_ovo_bench(tmp_path / "ovo_bench_new.json", [choice_entry(0, realtime=-1)])
    (leaks,) = check_suite_leaks("ovo_bench", tmp_path, ["official"])
    assert (leaks.values, leaks.error) == ((), f"{tmp_path}: no item gives an episode")


def test_suites_without_prompts_are_refused(tmp_path):
    with pytest.raises(UserError, match="published benchmarks"):
        check_suite_leaks("workbench", tmp_path)


@pytest.mark.parametrize(
    ("copied", "constant", "above"), [(0.6, 0.5, True), (0.5, 0.5, False), (None, 0.5, False), (0.5, None, False)]
)
def test_value_is_compared_with_the_best_plausible_constant(copied, constant, above):
    assert LeakValue("v", "u", "r", copied, "c", constant, "e", 0.9).is_above_constant is above


def test_command_prints_values_next_to_the_best_constant(tmp_path, capsys):
    write_streamingbench(tmp_path)
    asked = ("leaks", "--suite", "streamingbench", "--data", tmp_path, "--protocol", "official")
    assert evaluate(*asked) == 0
    shown = capsys.readouterr().out
    assert "agrees from 2 polls before the last on" in shown
    assert "above" in shown
    assert evaluate(*asked, "--json", "-") == 0
    (protocol,) = json.loads(capsys.readouterr().out)["protocols"]
    assert (protocol["name"], protocol["reveals"], protocol["items"]) == ("official", ["gold_text", "horizon"], 2)


@pytest.mark.slow
def test_handed_baselines_of_streamingbench_are_reached():
    """Waiting and printing what the poll names: 52.4 % after 6 s; two polls before the last: 100 %."""
    root = find_field_file("streamingbench_po", "data")
    (leaks,) = check_suite_leaks("streamingbench", root, ["official"])
    expected = read_field_file("streamingbench_po", "expected.json")["baselines"]
    handed = {"agrees from poll 1 on": "yes_first_gold_output"}
    handed |= {f"agrees from poll {k} on": f"yes_ask_plus_{k}" for k in range(2, 13)}
    handed |= {f"agrees from {4 - k} polls before the last on": f"yes_gold_{k:+d}" for k in range(-2, 5)}
    for rule, baseline in handed.items():
        wanted = expected[baseline]["stats"]["Proactive Output"]
        found = leaks.rules[rule]
        assert found == pytest.approx({name: wanted[name] for name in found}, abs=1e-12), rule
    assert values_of(leaks)["answer_accuracy", "polls so far"][0] == pytest.approx(0.524)
    (plain,) = check_suite_leaks("streamingbench", root, ["polled"])
    quoted = expected["yes_gold_0_quoted_output"]["stats"]["Proactive Output"]["answer_accuracy"]
    assert values_of(plain)["answer_accuracy", "polls left"][0] == pytest.approx(quoted)
