"""Reads shell scripts as a reader of the documentation would type them: which programs are called, and how."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

OPERATORS = {"|", "||", "&", "&&", ";", "(", ")", "do", "then", "while", "until", "if", "!", "time"}
"""What may stand before a command."""


def commands(script: str) -> Iterator[list[str]]:
    """The simple commands of a script, as words; redirections and comments are left out."""
    for line in script.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.commenters = "#"
        lexer.wordchars += ":{}=,@%$…?*"
        words: list[str] = []
        skip = False
        for word in lexer:
            if word in OPERATORS:
                yield words
                words = []
            elif set(word) <= set("<>&"):
                skip = True
            elif not skip:
                words.append(word)
            else:
                skip = False
        yield words


def called(script: str, program: str) -> list[list[str]]:
    """The arguments of each call of a program, whatever variables are set for it."""
    found = []
    for words in commands(script):
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        if words and Path(words[0]).name == program:
            found.append(words[1:])
    return found
