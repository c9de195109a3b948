"""Damage to bytes, as files are damaged or made to do harm; all of it a function of a seed."""

import random
import struct

NUMBERS = [0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1]
WORDS = [b"\0", b"\xff\xfe", b"\n", b'"', b",", b"{", b"[", b"../", b"/", b"-1", b"1e999", b"NaN"]
WORDS += [b"null", b"\xed\xa0\x80", b"%s", b"&a", b"*a", b"!!python/name:os.system", b"9" * 400]


def mutated(content: bytes, seed: int) -> bytes:
    """Bytes with one to four kinds of damage."""
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 4)):
        content = chance.choice(DAMAGES)(bytearray(content), chance)
    return bytes(content)


def place(content, chance):
    """Where damage is done: near the beginning as often as anywhere, for there are the headers."""
    end = len(content) if chance.random() < 0.5 else min(64, len(content))
    return chance.randrange(end + 1)


def flip(content, chance):
    """Flip a few bits."""
    for _ in range(chance.randint(1, 8)):
        if content:
            content[min(place(content, chance), len(content) - 1)] ^= 1 << chance.randrange(8)
    return content


def cut(content, chance):
    """Lose the end."""
    return content[: place(content, chance)]


def lose(content, chance):
    """Lose a part."""
    start = place(content, chance)
    return content[:start] + content[start + chance.randint(1, 32) :]


def repeat(content, chance):
    """Say a part many times."""
    start = place(content, chance)
    part = content[start : start + chance.randint(1, 64)]
    return content[:start] + part * chance.choice([2, 3, 1000]) + content[start:]


def insert(content, chance):
    """Put in what means something to some reader."""
    start = place(content, chance)
    return content[:start] + chance.choice(WORDS) * chance.choice([1, 2, 5000]) + content[start:]


def number(content, chance):
    """Put a number at the edge of its type over others."""
    start, value = place(content, chance), chance.choice(NUMBERS)
    packed = struct.pack(chance.choice("<>") + "I", value)[: chance.choice([2, 4])]
    return content[:start] + packed + content[start + len(packed) :]


def noise(content, chance):
    """Put random bytes over a part."""
    start = place(content, chance)
    part = chance.randbytes(chance.randint(1, 64))
    return content[:start] + part + content[start + len(part) :]


DAMAGES = (flip, flip, cut, lose, repeat, insert, number, noise)
