"""Check prose: rejected words, sentence length, share of passive sentences.

python .ci/prose/prose_lint.py [PATH ...] [--count]
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from passages import READERS, Passage, passages_of

HERE = Path(__file__).resolve().parent
REJECT = HERE / "reject.txt"

#: most words of a sentence by kind of passage; other kinds have no limit
MAXIMUM_WORDS = {"paragraph": 40, "cell": 40, "docstring": 45, "comment": 45, "message": 45, "page": 45}
#: where strings of the code are messages to a user
MESSAGES_IN = ("prospect_core/", "prospect_eval/", "benchmarks/")
#: utterances of a frozen data set
NO_MESSAGES_IN = ("prospect_core/workbench/dialogue/",)
MAXIMUM_PASSIVE_SHARE = 0.35
#: a page with fewer sentences has no share
MINIMUM_SENTENCES = 6

WORD = re.compile(r"[A-Za-z0-9][\w'’.,/:%-]*")
ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|cf|vs|etc|approx|no|fig|eq|al|resp)|\b[A-Z])\.$", re.I)
SENTENCE_END = re.compile(r"(?<=[^\s.])[.!?][)\]\"'”’]*(?=\s+[\"'“(\[]*[A-Z0-9]|\s*$)")
PARTICIPLES = (
    "made|written|rewritten|given|taken|shown|known|seen|done|found|kept|held|read|run|put|built|rebuilt|chosen|drawn|"
    "sent|told|said|left|lost|met|paid|split|cut|begun|broken|brought|bound|caught|driven|fed|forgotten|hidden|hit|"
    "laid|led|meant|overridden|sought|spent|spoken|taught|thought|thrown|torn|understood|worn|set|sold|borne"
)
PASSIVE = re.compile(
    r"\b(?:is|are|was|were|be|been|being)\s+(?:(?:not|also|never|only|still|then|always|\w+ly)\s+){0,2}"
    rf"(?:(?!(?:need|speed|feed|seed|hundred|indeed|exceed)\b)\w{{2,}}ed|{PARTICIPLES})\b",
    re.I,
)


@dataclass(frozen=True)
class Finding:
    """One breach of a rule: what stands there and what to write instead."""

    file: str
    line: int
    rule: str
    found: str
    write: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule}: {self.found} -> {self.write}"


@dataclass(frozen=True)
class Sentence:
    """A sentence and its offset in the passage."""

    text: str
    offset: int


class RejectList:
    """Words and what to write instead.

    A line of the file holds a regular expression, a tab and the replacement. An expression matches whole words in any
    letter case, and a blank in it matches any white space. ``^`` at its start stands for the start of a sentence.
    """

    def __init__(self, text: str) -> None:
        self.entries: list[tuple[re.Pattern[str], str]] = []
        anywhere: list[str] = []
        at_start: list[str] = []
        for line in text.splitlines():
            if not line.strip() or line.startswith("#"):
                continue
            expression, _, replacement = line.partition("\t")
            if not replacement:
                raise ValueError(f"{line!r} holds no tab with a replacement after it")
            body = expression.removeprefix("^").lower().replace(" ", r"\s+")
            self.entries.append((re.compile(body), replacement))
            (at_start if expression.startswith("^") else anywhere).append(body)
        self._anywhere = re.compile(rf"\b(?:{'|'.join(anywhere) or '(?!)'})\b")
        self._at_start = re.compile(rf"[\"'\[!]*(?:{'|'.join(at_start) or '(?!)'})\b")

    def findings(self, text: str, sentences: Iterable[Sentence]) -> Iterator[tuple[int, str, str]]:
        """Offset, found words and replacement of each match in a passage, at the starts of these sentences too."""
        lowered = text.lower()
        for match in self._anywhere.finditer(lowered):
            yield match.start(), text[match.start() : match.end()], self._replacement(match[0])
        for sentence in sentences:
            first = self._at_start.match(sentence.text.lower())
            if first:
                found = sentence.text[: first.end()].strip()
                yield sentence.offset, found, self._replacement(re.sub(r"^\W*", "", first[0]), sentence.text)

    def _replacement(self, found: str, sentence: str = "") -> str:
        whole = re.sub(r"^\W*", "", sentence.lower()) or found
        return next((write for entry, write in self.entries if entry.fullmatch(found) or entry.match(whole)), "reword")


def sentences_of(text: str) -> Iterator[Sentence]:
    """Split a passage at full stops, question marks and exclamation marks that end a sentence."""
    begin = 0
    for end in SENTENCE_END.finditer(text):
        if ABBREVIATION.search(text[begin : end.start() + 1]):
            continue
        sentence = text[begin : end.end()]
        if sentence.strip():
            yield Sentence(sentence.strip(), begin + len(sentence) - len(sentence.lstrip()))
        begin = end.end()
    rest = text[begin:]
    if rest.strip():
        yield Sentence(rest.strip(), begin + len(rest) - len(rest.lstrip()))


def is_passive(sentence: str) -> bool:
    """Whether a sentence holds a form of "be" with a participle after it."""
    return PASSIVE.search(sentence) is not None


@dataclass(frozen=True)
class Checked:
    """The findings of a file and, for a page of the documentation, its share of passive sentences."""

    findings: list[Finding]
    passive: int = 0
    sentences: int = 0

    @property
    def share(self) -> float:
        """Passive sentences divided by sentences; 0 for a file without."""
        return self.passive / self.sentences if self.sentences else 0.0


def check(path: Path, root: Path, reject: RejectList) -> Checked:
    """Apply every rule to a file; paths in findings are relative to ``root``."""
    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
    findings: list[Finding] = []
    passive = total = 0
    for passage in passages_of(path):
        if passage.kind == "message" and not _holds_messages(name):
            continue
        sentences = list(sentences_of(passage.text))
        is_label = passage.kind == "cell" and not passage.text.rstrip().endswith((".", "!"))
        for offset, found, write in reject.findings(passage.text, [] if is_label else sentences):
            findings.append(Finding(name, passage.line_at(offset), "word", f'"{" ".join(found.split())}"', write))
        findings += _too_long(name, passage, sentences)
        if passage.kind == "paragraph":
            total += len(sentences)
            passive += sum(is_passive(sentence.text) for sentence in sentences)
    if total >= MINIMUM_SENTENCES and passive / total > MAXIMUM_PASSIVE_SHARE:
        found = f"{passive / total:.0%} of {total} sentences"
        findings.append(Finding(name, 1, "passive", found, f"at most {MAXIMUM_PASSIVE_SHARE:.0%}"))
    findings.sort(key=lambda finding: (finding.line, finding.rule))
    return Checked(findings, passive, total)


def _holds_messages(name: str) -> bool:
    in_pages = not name.endswith((".py", ".py.txt"))
    return in_pages or (name.startswith(MESSAGES_IN) and not name.startswith(NO_MESSAGES_IN))


def _too_long(name: str, passage: Passage, sentences: Iterable[Sentence]) -> Iterator[Finding]:
    limit = MAXIMUM_WORDS.get(passage.kind)
    if limit is None:
        return
    for sentence in sentences:
        words = WORD.findall(sentence.text)
        if len(words) > limit:
            found = f'{len(words)} words from "{" ".join(words[:5])}"'
            yield Finding(name, passage.line_at(sentence.offset), "length", found, f"at most {limit} words")


def files_below(paths: Iterable[Path]) -> list[Path]:
    """The files of a Git repository at or below these paths that hold prose."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *map(str, paths)]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    files = sorted({Path(name).absolute() for name in listed if name})
    return [file for file in files if _holds_prose(file)]


