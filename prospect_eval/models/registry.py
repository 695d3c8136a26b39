"""Open the model of a ``--ckpt`` argument as a predictor.

    prospect-eval run --ckpt baseline:oracle --suite workbench
    prospect-eval run --ckpt hf:HuggingFaceTB/SmolVLM2-256M-Video-Instruct --data my-videos
    prospect-eval run --ckpt endpoint:my-model --endpoint http://127.0.0.1:8000/v1 --data my-videos

The model is a checkpoint (`models.checkpoint`), a Hugging Face image-text model
(`models.huggingface`), a model behind an OpenAI-compatible endpoint (`models.openai_endpoint`) or a
baseline.

To add a model, write a class with ``reset`` and ``step``
(`prospect_core.stream.step_output.StreamModel`) and pass it to
`models.any_stream.make_any_stream_predictor`. Register a function
``(ckpt, name, data, asked) -> Predictor`` in the entry point group ``prospect.adapters``. Then
``--ckpt ENTRY_POINT:name`` selects it. `prospect new adapter NAME` writes such a package.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from prospect_core.checkpoints.folders import digest_checkpoint_folder, find_checkpoint_folder
from prospect_core.data.dataset import Dataset
from prospect_core.data.jsonl_index import LazyEpisodes
from prospect_core.records import EpisodeRecord, EpisodeTiming, Knobs
from prospect_core.timeline import Episode
from prospect_core.util.entry_points import list_entry_points, load_entry_point
from prospect_core.util.errors import DataError, UserError, require_choice
from prospect_core.util.json_io import read_json
from prospect_core.util.signals import stop_requested
from prospect_eval.models.base import Prediction, Predictor, PredictorOptions
from prospect_eval.models.baselines.limited_observers import LIMITED_OBSERVERS, limited_observer
from prospect_eval.models.baselines.procedure_baselines import PROCEDURE_BASELINES, make_procedure_baseline
from prospect_eval.models.baselines.trivial import BASELINES, answer_baseline_polls, make_trivial_baseline

if TYPE_CHECKING:
    pass

GROUP = "prospect.adapters"


def open_registered_predictor(
    ckpt: str, data: Dataset, episodes: Sequence[Episode], asked: PredictorOptions
) -> Predictor:
    """Open the predictor of a ``--ckpt`` argument.

    Args:
        ckpt: A checkpoint's path or name, ``baseline:NAME``, ``hf:NAME``, ``endpoint:MODEL`` or
            ``ENTRY_POINT:NAME``.
        data: The dataset.
        episodes: The episodes that will be replayed.
        asked: Settings of the replay.

    Returns:
        The predictor.

    Raises:
        UserError: An option does not apply to this kind of model, or a name is unknown.
        DataError: The model cannot be loaded.
    """
    kind, _, name = ckpt.partition(":")
    if (asked.endpoint is not None) != (kind == "endpoint"):
        raise UserError(f"--ckpt {ckpt}: endpoint:MODEL needs --endpoint URL, and --endpoint needs endpoint:MODEL")
    _require_kind_of_options(ckpt, kind, asked)
    if kind == "baseline":
        return _open_baseline(ckpt, name, data, episodes, asked)
    if kind == "hf":
        from prospect_eval.models.huggingface import open_huggingface_predictor

        return open_huggingface_predictor(ckpt, name, data, asked)
    if kind == "endpoint":
        from prospect_eval.models.openai_endpoint import open_openai_endpoint

        return open_openai_endpoint(ckpt, name, data, asked)
    theirs = {point.name: point for point in list_entry_points(GROUP)}
    if kind in theirs:
        predictor: Predictor = load_entry_point(theirs[kind])(ckpt, name, data, asked)
        return predictor
    return _tell_checkpoint(ckpt, data, asked) if asked.distributed else _open_checkpoint(ckpt, data, asked)


def is_registered_baseline(ckpt: str) -> bool:
    """Return whether a ``--ckpt`` argument names a baseline, which looks at no picture."""
    return ckpt.partition(":")[0] == "baseline"


def _require_kind_of_options(ckpt: str, kind: str, asked: PredictorOptions) -> None:
    """Refuse options of chat models for other models."""
    served = (
        ("--request-option", bool(asked.request_options)),
        ("--picture-size", asked.picture_size is not None),
        ("--picture-type", asked.picture_type != "jpeg"),
        ("--chat-encoding", asked.chat_encoding is not None),
    )
    chats = (("--frames-shown", asked.frames_shown is not None), ("--frames-dropped", asked.frames_dropped is not None))
    if kind != "endpoint" and (given := [option for option, used in served if used]):
        raise UserError(f"--ckpt {ckpt}: {given[0]} works only with endpoint:MODEL; remove it")
    if kind not in ("hf", "endpoint") and (given := [option for option, used in chats if used]):
        raise UserError(f"--ckpt {ckpt}: {given[0]} works only with hf:NAME and endpoint:MODEL; remove it")


def _open_checkpoint(ckpt: str, data: Dataset, asked: PredictorOptions) -> Predictor:
    from prospect_core.stream.strategies.registry import find_registered_strategy as check_strategy
    from prospect_eval.models.checkpoint import open_checkpoint_predictor

    check_strategy(asked.strategy, asked.budget)
    return open_checkpoint_predictor(ckpt, data, asked)


def _tell_checkpoint(ckpt: str, data: Dataset, asked: PredictorOptions) -> Predictor:
    """Open a checkpoint by its files, without importing torch.

    This takes a tenth of the time. If the files are incomplete, the checkpoint is opened as usual,
    which reports the error.
    """
    folder = find_checkpoint_folder(ckpt)
    try:
        stored = read_json(folder / "config.json")
        # only a model with a mistake head has a threshold for it
        mistake = stored.get("mistake_threshold")
        knobs = asked.knobs(stored["speaking_threshold"], stored["update_threshold"], mistake)
        source = asked.thresholds_from(stored["thresholds_data"])
    except (DataError, OSError, KeyError, TypeError):
        return _open_checkpoint(ckpt, data, asked)

    def predict(episodes: Sequence[Episode]) -> Iterator[Prediction]:
        yield from _open_checkpoint(ckpt, data, asked).predict(episodes)

    return Predictor(ckpt, digest_checkpoint_folder(folder), knobs, predict, source)


def _make_baseline(name: str, data: Dataset, episodes: Sequence[Episode]) -> Callable[[Episode], EpisodeRecord]:
    """Make a baseline.

    Baselines that learn use the data's train split, or the other videos of the episodes.
    """
    if name in LIMITED_OBSERVERS:
        return limited_observer(name)
    if name in PROCEDURE_BASELINES:
        return _make_procedure_baseline(name, data, episodes)
    if not BASELINES[name].learns:
        return make_trivial_baseline(name, episodes)
    from prospect_eval.models.baselines.priors import Priors
    from prospect_eval.suites.training_data import select_suite_training_data
    from prospect_eval.text.embeddings import open_embedding_similarity

    learnt_from = select_suite_training_data(data, _trained_split(data, episodes)).load()
    return make_trivial_baseline(name, episodes, Priors(learnt_from, list(episodes), open_embedding_similarity()))


def _make_procedure_baseline(
    name: str, data: Dataset, episodes: Sequence[Episode]
) -> Callable[[Episode], EpisodeRecord]:
    from prospect_eval.models.baselines.procedure_prior import make_procedure_priors
    from prospect_eval.suites.training_data import PROCEDURE_EPISODES, select_suite_training_data

    if not PROCEDURE_BASELINES[name].learns:
        return make_procedure_baseline(name, make_procedure_priors((), ()))
    learned_from = select_suite_training_data(data, _trained_split(data, episodes), PROCEDURE_EPISODES).load()
    return make_procedure_baseline(name, make_procedure_priors(learned_from, () if learned_from else list(episodes)))


def _trained_split(data: Dataset, episodes: Sequence[Episode]) -> str:
    """Return ``train`` if the episodes are of the train split; otherwise an empty text."""
    from prospect_eval.suites.training_data import SPLIT

    found = SPLIT in data.splits and isinstance(episodes, LazyEpisodes) and episodes.file == data.split_file(SPLIT)
    return SPLIT if found else ""


def _open_baseline(
    ckpt: str, name: str, data: Dataset, episodes: Sequence[Episode], asked: PredictorOptions
) -> Predictor:
    asked.refuse(ckpt, "a baseline has no context, no thresholds and no device")
    require_choice("baseline", name, (*BASELINES, *LIMITED_OBSERVERS, *PROCEDURE_BASELINES))
    knobs = Knobs(protocol=asked.protocol)
    make = _make_baseline(name, data, episodes)

    def predict(episodes: Sequence[Episode]) -> Iterator[Prediction]:
        for episode in episodes:
            if stop_requested():
                return
            begin = time.perf_counter()
            record = replace(make(episode), knobs=knobs, answers=answer_baseline_polls(name, episode))
            yield episode, (record, EpisodeTiming(episode.id, time.perf_counter() - begin, {}))

    return Predictor(ckpt, ckpt, knobs, predict)
