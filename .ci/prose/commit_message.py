"""Check a commit message: an imperative subject of at most 72 characters without a full stop, then an empty line.

python .ci/prose/commit_message.py FILE
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

MAXIMUM_LENGTH = 72
#: imperative forms of verbs that often begin a subject; their other forms are refused
VERBS = (Path(__file__).parent / "verbs.txt").read_text("utf-8").split()
IRREGULAR = {
    "built": "build",
    "drew": "draw",
    "kept": "keep",
    "made": "make",
    "ran": "run",
    "rewrote": "rewrite",
    "said": "say",
    "sent": "send",
    "wrote": "write",
}
#: written by Git itself, or squashed away later
EXEMPT = re.compile(r"(?:Merge|Revert|fixup!|squash!|amend!) ")
SCISSORS = re.compile(r"^# -+ >8 -+", re.M)


def _other_forms(verb: str) -> set[str]:
    """Third person, past tense and present participle of a regular verb."""
    stems = {verb, verb + verb[-1]}
    if verb.endswith("e"):
        stems = {verb, verb[:-1]}
    if verb.endswith("y"):
        stems = {verb, verb[:-1] + "i"}
    forms = {stem + ending for stem in stems for ending in ("s", "es", "ed", "d", "ing")}
    return forms - {verb}


OTHER_FORMS = {form: verb for verb in VERBS for form in _other_forms(verb) if form not in VERBS} | IRREGULAR


def problems_of(message: str) -> list[str]:
    """Problems of a message as Git passes it to a hook, one line each."""
    lines = _lines_of(message)
    if not lines:
        return ["the message is empty; write what the commit changes"]
    subject = lines[0]
    if EXEMPT.match(subject):
        return []
    found = []
    if len(subject) > MAXIMUM_LENGTH:
        found.append(f"the subject has {len(subject)} characters; write at most {MAXIMUM_LENGTH}")
    first = subject.split()[0].strip(":,")
    verb = OTHER_FORMS.get(first.lower())
    if verb:
        found.append(f"the subject begins with {first!r}; write the imperative {verb.capitalize()!r}")
    if subject.endswith("."):
        found.append("the subject ends with a full stop; leave it out")
    if len(lines) > 1 and lines[1]:
        found.append("the second line holds text; leave it empty")
    return found


def _lines_of(message: str) -> list[str]:
    """The lines that Git keeps, from the subject on."""
    lines = SCISSORS.split(message)[0].splitlines()
    kept = [line.rstrip() for line in lines if not line.startswith("#")]
    return "\n".join(kept).lstrip("\n").splitlines()


def main(arguments: list[str]) -> int:
    """Print the problems of the message in a file."""
    found = problems_of(Path(arguments[0]).read_text("utf-8"))
    for problem in found:
        print(f"commit message: {problem}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