def _holds_prose(file: Path) -> bool:
    known = file.suffix in READERS or file.name in READERS or file.name.endswith(".py.txt")
    return known and file.is_file()


def print_counts(results: dict[str, Checked]) -> None:
    """Print findings by file and rule, and the share of passive sentences of each page."""
    for name, result in results.items():
        rules = Counter(finding.rule for finding in result.findings)
        parts = [f"{rule} {rules[rule]}" for rule in sorted(rules)]
        if result.sentences:
            parts.append(f"passive sentences {result.share:.0%} of {result.sentences}")
        if parts:
            print(f"{name}: {', '.join(parts)}")
    totals = Counter(finding.rule for result in results.values() for finding in result.findings)
    print(f"total: {', '.join(f'{rule} {totals[rule]}' for rule in sorted(totals)) or 'no finding'}")


def main(arguments: list[str] | None = None) -> int:
    """Check the files; without a path, the whole repository."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("paths", nargs="*", type=Path, help="files or folders; default: the whole repository")
    parser.add_argument("--count", action="store_true", help="print counts by file and rule")
    options = parser.parse_args(arguments)
    root = Path.cwd()
    reject = RejectList(REJECT.read_text("utf-8"))
    results: dict[str, Checked] = {}
    for file in files_below(options.paths or [root]):
        name = file.relative_to(root).as_posix()
        results[name] = check(file, root, reject)
    if options.count:
        print_counts(results)
    else:
        for result in results.values():
            for finding in result.findings:
                print(finding)
    return int(any(result.findings for result in results.values()))


if __name__ == "__main__":
    sys.exit(main())
