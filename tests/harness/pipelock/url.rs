//! URLs as Go and pipelock see them: what is refused, and what is rewritten on the way to the inner face.

/// The longest URL that the sidecar's configuration lets pass.
const MAX_URL: usize = 70_000;

/// The target of a request, taken apart as Go's `net/url` does.
pub(super) struct Target<'t> {
    whole: &'t [u8],
    /// `HOST:PORT`.
    pub(super) authority: String,
    path: Vec<u8>,
    query: Option<Vec<u8>>,
}

/// Why a target goes no further.
pub(super) enum Refusal {
    /// Go's server answers before pipelock sees the request.
    Unparsable,
    /// pipelock's finding.
    Blocked(String),
}

impl<'t> Target<'t> {
    /// Takes an absolute `http` URL apart.
    pub(super) fn parse(whole: &'t [u8]) -> Result<Self, Refusal> {
        let rest = whole.strip_prefix(b"http://").ok_or(Refusal::Unparsable)?;
        let end = rest.iter().position(|b| *b == b'/').unwrap_or(rest.len());
        let authority = crate::h1::from_latin1(&rest[..end]);
        let (path, query) = match rest[end..].iter().position(|b| *b == b'?') {
            Some(mark) => (rest[end..end + mark].to_vec(), Some(rest[end + mark + 1..].to_vec())),
            None => (rest[end..].to_vec(), None),
        };
        unescaped(&path).ok_or(Refusal::Unparsable)?;
        Ok(Self { whole, authority, path, query })
    }

    /// The host without its port.
    pub(super) fn host(&self) -> &str {
        self.authority.rsplit_once(':').map_or(self.authority.as_str(), |(host, _)| host)
    }

    /// What pipelock refuses a URL for, whatever else the request holds.
    pub(super) fn judge(&self, allowed: &str) -> Result<(), Refusal> {
        let blocked = |reason: String| Err(Refusal::Blocked(reason));
        let path = unescaped(&self.path).unwrap_or_default();
        let query = self.query.clone().unwrap_or_default();
        let decoded_query = unescaped(&query).unwrap_or(query);
        if [&path, &decoded_query].iter().any(|part| part.contains(&b'\r') || part.contains(&b'\n')) {
            return blocked("CRLF injection sequence in URL".to_owned());
        }
        if path.windows(4).any(|part| part == b"/../") || path.ends_with(b"/..") {
            return blocked("path traversal sequence in URL".to_owned());
        }
        if self.host() != allowed {
            return blocked(format!("domain not in allowlist: {}", self.host()));
        }
        if let Some(finding) = super::findings::in_url(self.whole) {
            return blocked(finding);
        }
        match self.whole.len() {
            length if length > MAX_URL => blocked(format!("URL length {length} exceeds maximum {MAX_URL}")),
            _ => Ok(()),
        }
    }

    /// The target in origin form, as Go writes it after pipelock took the parameter `agent` out.
    pub(super) fn forwarded(&self) -> Vec<u8> {
        let mut target = if self.path.iter().all(|b| go_accepts(*b)) {
            self.path.clone()
        } else {
            escaped(&unescaped(&self.path).unwrap_or_default(), is_path_byte)
        };
        if let Some(query) = &self.query {
            let query = without_agent(query);
            if !query.is_empty() {
                target.push(b'?');
                target.extend(query);
            }
        }
        target
    }
}

/// Percent-decoded bytes; none where an escape is broken.
pub(super) fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let pair = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(pair, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    Some(bytes)
}

/// Once it holds the parameter, a query is parsed, sorted and written anew; what Go cannot parse is lost.
fn without_agent(query: &[u8]) -> Vec<u8> {
    let pairs: Vec<(Vec<u8>, Vec<u8>)> = query
        .split(|b| *b == b'&')
        .filter(|pair| !pair.is_empty() && !pair.contains(&b';'))
        .filter_map(|pair| {
            let mut halves = pair.splitn(2, |b| *b == b'=');
            let (name, value) = (halves.next()?, halves.next().unwrap_or_default());
            Some((unescaped(&spaced(name))?, unescaped(&spaced(value))?))
        })
        .collect();
    if !pairs.iter().any(|(name, _)| name == b"agent") {
        return query.to_vec();
    }
    let mut kept: Vec<_> = pairs.into_iter().filter(|(name, _)| name != b"agent").collect();
    kept.sort_by(|(a, _), (b, _)| a.cmp(b));
    let written =
        kept.iter().map(|(name, value)| [escaped(name, is_unreserved), escaped(value, is_unreserved)].join(&b'='));
    written.collect::<Vec<_>>().join(&b'&')
}

fn spaced(text: &[u8]) -> Vec<u8> {
    text.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect()
}

fn escaped(bytes: &[u8], plain: fn(u8) -> bool) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if plain(*byte) {
            text.push(*byte);
        } else {
            text.extend(format!("%{byte:02X}").bytes());
        }
    }
    text
}

/// Go's `validEncoded`: one byte outside of it, and the whole path is decoded and encoded again.
fn go_accepts(byte: u8) -> bool {
    is_path_byte(byte) || b"!'()*[]%".contains(&byte)
}

fn is_path_byte(byte: u8) -> bool {
    is_unreserved(byte) || b"$&+,/:;=@".contains(&byte)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)
}
