//! A value that must not be seen: it can be moved and, on purpose, exposed; nothing else.
//!
//! It never implements `Debug`, `Display`, `Serialize` or `Clone`, so that it can reach no log, no error text and no file
//! by accident, and no second copy outlives the first.

/// A token or a secret environment value.
pub struct Secret(String);

impl Secret {
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value itself. Every call is a place to look at in a review.
    pub fn expose(&self) -> &str {
        &self.0
    }
}
