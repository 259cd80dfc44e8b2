"""Who may talk to whom: certificates, addresses, and what must be the same on both sides."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from pelt_automl.errors import SettingsError
from pelt_automl.execution import certificates
from pelt_automl.execution.certificates import FILES, VARIABLE, Certificates, listening
from pelt_automl.execution.worker import differences, identity


def test_differences_name_both_values():
    asked = {"version": "1", "behavior": "8", "search spaces": "ab"}
    assert differences(asked, asked) == ""
    assert differences({"version": "1", "behavior": "7"}, asked) == (
        "behavior 7, the selection has 8; search spaces unknown, the selection has ab"
    )
    assert identity().keys() == asked.keys()


def test_certificates_are_the_users_alone_and_are_never_overwritten(tmp_path, monkeypatch):
    folder = tmp_path / "new"
    made = Certificates.temporary()
    made.write(folder)
    assert [oct((folder / name).stat().st_mode & 0o777) for name in FILES] == ["0o600"] * 3
    assert Certificates.of(folder) == made
    assert made.security().require_encryption
    with pytest.raises(SettingsError, match="isn't empty"):
        made.write(folder)
    monkeypatch.setenv(VARIABLE, str(folder))
    assert Certificates.of(None) == made
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(SettingsError, match=r"workers on other machines need certificates.*pelt-automl certificates DIR"):
        Certificates.of(None)
    with pytest.raises(SettingsError, match=r"can't be read \(No such file or directory; ca.pem, cert.pem, key.pem are expected\)"):
        Certificates.of(tmp_path / "nowhere")
    with pytest.raises(SettingsError, match="these certificates can't be used"):
        Certificates("a", "b", "c").security()


def test_certificates_are_valid_where_a_clock_is_behind_or_has_been_put_back():
    made = x509.load_pem_x509_certificate(Certificates.temporary().certificate.encode())
    now = datetime.now(UTC)
    assert made.not_valid_before_utc < now - timedelta(hours=23)
    assert now + timedelta(days=364) < made.not_valid_after_utc < now + timedelta(days=366)


@pytest.mark.parametrize(("behind", "valid"), [(timedelta(days=1), timedelta(hours=-1)), (timedelta(hours=-1), timedelta(days=365))])
def test_certificates_that_have_ended_or_not_begun_are_refused_before_anybody_waits_for_them(monkeypatch, behind, valid):
    monkeypatch.setattr(certificates, "BEHIND", behind)
    monkeypatch.setattr(certificates, "VALID", valid)
    made = Certificates.temporary()
    said = r"^these certificates are valid from [\d-]+ to [\d-]+, and this machine's clock says [\d-]+ \d\d:\d\d UTC\. Make others"
    with pytest.raises(SettingsError, match=said):
        made.security()


@pytest.mark.parametrize("address", ["host:8786", "tcp://host:8786", "tls://", "tls://host:port", "tls://host/path", "tls://u@host:1"])
def test_an_address_that_is_none_is_one_clear_error(address):
    with pytest.raises(SettingsError, match="is no address of a selection's port; tls://HOST:8786 is expected"):
        listening(address)
