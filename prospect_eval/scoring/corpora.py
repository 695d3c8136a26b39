"""Find the corpus of a run folder: its own file, the split of its dataset, or its records."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from typing_extensions import TypedDict

from prospect_core.util.atomic import write_atomic
from prospect_core.util.cache_dir import cache_dir
from prospect_core.util.errors import UserError
from prospect_core.util.json_io import dump_json, read_typed_json
from prospect_eval.metrics.corpus import Corpus
from prospect_eval.runs.folder import RunConfig

logger = logging.getLogger(__name__)

FILE = "corpus.json"
SCHEMA = 1
Source = Literal["split", "records"]


class CorpusFile(TypedDict):
    """Contents of ``corpus.json``.

    Attributes:
        schema: Version of the format.
        source: Whether the corpus is that of the whole split, or of the records in the run folder.
        data_digest: Digest of the dataset.
        split: The split.
        references: Accepted wordings of each reference and their number.
        answers: Accepted values by kind of question.
    """

    schema: Literal[1]
    source: Source
    data_digest: str
    split: str
    references: list[tuple[list[str], int]]
    answers: dict[str, list[str]]


def find_scoring_split_corpus(folder: Path, config: RunConfig) -> Corpus | None:
    """Return the corpus of the whole split of a run.

    Args:
        folder: The run folder. A stored corpus of the split is used, so that the data is not
            needed.
        config: The run's configuration, which names the data, its digest and the split.

    Returns:
        The corpus. None if none is stored and the data cannot be opened or has changed.
    """
    stored = _read(folder / FILE, config)
    if stored is not None:
        return stored
    if not config.data or not config.data_digest:
        return None
    kept = cache_dir() / "corpora" / f"{config.data_digest[:32]}-{quote(config.split, safe='')}.json"
    found = _read(kept, config)
    if found is None:
        found = _of_data(config)
        if found is not None:
            _keep(kept, found, config)
    return found


def write_scoring_corpus(file: Path, corpus: dict[str, Any], config: RunConfig) -> None:
    """Write ``corpus.json``.

    Args:
        file: The file.
        corpus: The corpus as `score.score_records` returns it.
        config: The run's configuration, which identifies the data.
    """
    head = {"schema": SCHEMA, "data_digest": config.data_digest, "split": config.split}
    write_atomic(file, dump_json({**head, **corpus}) + "\n")


def read_scoring_corpus(file: Path) -> Corpus:
    """Read the corpus of a ``corpus.json``.

    Raises:
        DataError: The file is missing or damaged.
    """
    return _corpus(read_typed_json(file, CorpusFile))


def _corpus(found: CorpusFile) -> Corpus:
    references = {tuple(wordings): times for wordings, times in found["references"]}
    return Corpus(references, {kind: tuple(values) for kind, values in found["answers"].items()})


def _read(file: Path, config: RunConfig) -> Corpus | None:
    """Return the stored corpus of this split; None if there is none or it cannot be read."""
    if not file.is_file():
        return None
    try:
        found = read_typed_json(file, CorpusFile)
    except UserError as error:
        logger.debug("%s cannot be read and is written again", file, exc_info=error)
        return None
    same = (found["source"], found["data_digest"], found["split"]) == ("split", config.data_digest, config.split)
    return _corpus(found) if same else None


def _of_data(config: RunConfig) -> Corpus | None:
    from prospect_eval.suites.suite import open_suite_data

    try:
        data = open_suite_data(config.data, config.split)
        if data.digest == config.data_digest:
            return Corpus.of(data.episodes(config.split, check=False))
    except (UserError, OSError) as error:
        logger.debug("the data cannot be opened; the corpus is taken from the records", exc_info=error)
    return None


def _keep(file: Path, corpus: Corpus, config: RunConfig) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_scoring_corpus(file, {"source": "split", **corpus.plain()}, config)
    except OSError as error:
        logger.debug("%s cannot be stored", file, exc_info=error)
