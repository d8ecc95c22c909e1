"""How far long work is, on stderr."""

import sys
import time


class Progress:
    """One line on stderr: rewritten on a terminal, else a new one every half minute and at the end."""

    def __init__(self, name: str, total: int, done: int = 0) -> None:
        self.name, self.total, self.first = name, total, done
        self.start = self.last = time.monotonic()

    def show(self, done: int, text: str = "") -> None:
        now, terminal, end = time.monotonic(), sys.stderr.isatty(), done == self.total
        if not end and now - self.last < (0.2 if terminal else 30):
            return
        self.last = now
        rate = (done - self.first) / max(now - self.start, 1e-9)
        left = f"{rate:.2f}/s, {(self.total - done) / rate / 60:.0f} min left"
        line = ", ".join(part for part in (f"{self.name}: {done}/{self.total}", text, left) if part)
        print(f"\r{line}\x1b[K" if terminal else line, end="\n" if end or not terminal else "", file=sys.stderr)
