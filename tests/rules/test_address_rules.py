"""Which addresses may be called: as a person writes them, and as a name resolves."""

from ipaddress import ip_address

import pytest

from models.rules.addresses import check_address, public, reachable, wrong_with
from models.rules.refusals import Code, Refusal

ON_THE_INTERNET = [
    "https://coursepro.example.org/cart-complete",
    "https://coursepro.example.org:443/?club=7&x=%20",
    "https://coursepro.example.org:8443/user@home",
    "HTTPS://Club-7.CoursePro.example/hook",
    "https://xn--caf-dma.example/",
    "https://8.8.8.8/",
    "https://[2606:4700:4700::1111]/",
    "https://[::ffff:8.8.8.8]/",
    "https://[64:ff9b::808:808]/",
]
ON_THIS_MACHINE = [
    "http://127.0.0.1:8025/user-sync",
    "http://localhost:80/",
    "https://localhost/",
    "https://127.8.9.10:22/",
    "http://[::1]:9000/",
]
NOWHERE = [
    ("http://coursepro.example.org/", "must begin with https://"),
    ("ftp://coursepro.example.org/", "must begin with https://"),
    ("//coursepro.example.org/", "must begin with https://"),
    ("coursepro.example.org", "must begin with https://"),
    ("", "no spaces"),
    ("https://", "no name of a host"),
    ("https:///path", "no name of a host"),
    ("https://a b.example.org/", "no spaces"),
    ("https://example.org/\r\nHost: inside", "no spaces"),
    ("https://example.org\\@10.0.0.1/", "no spaces"),
    ("https://ex\u0430mple.org/", "beyond ASCII"),
    ("https://example.org/#top", "fragments"),
    (f"https://example.org/{'x' * 2000}", "An address"),
    ("https://user@example.org/", "user name"),
    ("https://user:word@example.org/", "user name"),
    ("https://example.org:99999/", "no web address"),
    ("https://example.org:https/", "no web address"),
    ("https://[::1/", "no web address"),
    ("https://example.org:22/", "Port 22"),
    ("https://example.org:0/", "Port 0"),
    ("https://example.org./", "no name of a host"),
    ("https://-a.example.org/", "no name of a host"),
    ("https://a..example.org/", "no name of a host"),
    (f"https://{'a' * 64}.example.org/", "no name of a host"),
    ("https://intranet/", "inside network"),
    ("https://coursepro.local/", "inside network"),
    ("https://metadata.google.internal/", "inside network"),
    ("https://a.localhost/", "inside network"),
    ("https://router.home.arpa/", "inside network"),
    ("https://2130706433/", "written unusually"),
    ("https://127.1/", "written unusually"),
    ("https://0x7f.0x1/", "written unusually"),
    ("https://1.2.3.4.5/", "written unusually"),
    ("https://10.0.0.1/", "not on the internet"),
    ("https://[fe80::1%25eth0]/", "not on the internet"),
    ("https://[::ffff:127.0.0.1]/", "not on the internet"),
]
INSIDE = [
    *("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.1.1"),
    *("192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.7", "203.0.113.9"),
    *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::10.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "2001::1"),
    *("2001:db8::1", "2002:a00:1::1", "3fff::1", "4000::1", "fc00::1", "fd12::1", "fe80::1", "fec0::1", "ff02::1"),
]


@pytest.mark.parametrize("url", ON_THE_INTERNET)
def test_an_address_on_the_internet_may_be_called(url: str) -> None:
    assert wrong_with(url, local=False) is None
    assert wrong_with(url, local=True) is None


@pytest.mark.parametrize(("url", "said"), NOWHERE, ids=range(len(NOWHERE)))
def test_any_other_is_refused_in_a_sentence(url: str, said: str) -> None:
    found = wrong_with(url, local=False)
    assert found is not None
    assert said in found
    with pytest.raises(Refusal) as refused:
        check_address(url, local=False, field=("userSyncUrl",))
    assert (refused.value.code, refused.value.field) == (Code.ADDRESS_NOT_ALLOWED, ("userSyncUrl",))


@pytest.mark.parametrize("url", ON_THIS_MACHINE)
def test_this_machine_may_be_called_only_where_the_sandbox_runs(url: str) -> None:
    assert wrong_with(url, local=True) is None
    assert wrong_with(url, local=False) is not None


def test_where_the_sandbox_runs_nothing_else_of_the_inside_may_be_called() -> None:
    for url in ("http://coursepro.example.org/", "https://10.0.0.1/", "http://192.168.1.1/", "https://a.localhost/"):
        assert wrong_with(url, local=True) is not None


def test_a_system_that_is_nowhere_else_is_called_nowhere_else() -> None:
    only = frozenset({"api.stripe.com"})
    assert wrong_with("https://api.stripe.com", local=False, only=only) is None
    assert wrong_with("https://api.stripe.example", local=False, only=only) == (
        "api.stripe.example is none of api.stripe.com."
    )
    assert wrong_with("http://api.stripe.com", local=False, only=only) == "It must begin with https://."
    assert wrong_with("https://api.stripe.com/v1", local=False, only=only) == "The API of api.stripe.com has no path."
    assert wrong_with("https://api.stripe.com/", local=False, only=only) is None
    assert wrong_with("http://127.0.0.1:9", local=True, only=only) is None


@pytest.mark.parametrize("address", INSIDE)
def test_what_is_not_on_the_internet(address: str) -> None:
    assert not public(ip_address(address))
    assert not reachable(address, local=False)


def test_a_name_may_lead_to_the_internet_and_where_the_sandbox_runs_to_this_machine() -> None:
    for address in ("1.1.1.1", "93.184.215.14", "2606:4700::1111", "::ffff:1.1.1.1"):
        assert reachable(address, local=False)
    assert [reachable(address, local=True) for address in ("127.0.0.1", "::1", "10.0.0.1", "fe80::1%eth0", "x")] == [
        True, True, False, False, False,
    ]  # fmt: skip
