//! The handshake with which two processes authenticate each other.
//!
//! ```text
//! dialler                                   acceptor
//! preface, Hello { cluster, wish, nonce } ─►
//!                                        ◄─ preface, Challenge { nonce }        or Refusal
//! Proof                                  ─►
//!                                        ◄─ Welcome { proof, answer }           or Refusal
//! ```
//!
//! A proof is HMAC-SHA-256 (RFC 2104) with the cluster's [`Secret`] over the side's name, both prefaces' version, the
//! hello and the challenge as they were sent. It covers both nonces, which are fresh in each connection, so recorded
//! bytes are useless in another connection, and a replayed hello meets another challenge. The acceptor proves itself
//! too. Later frames are neither secret nor signed: TLS is the tool for that.
//!
//! Without a secret the proofs use an empty key: they show only that both sides know the same cluster.

use std::fmt;

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use crate::VERSION;

/// Minimum number of characters of a secret.
pub const SECRET_CHARS_MIN: usize = 16;

/// First frame of a dialler. `W` is its purpose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello<W> {
    /// The cluster that the dialler expects.
    pub cluster: String,
    /// Purpose of the connection.
    pub wish: W,
    /// Fresh in each connection.
    pub nonce: Nonce,
}

/// First frame of an acceptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// Fresh in each connection.
    pub nonce: Nonce,
}

/// End of a successful handshake. `A` answers the purpose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Welcome<A> {
    /// The acceptor's own proof.
    pub proof: Proof,
    /// Answer to the purpose.
    pub answer: A,
}

/// End of a refused handshake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The reason, for a person.
    pub why: String,
    /// True if a later attempt may succeed.
    pub retryable: bool,
}

/// A random number used once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nonce([u8; 32]);

/// Proof that its sender knows the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof([u8; 32]);

/// Side that makes a proof; the proof of one side is useless to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The process that connects.
    Dialler,
    /// The process that accepts.
    Acceptor,
}

/// Shared secret of the processes of a cluster.
#[derive(Clone)]
pub struct Secret {
    key: hmac::Key,
    is_set: bool,
}

/// Error for a text that is too short for a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret has at least {SECRET_CHARS_MIN} characters")]
pub struct TooShort;

impl Nonce {
    /// A fresh secret, from the operating system.
    ///
    /// # Panics
    /// If the operating system has no randomness: no safe alternative exists.
    pub fn fresh() -> Self {
        Nonce(random())
    }
}

/// A random number that cannot be guessed and does not repeat.
pub fn fresh_number() -> u64 {
    u64::from_le_bytes(random())
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

impl Secret {
    /// The empty secret, for processes of one machine that talk over its loopback.
    pub fn none() -> Self {
        Secret { key: hmac::Key::new(hmac::HMAC_SHA256, &[]), is_set: false }
    }

    /// The secret in this text, without surrounding white space.
    ///
    /// # Errors
    /// If the text is too short.
    pub fn new(text: &str) -> Result<Self, TooShort> {
        let text = text.trim();
        if text.chars().count() < SECRET_CHARS_MIN {
            return Err(TooShort);
        }
        Ok(Secret { key: hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes()), is_set: true })
    }

    /// A fresh text for a secret: 256 bits in hexadecimal digits.
    pub fn fresh_text() -> String {
        random::<32>().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// False for [`Secret::none`].
    pub fn is_set(&self) -> bool {
        self.is_set
    }

    /// Computes the proof of a side over the bodies of the hello and the challenge as they were sent.
    pub fn prove(&self, side: Side, hello: &[u8], challenge: &[u8]) -> Proof {
        let tag = hmac::sign(&self.key, &transcript(side, hello, challenge));
        Proof(tag.as_ref().try_into().expect("SHA-256 gives 32 bytes"))
    }

    /// True if the proof was made with this secret. Takes constant time.
    pub fn verify(&self, proof: &Proof, side: Side, hello: &[u8], challenge: &[u8]) -> bool {
        hmac::verify(&self.key, &transcript(side, hello, challenge), &proof.0).is_ok()
    }
}

/// Lengths precede the variable parts, so that no two pairs of frames give the same bytes.
fn transcript(side: Side, hello: &[u8], challenge: &[u8]) -> Vec<u8> {
    let side: &[u8] = match side {
        Side::Dialler => b"meshsim dialler",
        Side::Acceptor => b"meshsim acceptor",
    };
    let mut out = side.to_vec();
    out.extend_from_slice(&VERSION.to_le_bytes());
    for part in [hello, challenge] {
        out.extend_from_slice(&(part.len() as u64).to_le_bytes());
        out.extend_from_slice(part);
    }
    out
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_set { "Secret(..)" } else { "Secret::none()" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "correct horse battery staple";

    #[test]
    fn a_proof_holds_for_its_side_and_its_connection_alone() {
        let secret = Secret::new(TEXT).unwrap();
        let proof = secret.prove(Side::Dialler, b"hello", b"challenge");
        assert!(Secret::new(&format!(" {TEXT}\n")).unwrap().verify(&proof, Side::Dialler, b"hello", b"challenge"));
        for (side, hello, challenge) in [
            (Side::Acceptor, &b"hello"[..], &b"challenge"[..]),
            (Side::Dialler, b"hello", b"challengf"),
            (Side::Dialler, b"hellp", b"challenge"),
            (Side::Dialler, b"hell", b"ochallenge"),
        ] {
            assert!(!secret.verify(&proof, side, hello, challenge));
        }
        assert!(!Secret::new("another secret, as long").unwrap().verify(&proof, Side::Dialler, b"hello", b"challenge"));
        assert!(!Secret::none().verify(&proof, Side::Dialler, b"hello", b"challenge"));
    }

    #[test]
    fn proofs_are_those_of_rfc_2104() {
        // RFC 4231, test case 2: the function is the standard one.
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
        let tag = hmac::sign(&key, b"what do ya want for nothing?");
        assert_eq!(tag.as_ref()[..4], [0x5b, 0xdc, 0xc1, 0x46]);
    }

    #[test]
    fn short_texts_are_no_secrets_and_a_secret_is_never_shown() {
        assert!(Secret::new("  fifteen chars..  ").is_err());
        assert_eq!(format!("{:?}", Secret::new(TEXT).unwrap()), "Secret(..)");
        assert!(Secret::new(&Secret::fresh_text()).is_ok());
        assert_ne!(Nonce::fresh(), Nonce::fresh());
    }
}
