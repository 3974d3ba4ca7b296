"""Reject phrases that an administrator would stumble over, and name the replacement.

Run by ``make check`` on every tracked text file, or on the files and directories that are named::

    python tools/language.py               # all of them
    python tools/language.py docs library  # these

Each finding is one line, ``path:line: "mend": write "fix" or "repair"``; the exit status is 1 when there is any.
Only phrases that are nearly always wrong are listed: a rule with false positives would be switched off soon.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

EXCLUDED = (
    "LICENSE",
    "docs/upstream-faq.md",  # asks upstream's questions in upstream's words
    "requirements/",
    "roles/jupyterhub_images/files/hub/requirements",
    "tools/language.py",  # these two quote what they reject
    "tests/unit/test_language.py",
)
"""Beginnings of paths that are not checked, relative to the root."""

GAP = r"(?:[ \t]+|[ \t]*\n[ \t]*(?:[#>*-][ \t]+)?)"
"""Between two words: spaces, or the end of a line and the next line's comment sign."""

START = r"(?:name: (?:[a-z_]+ : )?|TASK \[[a-z_]+ : |\"\"\")"
"""What comes before the first word of a task's name or of a docstring."""


@dataclass(frozen=True)
class Phrase:
    """A phrase to reject: words (a regular expression, one space for any gap) and what to write instead."""

    words: str
    advice: str
    case: bool = False
    """Whether capitals count. A group ``fine`` in ``words`` that matches makes the whole match acceptable."""

    def pattern(self) -> re.Pattern[str]:
        """Return the compiled expression; an underscore ends a word, so names are checked like prose."""
        body = self.words.replace(" ", GAP)
        return re.compile(rf"(?<![A-Za-z])(?:{body})(?![A-Za-z])", 0 if self.case else re.IGNORECASE)


PHRASES = (
    Phrase(r"mend(?:s|ed|ing)?", '"fix" or "repair"'),
    Phrase(r"judge(?:s|d|ment|ments)?|judging", '"check" or "validate"'),
    Phrase(r"whoever|whomever", '"anyone who", or name the person'),
    Phrase(r"whom", '"who", or name the person'),
    Phrase(r"anew", '"again", or "restart", "rebuild", "recreate"'),
    Phrase(r"successors?", '"replacement"'),
    Phrase(r"predecessors?", '"old container", or name the object'),
    Phrase(r"(?:stands?|standing)(?: |_)by", '"waits as standby"'),
    Phrase(r"(?:have|has|having) (?:it|them) (?:[a-z]+ed|done|made|put|read|run|sent|built)", "an active verb"),
    Phrase(r"what (?:came|comes|becomes|became) of (?:it|them)", '"the result"'),
    Phrase(r"(?P<fine>for )?(?:lies|lie) (?:in|at|on|below|beside|under)", '"is in", "is stored in"'),
    Phrase(r"stands (?:in|at|on|under|below|beside|before|there)", '"is in", "is at"'),
    Phrase(r"(?:nobody|nothing|no one) notices", "what is not interrupted or changed"),
    Phrase(r"(?:care|cares|cared|caring) for", '"manage", "handle" or "sync"'),
    Phrase(r"root alone|(?:administrators|admins) alone", '"only root", "only administrators"'),
    Phrase(r"See that", '"Check that"', case=True),
    Phrase(rf"{START}(?:Say|Tell)", '"Show", "Report" or "Return"', case=True),
    Phrase(rf"{START}Look", '"Inspect", "Read" or "Check"', case=True),
    Phrase(rf"{START}Have", '"Install", "Configure" or another active verb', case=True),
    Phrase(r"look(?=\()", "a name that says what it reads, as `inspect`", case=True),
    Phrase(
        r"(?:(?P<fine>there) )?(?:is|are|was|were) no (?!longer|more|one|such|different|less|fewer|later|earlier|"
        r"matter|doubt|use|worse|better|op)[a-z]{3,}",
        '"is not a …" or "has no …"',
    ),
)


@dataclass(frozen=True)
class Finding:
    """A rejected phrase and where it is."""

    path: str
    line: int
    phrase: str
    advice: str

    def __str__(self) -> str:
        """Return the line that is shown."""
        return f'{self.path}:{self.line}: "{self.phrase}": write {self.advice}'


def findings(text: str, path: str) -> list[Finding]:
    """Return what is rejected in a text, in the order of its lines."""
    found = []
    for phrase in PHRASES:
        for match in phrase.pattern().finditer(text):
            if match.groupdict().get("fine") is None:
                line = text.count("\n", 0, match.start()) + 1
                found.append(Finding(path, line, " ".join(match[0].split()), phrase.advice))
    return sorted(found, key=lambda finding: finding.line)


def tracked_files(root: Path, names: Sequence[str] = ()) -> Iterator[Path]:
    """Yield the files that Git tracks below a checkout, or those of them that the names include."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *names], cwd=root, check=True, capture_output=True, text=True
    ).stdout
    for name in sorted(set(listed.split("\0")) - {""}):
        if not name.startswith(EXCLUDED) and (root / name).is_file():
            yield root / name


def main(names: list[str], root: Path = ROOT) -> int:
    """Print all findings; return the exit status."""
    found: list[Finding] = []
    for path in tracked_files(root, names):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture
        found += findings(text, str(path.relative_to(root)))
    for finding in found:
        print(finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
