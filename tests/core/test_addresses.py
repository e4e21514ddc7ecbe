"""Networks and addresses are read as they are written; who is behind proxies is whom a trusted one names last."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.addresses import behind_proxies, is_within, read_address, read_network

TRUSTED = ("10.0.0.0/8", "::1/128")


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        (" 192.0.2.7 ", "192.0.2.7/32"),
        ("::1", "::1/128"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("0.0.0.0/0", "0.0.0.0/0"),
    ],
)
def test_a_network_has_one_form(text: str, network: str) -> None:
    assert read_network(text) == network


@pytest.mark.parametrize(
    "text", ["", "localhost", "10.0.0.1/8", "10.0.0/8", "1.2.3.4.5", "::ffff:10.0.0.1", "10.0.0.0/33"]
)
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected an"):
        read_network(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:443", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ('"[2001:db8::1]"', "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("unknown", "None"),
        ("", "None"),
        ("1.2.3.4, 5.6.7.8", "None"),
    ],
)
def test_an_address_is_read_as_sockets_and_proxies_write_it(text: str, address: str) -> None:
    assert str(read_address(text)) == address


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["10.0.0.1"], "203.0.113.9"),  # a stranger may say what it likes
        ("203.0.113.9", ["127.0.0.1", "::1"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["127.0.0.1, 203.0.113.9"], "203.0.113.9"),  # made up by the client before its own address
        ("10.0.0.1", ["127.0.0.1", "203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9, 10.0.0.2"], "203.0.113.9"),  # two proxies of ours
        ("::1", ["203.0.113.9:5123"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.3"], "10.0.0.3"),
        ("10.0.0.1", ["203.0.113.9, nonsense"], "None"),
        ("10.0.0.1", [""], "None"),
    ],
)
def test_the_client_is_the_last_that_is_no_trusted_proxy(peer: str, forwarded: list[str], client: str) -> None:
    assert str(behind_proxies(read_address(peer), forwarded, TRUSTED)) == client


@given(st.lists(st.text("0123456789abcdef.:,[]% unk", max_size=30), max_size=5))
def test_whatever_a_client_says_before_the_proxy_changes_nothing(said: list[str]) -> None:
    assert str(behind_proxies(read_address("10.0.0.1"), [*said, "203.0.113.9"], TRUSTED)) == "203.0.113.9"
    assert str(behind_proxies(read_address("203.0.113.9"), said, TRUSTED)) == "203.0.113.9"


def test_an_address_that_is_not_known_is_of_no_network() -> None:
    assert not is_within(None, ("0.0.0.0/0", "::/0"))
    assert not is_within(read_address("10.0.0.1"), ())
