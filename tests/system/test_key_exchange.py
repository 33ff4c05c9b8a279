"""Keys and passwords: as recorded of the original agent, and where it was wrong, as it should have been."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from guestagent_commands_system.key_exchange import GENERATOR, PRIME, KeyExchange, decrypt, public_number
from guestagent_core import CommandError, InvalidArgumentError

LONG = "x" * 64 + "\n"
INVALID = "Invalid password data received"

# The agent's private number, the host's public one, the agent's public one, the shared one; ciphertexts by the digest.
RECORDED = [
    (
        1,
        98013499412720068566681986315768,
        5,
        98013499412720068566681986315768,
        {
            "mEoW4567\n": "Z+3ILEVMWWkdISrYwvWkYQ==",
            "a\n": "qQw6SaZty75Nz0l+oo1dyw==",
            "fifteen chars!!\n": "xojdP5MSO5VOFz+4mi80DdibJ+gl7fxoPOOnJC9T144=",
            "sixteen chars !!\n": "wMU2FLNRslRl7rEumiu8Mw6BAEq42zr9hBEkOiUnwoc=",
            "päss wörd ✓\n": "5SLNu2TdhHMc9ZlU1KI2rkp4IpA1rpVpZUYSFDi8uX0=",
            LONG: "/LQjvQEfNOFv9voOPDgYgDSsoTVphKQJ5ZjGRcW9/Je05eib7DeZlRiRn36LJn8YyBW0PNFSORZpMl7XAilyGxAALh/jnL6H"
            "M7Fen4TDbyE=",
        },
        {
            "mEoW4567\n": "Hqvca4UFmxGBkbtOHnS9zw==",
            LONG: "nu8nu1kRDwnOEXqnkhYruczbtxEpflM+nC4GytcgZk9VLk5oZ1xx3Xm9kHt6xusfgdINEzGAAtxN4iTMjYzPpTpFmSruER0+"
            "v/JMAoRFDvk=",
        },
    ),
    (
        2,
        59421224823516443715133786982655,
        25,
        58961058101055893996562607373666,
        {"mEoW4567\n": "+QH5oL9vKWF0Yw3LGrq+eQ==", "päss wörd ✓\n": "uu5cjU9h4wi63wazHdsByCQrbyvpqxMyDXVTBeOt/HQ="},
        {"mEoW4567\n": "dj20e2iFFetabaOxAGmE9w=="},
    ),
    (
        123456789012345678901234567890,
        78125,
        87026283966945425842820102345650,
        17294443241467816931795290511297,
        {"mEoW4567\n": "+BLNnGramTNeSz7RF/XmDg==", "a\n": "YVMADutLTV4nGSmjK4Cl/w=="},
        {"mEoW4567\n": "FWqPPY2aQgA0/Gt/f2SoKQ=="},
    ),
    (
        340282366920938463463374607431768211455,
        14970051707127951112037528949308,
        26754088766557722802775044588228,
        106859691649320429201922901635886,
        {"mEoW4567\n": "+RVdFzRWrgWbjd1a/JNj/A==", "fifteen chars!!\n": "5WF/vuhxuL/5ECS0+GOCLO2/1PheGiwW6NdhmQdXgXw="},
        {"mEoW4567\n": "eHXRtuoTN3ab+QeL7rA6wg=="},
    ),
    (
        98765432109876543210,
        144106543554487660827214999888452,
        80294308721208295256120516656542,
        132657563201182362517408952211971,
        {"mEoW4567\n": "Q/r6MFBE1FLNKQswsmxrUg==", "päss wörd ✓\n": "YDtbC+hYF5Ngd8PXrivl7B0+I8CBYs8Pijhd9TkDtJ0="},
        {"mEoW4567\n": "qygn3IYOfzmur77L4JcNTA=="},
    ),
]


@pytest.mark.parametrize(("private", "peer", "public", "shared", "by_md5", "by_sha256"), RECORDED)
def test_it_is_what_was_recorded(
    private: int, peer: int, public: int, shared: int, by_md5: dict[str, str], by_sha256: dict[str, str]
) -> None:
    exchange = KeyExchange(public_number(str(peer)), private)
    assert exchange.public == public
    assert exchange._shared == shared
    for password, ciphertext in [*by_md5.items(), *by_sha256.items()]:
        assert exchange.decrypt(base64.b64decode(ciphertext)).decode() == password.strip("\n")


@pytest.mark.parametrize(
    ("ciphertext", "text"),
    [
        ("9aNchG/97v8vtX8FdM7Whw==", INVALID),  # "\n": the original set an empty password
        ("", INVALID),  # the original answered with an error of the interpreter
        ("eHh4eHh4eHh4eA==", "Input strings must be a multiple of 16 in length"),
        ("AAECAwQFBgcICQoLDA0ODw==", INVALID),
    ],
)
def test_what_is_no_password_is_refused(ciphertext: str, text: str) -> None:
    exchange = KeyExchange(98013499412720068566681986315768, 1)
    with pytest.raises(CommandError) as caught:
        exchange.decrypt(base64.b64decode(ciphertext))
    assert str(caught.value) == text


def encrypt(passphrase: bytes, padded: bytes) -> bytes:
    key = hashlib.md5(passphrase).digest()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(hashlib.md5(key + passphrase).digest())).encryptor()
    return encryptor.update(padded) + encryptor.finalize()


@pytest.mark.parametrize(
    "padded",
    [
        b"fifteen letters\x00",  # the original took this for an empty password
        b"fourteen lett.\x01\x02",
        b"a\x0e" + b"\x0f" * 14,
        b"x" * 15 + b"\x11",
        b"\x10" * 16,  # nothing but padding
        b"\xff" * 15 + b"\x01",  # not UTF-8
        b"\n" * 15 + b"\x01",
    ],
)
def test_padding_is_checked_to_the_last_byte(padded: bytes) -> None:
    with pytest.raises(CommandError, match=INVALID):
        decrypt(b"12345", encrypt(b"12345", padded))


def test_line_breaks_are_taken_from_both_ends_only() -> None:
    assert decrypt(b"1", encrypt(b"1", b"\n\n a\nb \n\n" + b"\x07" * 7)) == b" a\nb "


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed (Debian: openssl)")
@pytest.mark.parametrize("digest", ["md5", "sha256"])
def test_what_hosts_encrypt_is_decrypted(digest: str) -> None:
    for number in range(8):
        private = 3 + number * 10**20
        exchange = KeyExchange(pow(GENERATOR, private, PRIME))
        password = f"pässwörd {'x' * number * 5}"
        passphrase = str(pow(exchange.public, private, PRIME))
        command = ["openssl", "aes-128-cbc", "-A", "-a", "-nosalt", "-pass", f"pass:{passphrase}", "-md", digest]
        done = subprocess.run(command, input=f"{password}\n".encode(), capture_output=True, check=True)
        assert exchange.decrypt(base64.b64decode(done.stdout)).decode() == password


@pytest.mark.parametrize("value", ["7", 7, " 7\n", "07", "2", str(PRIME - 2), PRIME - 2])
def test_a_number_may_be_text(value: object) -> None:
    assert public_number(value) == int(str(value))


@pytest.mark.parametrize(
    "value",
    ["abc", "", "-7", "7.0", "1_0", "\u0667", "9" * 41, "x" * 2**20, None, True, False, 7.0, [], {}, [7], "7\0", "0x7"],
)
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(InvalidArgumentError, match="invalid literal for int") as caught:
        public_number(value)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize(
    "value",
    [
        *("0", "1", str(PRIME - 1), str(PRIME), str(PRIME + 5), -5, 10**300),
        pow(GENERATOR, (PRIME - 1) // 3, PRIME),
        pow(GENERATOR, (PRIME - 1) // 6 * 5, PRIME),
    ],
)
def test_a_number_that_makes_no_secret_is_refused(value: object) -> None:
    with pytest.raises(InvalidArgumentError, match="not one that makes a secret"):
        public_number(value)


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 2**80 - 1))
def test_every_number_of_an_honest_host_is_taken(private: int) -> None:
    """Hosts draw ten bytes; the one that draws 0 does not count as honest."""
    number = pow(GENERATOR, private, PRIME)
    assert public_number(str(number)) == number


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=96))
def test_rubbish_is_answered(data: bytes) -> None:
    try:
        text = decrypt(b"5", data)
    except CommandError:
        return
    assert text
    assert text.decode()
