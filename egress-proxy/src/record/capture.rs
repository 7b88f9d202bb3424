//! What a HAR has beyond a record: fields and the beginnings of contents. Kept only where `--har` asks for it, and shown
//! only of exchanges in which nothing was found.

use http::{HeaderMap, HeaderName};

/// How much of an exchange a HAR shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wish {
    /// So many bytes of each content.
    pub content: usize,
    pub values: Values,
}

/// What becomes of the values of query parameters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Values {
    Masked,
    Shown,
}

/// What is kept of one exchange.
#[derive(Debug)]
pub struct Capture {
    pub wish: Wish,
    pub query: Option<String>,
    /// The field into which the route's credential is written.
    pub injected: Option<HeaderName>,
    pub request_fields: HeaderMap,
    pub response_fields: HeaderMap,
    pub request: Kept,
    pub response: Kept,
}

/// The beginning of a content.
#[derive(Debug, Default)]
pub struct Kept {
    pub bytes: Vec<u8>,
    /// There was more.
    pub is_cut: bool,
}

impl Capture {
    pub fn new(wish: Wish) -> Self {
        Self {
            wish,
            query: None,
            injected: None,
            request_fields: HeaderMap::new(),
            response_fields: HeaderMap::new(),
            request: Kept::default(),
            response: Kept::default(),
        }
    }

    pub fn request_content(&mut self, bytes: &[u8]) {
        self.request.take(bytes, self.wish.content);
    }

    pub fn response_content(&mut self, bytes: &[u8]) {
        self.response.take(bytes, self.wish.content);
    }
}

impl Kept {
    fn take(&mut self, bytes: &[u8], limit: usize) {
        let room = limit.saturating_sub(self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(&bytes[..room]);
        self.is_cut |= room < bytes.len();
    }
}
