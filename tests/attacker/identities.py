"""Certificates of peers, good and bad, made with the key of the ring's CA or of another one."""

import base64
import datetime
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PARENT = "peer.quoit"
DAY = datetime.timedelta(days=1)


class Authority:
    """A CA: a ring's own, from its certificates directory, or one that nobody knows."""

    def __init__(self, key, certificate):
        self.key, self.certificate = key, certificate

    @staticmethod
    def of_ring(certs_dir):
        folder = pathlib.Path(certs_dir) / "ca"
        key = load_pem_private_key((folder / "ca-key.pem").read_bytes(), None)
        return Authority(key, x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes()))

    @staticmethod
    def unknown():
        key = ed25519.Ed25519PrivateKey.generate()
        name = named("quoit ring 00000000")
        now = datetime.datetime.now(datetime.timezone.utc)
        certificate = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(1).not_valid_before(now - DAY).not_valid_after(now + DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, None)
        )
        return Authority(key, certificate)

    def issue(self, names, days=(-1, 1), key=None):
        """A key and a certificate with these DNS names, good from and until so many days from now."""
        key = key or ed25519.Ed25519PrivateKey.generate()
        now = datetime.datetime.now(datetime.timezone.utc)
        usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            x509.CertificateBuilder().subject_name(named("quoit peer x")).issuer_name(self.certificate.subject)
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now + days[0] * DAY).not_valid_after(now + days[1] * DAY)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
            .sign(self.key, None)
        )
        return key, certificate

    def member(self, number):
        """A good identity of the peer of this number."""
        return self.issue([PARENT, position_name(number)])


def from_files(certs_dir, label):
    """The identity that the ring itself has made for a peer."""
    folder = pathlib.Path(certs_dir) / "peers"
    key = load_pem_private_key((folder / f"{label}-key.pem").read_bytes(), None)
    return key, x509.load_pem_x509_certificate((folder / f"{label}.pem").read_bytes())


def position(number):
    return bytes([number]) + b"\xff" * 31


def position_name(number):
    label = base64.b32encode(position(number)).decode().rstrip("=").lower()
    return f"{label}.{PARENT}"


def stray_bits_name(number):
    """The same position in base32 that nobody writes: the last letter has bits that mean nothing."""
    name = position_name(number)
    last = name[51]
    other = "abcdefghijklmnopqrstuvwxyz234567"["abcdefghijklmnopqrstuvwxyz234567".index(last) ^ 1]
    return name[:51] + other + name[52:]


def elliptic_key():
    return ec.generate_private_key(ec.SECP256R1())


def named(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
