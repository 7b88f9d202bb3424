//! The echo guard: no value comes through whole, nothing else is touched, and how the answer is cut does not matter.

use std::{collections::BTreeMap, sync::LazyLock};

use bytes::Bytes;
use egress_proxy::{
    credentials::{Credential, SecretStore},
    mask::Mask,
};
use shared::routes::{Auth, AuthScheme, CredentialSource};

use crate::pieces::{pieces, split};

/// Begins and ends alike, so that occurrences overlap.
const VALUE: &str = "abcabcab";

static CREDENTIAL: LazyLock<Credential> = LazyLock::new(|| {
    let mut store = SecretStore::default();
    store.replace(BTreeMap::from([("T".to_owned(), VALUE.to_owned())]));
    let source = CredentialSource::Env("T".to_owned());
    let auth = Auth { scheme: AuthScheme::Bearer, source, placeholder: None };
    Credential::resolve(&auth, &store).unwrap_or_else(|error| panic!("{error}"))
});

pub(crate) fn run(input: &[u8]) {
    let Some((cut, content)) = split(input) else { return };
    let whole = through(content, content.len().max(1));
    assert!(whole == through(content, cut), "{}", content.escape_ascii());
    assert_eq!(whole.len(), content.len());
    assert!(whole.iter().zip(content).all(|(out, sent)| out == sent || *out == b'*'));
    assert!(!whole.windows(VALUE.len()).any(|window| window == VALUE.as_bytes()), "{}", content.escape_ascii());
}

fn through(content: &[u8], cut: usize) -> Vec<u8> {
    let (mut mask, mut out) = (Mask::new(&CREDENTIAL), Vec::new());
    for piece in pieces(content, cut) {
        out.extend_from_slice(&mask.push(Bytes::copy_from_slice(piece)).expect("plain content").0);
    }
    out.extend_from_slice(&mask.finish().0);
    out
}
