"""Compression of a stream's context by its strategy, once the context has outgrown its budget."""

from __future__ import annotations

from collections.abc import Callable

from prospect_core.records import CompressionEvent
from prospect_core.sequence.layout import Context, Prompt
from prospect_core.stream.context_reader import ContextReader
from prospect_core.stream.strategies.registry import Rebuilds, Selects, Strategy, require_valid_strategy_selection
from prospect_core.stream.strategies.text import StreamMemory
from prospect_core.stream.stream_state import StreamState
from prospect_core.util.timer import StageTimer

#: decodes after a mark, into the context: (mark, limit in tokens) -> tokens, and whether the limit cut them
Write = Callable[[int, int], tuple[list[int], bool]]


class ContextCompressor:
    """Compresses the context of one stream.

    Args:
        strategy: The context strategy.
        budget: Tokens that the context may hold; half of them are left after a compression. None: never compressed.
        contexts: Opens the new context of strategies that rebuild it.
        write: Decodes the summary of strategies that ask the model for one.
        read_unread: Reads the tokens that are not in the cache yet.
    """

    def __init__(
        self,
        strategy: Strategy,
        budget: int | None,
        contexts: ContextReader,
        write: Write,
        read_unread: Callable[[], object],
    ) -> None:
        self.strategy, self.budget, self.contexts = strategy, budget, contexts
        self._write, self._read_unread = write, read_unread

    def compress(self, stream: StreamState, frame: int, watch: StageTimer) -> CompressionEvent:
        """Compress the context after a frame."""
        tokens, token_bytes = len(stream.context), stream.context.token_bytes
        text = self._rebuild(stream, watch) if isinstance(self.strategy, Rebuilds) else self._select(stream)
        after = len(stream.context)
        return CompressionEvent(
            frame, self.strategy.name, tokens, after, tokens * token_bytes, after * token_bytes, text
        )

    def _rebuild(self, stream: StreamState, watch: StageTimer) -> str:
        assert isinstance(self.strategy, Rebuilds)
        config, layout = self.contexts.model.config, self.contexts.layout

        def summarize(context: Context | None = None) -> str:
            """A progress summary over the cache as it is, or over a prompt that shows this context."""
            if context is not None:
                self._replace_context(stream, context, watch)
            tokens, _ = self._write(layout.special.sum, config.max_summary_tokens)
            return " ".join(layout.tokenizer.decode(tokens, skip_special_tokens=True).split())

        memory = StreamMemory(
            stream.task, stream.tracker.state, tuple(stream.said), layout, config.recent_utterances, summarize
        )
        return self._replace_context(stream, self.strategy.rebuild(memory), watch).text

    def _select(self, stream: StreamState) -> str:
        assert isinstance(self.strategy, Selects)
        assert self.budget is not None
        if stream.context.unread:
            self._read_unread()
        keys, values = zip(*stream.context.cache.tensors(), strict=True)
        room = self.budget // 2
        kept = self.strategy.select(keys, values, stream.context.meta, room)
        require_valid_strategy_selection(self.strategy, kept, len(stream.prompt.ids), len(stream.context), room)
        stream.context.keep(list(kept), self.contexts.model.model.text_model.rotary_emb.inv_freq)
        return ""

    def _replace_context(self, stream: StreamState, context: Context, watch: StageTimer) -> Prompt:
        """Start the context again with a prompt that shows ``context``."""
        stream.context, stream.prompt, stream.markers = self.contexts.open(
            stream.task, context, stream.lengths, stream.frame, watch
        )
        return stream.prompt
