//! From a request to its user: where the token is found, which keys and claims are accepted, what
//! is revoked, which origins may connect. Depends on no other part of the gateway but
//! [`files`](crate::files). Tokens and their content are never logged.

mod authenticator;
mod claims;
mod error;
pub(crate) mod jwks;
mod key_files;
mod keys;
mod origin;
pub mod revocation;
pub(crate) mod secret_policy;
mod token;

pub use authenticator::{Authenticator, KeySources};
pub use claims::{Credential, Identity};
pub(crate) use claims::{MAX_TOKEN_ID, unix_seconds};
pub use error::AuthError;
pub(crate) use error::TokenResult;
pub(crate) use jwks::JwksCache;
pub(crate) use key_files::KeyFiles;
pub use keys::{Key, KeyError, TokenRules};
pub use origin::Origins;
pub(crate) use token::bearer;
pub use token::{TOKEN_SUBPROTOCOL_PREFIX, token};
