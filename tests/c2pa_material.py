"""A signing authority made for the run, and files that it signs."""

from __future__ import annotations

import datetime as dt
import io
import json

import numpy as np
from c2pa import Builder, C2paSignerInfo, Context, Signer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image

TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
MIMES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "AVIF": "image/avif"}


def picture(fmt, seed=0):
    small = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(small).resize((128, 128), Image.Resampling.BICUBIC).save(out, fmt)
    return out.getvalue()


def certificate(name, key, issuer, issuer_key, ca=False, days=30):
    names = [(NameOID.ORGANIZATION_NAME, f"{name} Org"), (NameOID.COMMON_NAME, name)]
    subject = x509.Name([x509.NameAttribute(*pair) for pair in names])
    now = dt.datetime.now(dt.UTC)
    usage = dict.fromkeys((
        "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
        "decipher_only",
    ), False)  # fmt: skip
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, **usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )  # fmt: skip
    if not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


class Authority:
    """A root certificate made for this run, an issuing authority under it, and one signer under that one."""

    def __init__(self, days=30):
        root_key, issuer_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
        root = certificate("Test Root", root_key, None, root_key, ca=True, days=days)
        issuer = certificate("Test Issuer", issuer_key, root, root_key, ca=True)
        leaf = certificate("Test Signer", key, issuer, issuer_key)
        pem = [c.public_bytes(serialization.Encoding.PEM) for c in (leaf, issuer, root)]
        self.leaf, self.issuer, self.root = (part.decode() for part in pem)
        self.chain = b"".join(pem)
        self.key = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def sign(self, data, fmt, kind=None, action="c2pa.created", parent=None, part=None, remote=None):
        """Sign `data`; `parent` and `part` are signed files it was made from."""
        acts = [{"action": action} | ({"digitalSourceType": TYPES + kind} if kind else {})]
        if parent:
            acts[0]["parameters"] = {"ingredientIds": ["parentOf"]}
        if part:
            acts.append({"action": "c2pa.placed", "parameters": {"ingredientIds": ["componentOf"]}})
        manifest = {
            "claim_generator_info": [{"name": "Test Generator", "version": "7"}],
            "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": acts}}],
        }
        info = C2paSignerInfo("es256", self.chain, self.key, None)
        with Context.from_dict({"verify": {"verify_after_sign": False}}) as context:
            builder = Builder(manifest, context)
            for source, relation in ((parent, "parentOf"), (part, "componentOf")):
                if source:
                    ingredient = {"title": relation, "relationship": relation, "label": relation}
                    builder.add_ingredient(json.dumps(ingredient), MIMES[fmt], io.BytesIO(source))
            if remote:
                builder.set_no_embed()
                builder.set_remote_url(remote)
            out = io.BytesIO()
            builder.sign(Signer.from_info(info), MIMES[fmt], io.BytesIO(data), out)
        return out.getvalue()
