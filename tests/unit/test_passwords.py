"""New passwords that are easy to guess are refused."""

from __future__ import annotations

import pytest

from pgface.accounts.passwords import require_good_password
from pgface.errors import WeakPasswordError

PERSONAL = ("Ada Lovelace", "ada.lovelace@example.org")


@pytest.mark.parametrize(
    "password",
    [
        "passwordpassword123",
        "Passw0rd!Passw0rd!",
        "p4$$w0rdp4$$w0rd",
        "letmeinletmein2024",
        "qwertyuiopasdfghjkl",
        "123456789012345",
        "abcdefghijklmnop",
        "iloveyouiloveyou",
        "aaaaaaaaaaaaaaaab",
        "ada.lovelace@example.org",
        "adalovelaceadalovelace",
        "adaadaadaadaada",
    ],
)
def test_easy_passwords_are_refused(password: str) -> None:
    with pytest.raises(WeakPasswordError):
        require_good_password(password, least_length=12, personal=PERSONAL)


@pytest.mark.parametrize(
    "password",
    [
        "four plain words here",
        "correct horse battery staple",
        "kata sandi yang panjang",
        "xkqzvjwp mrtbn yyd",
        "quelques mots à moi",
        "密码是四个普通的词语没有别的了",
        "four plain words here " * 45,
    ],
)
def test_several_words_are_accepted(password: str) -> None:
    require_good_password(password, least_length=15, personal=PERSONAL)
