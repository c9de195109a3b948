"""What the parser of the command line complains of, as a sentence that names the setting."""

import re

THIS = "this command"
_KINDS = {"INT": "whole number", "FLOAT": "number", "STR": "text", "PATH": "path"}
_NUMBERS = {"int": "a whole number", "float": "a number"}


def one_sentence(box: str, command: str = "this command") -> str:
    """A parser's complaint without title, advice and box, which is ASCII on some terminals."""
    lines = [line.strip("│ ") for line in box.splitlines() if line.strip() and line[0] not in "╭╰"]
    rules = [k for k, line in enumerate(lines) if set(line) <= set("─-")]
    titled = bool(rules) and not box.startswith("╭")
    ends = rules[1:] if titled else rules
    body = lines[rules[0] + 1 if titled else 0 : ends[0] if ends else None]
    said = re.sub(r"^Error parsing (--\S+: )?(\S+: )?", r"\1", " ".join(" ".join(body).split()))
    for pattern, sentence in _SENTENCES:
        found = re.match(pattern, said)
        if found:
            return sentence(found).replace(THIS, f"`{command}`")
    return said


def _of_kinds(found: re.Match[str]) -> str:
    """``no type matching {None}|{INT INT}``: what each of the kinds wants."""
    kinds = [kind.strip("{}").split() for kind in found["kinds"].split("|") if kind != "{None}"]
    words = [f"{len(kind)} {_KINDS[kind[0]]}s" if kind[1:] else _kind(kind[0]) for kind in kinds]
    return _sentence(found["name"], _values(found["given"]), " or ".join(words))


def _kind(kind: str) -> str:
    return f"a {_KINDS[kind]}" if kind in _KINDS else kind


def _no_number(found: re.Match[str]) -> str:
    return _sentence(found["name"], found["given"], _NUMBERS[found["kind"]])


def _no_choice(found: re.Match[str]) -> str:
    return _sentence(found["name"], found["given"], f"one of {_values(found['allowed'], ', ')}")


def _unread(found: re.Match[str]) -> str:
    said = f"{_setting(found['name'])} is {_values(found['given'])!r}"
    return f"{said}: it cannot be read; --help tells its kind."


def _unknown(found: re.Match[str]) -> str:
    words = re.sub(r" \(applied to [^)]*\)", "", found["words"])
    return f"{words} is not known to {found['command'] or THIS}; --help tells what is."


def _sentence(name: str, given: str, wanted: str) -> str:
    return f"{_setting(name)} is {given!r}: it must be {wanted}."


def _setting(name: str) -> str:
    return name.replace("-", "_")


def _values(listed: str, between: str = " ") -> str:
    """``'a', 'b'`` as words."""
    return between.join(part.strip("'\" ") for part in listed.split(","))


_SENTENCES = (
    (
        r"--(?P<name>\S+): no type matching (?P<kinds>.+) could be instantiated from "
        r"\[(?P<given>.*?)\]",
        _of_kinds,
    ),
    (
        r"--(?P<name>\S+): (could not convert string to|invalid literal for) (?P<kind>\w+)"
        r"(\(\) with base 10)?: '(?P<given>.*)'",
        _no_number,
    ),
    (
        r"invalid choice '(?P<given>.*)' for argument '--(?P<name>\S+)'. Expected one of "
        r"\((?P<allowed>.*)\)",
        _no_choice,
    ),
    (
        r"--(?P<name>\S+): Could not (find valid parse for|parse) arguments:? \[(?P<given>.*?)\]",
        _unread,
    ),
    (
        r"Unrecognized( or misplaced)? options: "
        r"(?P<words>.*?(\(applied to (?P<command>[^)]*)\))?)$",
        _unknown,
    ),
)
