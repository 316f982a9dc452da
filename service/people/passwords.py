"""Passwords: argon2id, one-time passwords, and what a password must be like."""

from __future__ import annotations

import secrets
import threading
import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from service import errors

hasher = PasswordHasher()
"""argon2-cffi's own parameters: the second recommended option of RFC 9106, section 4 (64 MiB, 3 passes)."""

MIN_LENGTH, MAX_LENGTH = 12, 256
_MIN_DIFFERENT = 5
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # nothing that looks like something else
_GROUPS, _GROUP = 4, 4

_hashing = threading.BoundedSemaphore(2)  # 64 MiB each: a crowd at the door must not take all memory


def hash_password(password: str) -> str:
    """The password as it is stored, with a salt of its own."""
    with _hashing:
        return hasher.hash(_normal(password))


def verify(stored: str | None, password: str) -> bool:
    """Whether it is the password. Takes as long where there is nothing to compare it with."""
    with _hashing:
        try:
            right = hasher.verify(stored or _nobodys(), _normal(password))
        except (VerificationError, InvalidHashError):
            return False
    return right and stored is not None


def outdated(stored: str) -> bool:
    """Whether it was hashed with other parameters than would be used today."""
    return hasher.check_needs_rehash(stored)


def one_time_password() -> str:
    """79 bits, easy to read out and to type."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP)) for _ in range(_GROUPS))


def require_strength(password: str, account: str) -> None:
    """Length above all (NIST SP 800-63B-4, section 3.1.1.2).

    Raises:
        AccountUnusable: too short, too long, of too few characters, or with the name of the account in it.
    """
    normal = _normal(password)
    if not MIN_LENGTH <= len(normal) <= MAX_LENGTH:
        raise errors.AccountUnusable("password_length")
    if len(set(normal)) < _MIN_DIFFERENT or account in normal.casefold():
        raise errors.AccountUnusable("password_simple")


def _normal(password: str) -> str:
    return unicodedata.normalize("NFKC", password)  # one password, whatever the keyboard makes of it


@cache
def _nobodys() -> str:
    return hasher.hash(secrets.token_urlsafe())
