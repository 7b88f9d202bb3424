//! Structure that an expression cannot express: checksums, encoded heads, frames.
//!
//! Each check reads the secret alone and answers whether its issuer could have made it.

mod checksum;
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
}

impl Structure {
    /// Whether `secret` has the structure.
    pub fn holds(self, secret: &[u8]) -> bool {
        match self {
            Structure::GithubCrc32 => checksum::github(secret),
            Structure::JwtHeader => token::jwt(secret),
            Structure::PrivateKey => token::private_key(secret),
        }
    }
}
