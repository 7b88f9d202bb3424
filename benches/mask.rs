//! What the echo guard costs: how fast answers pass it, and that beside the least that is done with them anyway, their
//! encryption for the client. Ratios are what to compare; the machine's own speed cancels out.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::{collections::BTreeMap, hint::black_box, time::Duration};

use bytes::Bytes;
use egress_proxy::{
    credentials::{Credential, SecretStore},
    mask::Mask,
};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use shared::routes::{Auth, AuthScheme, CredentialSource};

/// A made-up credential of a usual length.
const CREDENTIAL: &str = "ghp_A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8";
/// As answers come off a connection.
const CHUNK: usize = 16 * 1024;
const VOLUME: usize = 256 << 20;

fn main() {
    let credential = credential();
    let texts = [
        ("zeros", vec![0; CHUNK]),
        (
            "JSON",
            "{\"id\": 12345, \"name\": \"an example\", \"tags\": [\"a\", \"b\"]},\n"
                .bytes()
                .cycle()
                .take(CHUNK)
                .collect(),
        ),
        ("base64", "QmFzZTY0IHRleHQgbG9va3MgbGlrZSB0aGUgZm9ybXMgd2UgbG9vayBmb3I".bytes().cycle().take(CHUNK).collect()),
        ("near misses", CREDENTIAL[..CREDENTIAL.len() - 1].bytes().cycle().take(CHUNK).collect()),
        ("noise", noise()),
    ];
    let sealed = seal();
    println!("| answer | echo guard, MiB/s | AES-128-GCM, MiB/s | added to its cost |\n|---|---|---|---|");
    for (name, text) in texts {
        let masked = mask(&credential, text.into());
        println!("| {name} | {masked:.0} | {sealed:.0} | {:.0} % |", 100.0 * sealed / masked);
    }
}

/// MiB/s through the mask.
fn mask(credential: &Credential, chunk: Bytes) -> f64 {
    let mut mask = Mask::new(credential);
    rate(|| {
        // The copy is what a connection's read buffer costs too; a chunk that is shared could not be masked in place.
        let passed = mask.push(black_box(chunk.clone())).map(|(bytes, _)| bytes.len());
        black_box(passed.unwrap_or_default());
    })
}

/// MiB/s through the cipher of TLS 1.3 that we prefer.
fn seal() -> f64 {
    let key = UnboundKey::new(&AES_128_GCM, &[7; 16]).map(LessSafeKey::new);
    let mut record = vec![0_u8; CHUNK];
    rate(|| {
        if let Ok(key) = &key {
            let sealed =
                key.seal_in_place_separate_tag(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut record);
            let _tag = black_box(sealed.is_ok());
        }
    })
}

fn rate(mut step: impl FnMut()) -> f64 {
    let began = processor_time();
    for _ in 0..VOLUME / CHUNK {
        step();
    }
    VOLUME as f64 / f64::from(1 << 20) / (processor_time() - began).as_secs_f64()
}

/// What this thread has used of a processor: others may use the machine meanwhile.
fn processor_time() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = told.split(' ').next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_else(|| unreachable!("Linux tells it: {told}")))
}

fn credential() -> Credential {
    let mut store = SecretStore::default();
    store.replace(BTreeMap::from([("T".to_owned(), CREDENTIAL.to_owned())]));
    let source = CredentialSource::Env("T".to_owned());
    let auth = Auth { scheme: AuthScheme::Bearer, source, placeholder: None };
    match Credential::resolve(&auth, &store) {
        Ok(credential) => credential,
        Err(error) => unreachable!("{error}"),
    }
}

/// Bytes without pattern, as coded content and pictures have.
fn noise() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..CHUNK / 8).flat_map(|_| next().to_le_bytes()).collect()
}
