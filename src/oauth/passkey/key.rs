//! Public keys of authenticators (RFC 9052 §7, RFC 9053 §2, RFC 8230 §4), and what they signed.

use std::ops::RangeInclusive;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use minicbor::Decoder;
use minicbor::data::Type;

/// Bytes of RSA's modulus.
const RSA: RangeInclusive<usize> = 256..=1024;
/// Members of a key at most.
const MEMBERS: u64 = 8;

/// A key that can be checked with: ES256 (-7), EdDSA with Ed25519 (-8) or RS256 (-257), as the script of pages asks for.
#[derive(Clone, Debug)]
pub struct Key {
    algorithm: i64,
    parsed: ParsedPublicKey,
}

/// What stands in a COSE key, of what counts.
#[derive(Default)]
struct Members<'a> {
    kind: Option<i64>,
    algorithm: Option<i64>,
    /// `crv` of a curve, `n` of RSA.
    first: Option<Value<'a>>,
    /// `x`, or `e`.
    second: Option<Value<'a>>,
    /// `y`.
    third: Option<Value<'a>>,
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Number(i64),
    Bytes(&'a [u8]),
}

impl Key {
    /// None where it is of another algorithm, or no key of it.
    pub fn read(cose: &[u8]) -> Option<Self> {
        let Members { kind, algorithm, first, second, third } = members(cose)?;
        let algorithm = algorithm?;
        let parsed = match (kind?, algorithm, first?, second?, third) {
            (2, -7, Value::Number(1), Value::Bytes(x), Some(Value::Bytes(y))) if (x.len(), y.len()) == (32, 32) => {
                ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, [&[4], x, y].concat()).ok()?
            }
            (1, -8, Value::Number(6), Value::Bytes(x), None) => ParsedPublicKey::new(&ED25519, x).ok()?,
            (3, -257, Value::Bytes(n), Value::Bytes(e), None) if RSA.contains(&n.len()) => {
                RsaPublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).ok()?
            }
            _ => return None,
        };
        Some(Self { algorithm, parsed })
    }

    /// Its COSE number.
    pub fn algorithm(&self) -> i64 {
        self.algorithm
    }

    /// Whether this key signed it.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }
}

/// Each at most once, and nothing after them.
fn members(cose: &[u8]) -> Option<Members<'_>> {
    let mut decoder = Decoder::new(cose);
    let count = decoder.map().ok()?.filter(|count| *count <= MEMBERS)?;
    let mut members = Members::default();
    for _ in 0..count {
        let label = decoder.i64().ok()?;
        let value = match decoder.datatype().ok()? {
            Type::Bytes => Value::Bytes(decoder.bytes().ok()?),
            Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::I8 | Type::I16 | Type::I32 | Type::I64 => {
                Value::Number(decoder.i64().ok()?)
            }
            _ => {
                decoder.skip().ok()?;
                continue;
            }
        };
        let was = match (label, value) {
            (1, Value::Number(kind)) => members.kind.replace(kind).is_some(),
            (3, Value::Number(algorithm)) => members.algorithm.replace(algorithm).is_some(),
            (-1, value) => members.first.replace(value).is_some(),
            (-2, value) => members.second.replace(value).is_some(),
            (-3, value) => members.third.replace(value).is_some(),
            _ => false,
        };
        if was {
            return None;
        }
    }
    (decoder.position() == cose.len()).then_some(members)
}
