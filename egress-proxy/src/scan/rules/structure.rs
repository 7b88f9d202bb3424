//! Structure that an expression cannot express: checksums, encoded heads, frames.
//!
//! Each check reads the secret alone and answers whether its issuer could have made it.

mod checksum;
mod password;
pub(in crate::scan) mod seed;
mod token;

use serde::Deserialize;

/// What is checked of a secret besides its expression; in a rules file `check = "github-crc32"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Structure {
    /// The last six characters are the CRC-32 of those before them (after the prefix), in base 62.
    GithubCrc32,
    /// The header decodes to a JSON object that names an algorithm.
    JwtHeader,
    /// The frame's first lines decode to the begin of a private key.
    PrivateKey,
    /// Base64 of `user:password`.
    BasicCredentials,
    /// A password that somebody chose or generated, not a word that stands for one.
    Password,
    /// Letters and digits, as no word or path is made of.
    MixedCharacters,
    /// Base 58 whose last four bytes are a double SHA-256 of the rest.
    Base58check,
    /// Words of BIP-39's list with its checksum.
    Bip39,
}

impl Structure {
    /// Whether `secret` has the structure.
    pub fn holds(self, secret: &[u8]) -> bool {
        match self {
            Structure::GithubCrc32 => checksum::github(secret),
            Structure::JwtHeader => token::jwt(secret),
            Structure::PrivateKey => token::private_key(secret),
            Structure::BasicCredentials => password::basic(secret),
            Structure::Password => password::is_chosen(secret),
            Structure::MixedCharacters => password::is_mixed(secret),
            Structure::Base58check => checksum::base58check(secret),
            Structure::Bip39 => false,
        }
    }
}
