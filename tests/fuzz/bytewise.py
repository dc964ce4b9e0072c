"""Mutations that are independent of the format: bits, lengths, blocks."""

from __future__ import annotations

from random import Random

NUMBERS = (0, 1, -1, 2, 7, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**20, 2**24, 2**31 - 1, 2**31)
LARGE = (2**32 - 1, 2**32, 2**40, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 10**9, 10**12)
INTEGERS = (*NUMBERS, *LARGE)


def flip(data: bytearray, random: Random) -> None:
    for _ in range(random.choice((1, 1, 2, 5, 20))):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def overwrite(data: bytearray, random: Random) -> None:
    at = random.randrange(len(data))
    data[at : at + random.choice((1, 2, 4, 16))] = random.randbytes(random.choice((1, 2, 4, 16)))


def cut(data: bytearray, random: Random) -> None:
    del data[random.randrange(len(data)) :]


def drop(data: bytearray, random: Random) -> None:
    at = random.randrange(len(data))
    del data[at : at + random.choice((1, 2, 8, 64, 512))]


def repeat(data: bytearray, random: Random) -> None:
    at = random.randrange(len(data))
    block = data[at : at + random.choice((1, 4, 32, 256, 512))]
    data[at:at] = block * random.choice((1, 2, 3, 50))


def splice(data: bytearray, random: Random) -> None:
    start, at = random.randrange(len(data)), random.randrange(len(data))
    block = data[start : start + random.choice((4, 16, 128, 1024))]
    data[at : at + (len(block) if random.random() < 0.5 else 0)] = block


def number(data: bytearray, random: Random) -> None:
    size = random.choice((1, 2, 4, 8))
    value = random.choice(INTEGERS) % 2 ** (8 * size)
    at = random.randrange(len(data))
    data[at : at + size] = value.to_bytes(size, random.choice(("little", "big")))


CHANGES = (flip, flip, overwrite, cut, drop, repeat, splice, number, number)


def change_bytes(content: bytes, random: Random) -> bytes:
    """Return the content with one to three changes, more often at its beginning and its end."""
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 3))):
        if not data:
            break
        edge = random.random()
        if edge < 0.25:  # formats store lengths in headers and trailers
            head, tail = data[:64], data[64:]
            random.choice(CHANGES)(head, random)
            data = head + tail
        elif edge < 0.4:
            head, tail = data[:-64], data[-64:]
            random.choice(CHANGES)(tail, random)
            data = head + tail
        else:
            random.choice(CHANGES)(data, random)
    return bytes(data)
