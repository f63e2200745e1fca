"""Prescribers' certificates and what they sign (spec/eps.md §6): an authority of a test's own with its revocation lists, and orders signed as a
prescriber's system does after `$prepare`."""

import base64
import datetime as dt
import json

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from eps import resources, signed_info

DSIG = 'xmlns="http://www.w3.org/2000/09/xmldsig#"'
DAY = dt.timedelta(days=1)
RS256, RS1 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", "http://www.w3.org/2000/09/xmldsig#rsa-sha1"


def now():
    return dt.datetime.now(dt.timezone.utc).replace(microsecond=0)


def named(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class Holder:
    """A key with its certificate; of an authority, if `issuer` is left out or `authority` is set."""

    def __init__(self, name, issuer=None, authority=False, since=-365, until=365):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        signer = issuer or self
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(signer.certificate.subject if issuer else named(name))
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now() + since * DAY)
            .not_valid_after(now() + until * DAY)
            .add_extension(x509.BasicConstraints(ca=authority or not issuer, path_length=None), critical=True)
        )
        self.certificate = builder.sign(signer.key, hashes.SHA256())

    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def text(self):
        return base64.b64encode(self.certificate.public_bytes(serialization.Encoding.DER)).decode()

    def list_of(self, *revoked, reason=x509.ReasonFlags.key_compromise):
        """Its revocation list."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
        builder = builder.last_update(now() - DAY).next_update(now() + 30 * DAY)
        for one in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(one.certificate.serial_number)
            entry = entry.revocation_date(now() - DAY).add_extension(x509.CRLReason(reason), critical=False)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def prepared(eps, order):
    """What `$prepare` tells of an order: SignedInfo, time and algorithm."""
    bare = {**order, "entry": [e for e in order["entry"] if e["resource"]["resourceType"] != "Provenance"]}
    answer = eps.prepare(bare)
    assert answer.status_code == 200, answer.text
    told = {p["name"]: p["valueString"] for p in answer.json()["parameter"]}
    return signed_info(told["digest"]), told["timestamp"], told["algorithm"]


def value_of(holder, info, hash_of=hashes.SHA256):
    return base64.b64encode(holder.key.sign(info, padding.PKCS1v15(), hash_of())).decode()


def put(order, when, info, value, *certificates):
    """Puts a signature into an order that has a Provenance."""
    inner = info.decode().replace(f" {DSIG}", "", 1)
    several = "".join(f"<X509Certificate>{one}</X509Certificate>" for one in certificates)
    data = (
        f"<Signature {DSIG}>{inner}<SignatureValue>{value}</SignatureValue><KeyInfo><X509Data>{several}</X509Data></KeyInfo></Signature>"
    )
    signature = resources(order, "Provenance")[0]["signature"][0]
    signature["when"], signature["data"] = when, base64.b64encode(data.encode()).decode()
    return order


def signed(eps, order, holder):
    """The order as it is sent."""
    info, when, _ = prepared(eps, order)
    return put(json.loads(json.dumps(order)), when, info, value_of(holder, info), holder.text())
