"""Drives a program in a pseudo-terminal, and writes what its screen shows.

Reads a JSON list of [program, arguments ..] from the first argument and steps from standard input, a JSON list: {"keys": "abc"},
{"size": [columns, rows]}; with {"until": "expression"} until a line matches, else until nothing new comes. Writes a JSON object: the screen after each step, the exit code, all bytes.
"""

import fcntl
import json
import os
import pty
import re
import select
import struct
import sys
import termios
import time

PATIENCE_S = 60


class Screen:
    """The cells that cursor movements and text leave behind: as much of a VT100 as ratatui uses."""

    SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b[()][A-Z0-9]|\x1b[=>78]")

    def __init__(self, columns, rows):
        self.resize(columns, rows)

    def resize(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.cells = [[" "] * columns for _ in range(rows)]
        self.row = self.column = 0

    def feed(self, text):
        at = 0
        while at < len(text):
            found = self.SEQUENCE.match(text, at)
            if found:
                self.command(found.group(1) or "", found.group(2) or "")
                at = found.end()
                continue
            letter = text[at]
            if letter == "\x1b":
                # The rest of it has not come yet.
                return text[at:]
            self.put(letter)
            at += 1
        return ""

    def command(self, numbers, letter):
        if letter == "H":
            row, _, column = numbers.partition(";")
            self.row, self.column = int(row or 1) - 1, int(column or 1) - 1
        elif letter == "J":
            self.cells = [[" "] * self.columns for _ in range(self.rows)]

    def put(self, letter):
        if letter == "\r":
            self.column = 0
        elif letter == "\n":
            self.row += 1
        elif 0 <= self.row < self.rows and 0 <= self.column < self.columns:
            self.cells[self.row][self.column] = letter
            self.column += 1

    def lines(self):
        return ["".join(row).rstrip() for row in self.cells]


def main():
    command, steps = json.loads(sys.argv[1]), json.load(sys.stdin)
    size = lambda columns, rows: struct.pack("HHHH", rows, columns, 0, 0)
    pid, terminal = pty.fork()
    if pid == 0:
        time.sleep(0.2)
        os.execv(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, size(80, 24))
    screen, everything, rest = Screen(80, 24), b"", ""
    shown, code = [], None

    def read(wanted):
        """Reads until a line matches, or nothing has come for a moment."""
        nonlocal everything, rest
        ends = time.time() + PATIENCE_S
        quiet = time.time()
        while time.time() < ends:
            if select.select([terminal], [], [], 0.1)[0]:
                try:
                    got = os.read(terminal, 65536)
                except OSError:
                    return
                if not got:
                    return
                everything += got
                rest = screen.feed(rest + got.decode("utf-8", "replace"))
                quiet = time.time()
            is_there = wanted is not None and any(re.search(wanted, line) for line in screen.lines())
            # A screen comes in pieces: one that shows what is wanted may not be drawn to its end.
            if time.time() - quiet > (0.4 if is_there else 1.2) and (is_there or wanted is None):
                return

    for step in steps:
        if "size" in step:
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, size(*step["size"]))
            screen.resize(*step["size"])
        if "keys" in step:
            os.write(terminal, step["keys"].encode())
        read(step.get("until"))
        shown.append(screen.lines())
    ends = time.time() + 10
    while code is None and time.time() < ends:
        read(None)
        done, status = os.waitpid(pid, os.WNOHANG)
        code = os.waitstatus_to_exitcode(status) if done else None
    if code is None:
        os.kill(pid, 9)
    print(json.dumps({"screens": shown, "code": code, "bytes": everything.decode("utf-8", "replace")}))


main()
