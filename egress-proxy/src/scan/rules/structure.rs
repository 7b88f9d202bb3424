//! Structure that an expression cannot express: checksums, encoded heads, frames.
//!
//! Each check reads the secret alone and answers whether its issuer could have made it.

mod checksum;
mod password;
pub(in crate::scan) mod seed;
mod token;

use scan_rules::Structure;

/// Whether a secret has a structure.
pub(super) fn holds(structure: Structure, secret: &[u8]) -> bool {
    match structure {
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
