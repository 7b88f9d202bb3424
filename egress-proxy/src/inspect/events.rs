//! Server-sent events (WHATWG HTML, section 9.2) taken apart and written anew in one form: LF, no comments, no byte order
//! mark, fields that have a meaning only. What is judged and what is read are then the same whatever parser reads it.

use bytes::Bytes;

/// The largest event, in bytes: what the inspector's configuration allows.
pub const MAX_EVENT: usize = 1 << 20;

/// One event that has data.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Event {
    name: Vec<u8>,
    id: Option<Vec<u8>>,
    retry: Option<Vec<u8>>,
    /// Its lines, joined by LF.
    data: Vec<u8>,
}

/// What a stream of events holds.
#[derive(Debug, Eq, PartialEq)]
pub enum Item {
    Event(Event),
    /// A sign of life: what it says is dropped.
    Comment,
}

impl Event {
    /// As it goes to the client.
    pub fn written(&self) -> Bytes {
        self.write(&self.data)
    }

    /// As it is shown: the inspector passes an event without text unread, so that its name and id stand in for it.
    pub fn shown(&self) -> Bytes {
        self.write(&self.shown_data())
    }

    /// Whether `returned` is this event as the inspector gives back what it was shown.
    pub fn came_back_as(&self, returned: &Self) -> bool {
        self.name == returned.name && self.shown_data() == returned.data
    }

    fn shown_data(&self) -> Vec<u8> {
        if !self.data.is_empty() {
            return self.data.clone();
        }
        [&self.name[..], b" ", self.id.as_deref().unwrap_or_default()].concat()
    }

    fn write(&self, data: &[u8]) -> Bytes {
        let mut text = Vec::with_capacity(data.len() + self.name.len() + 32);
        let mut line = |name: &[u8], value: &[u8]| text.extend([name, b": ", value, b"\n"].concat());
        if !self.name.is_empty() {
            line(b"event", &self.name);
        }
        for (name, value) in [(&b"id"[..], &self.id), (b"retry", &self.retry)] {
            if let Some(value) = value {
                line(name, value);
            }
        }
        for value in data.split(|byte| *byte == b'\n') {
            line(b"data", value);
        }
        text.push(b'\n');
        text.into()
    }

    fn len(&self) -> usize {
        let metadata = [Some(&self.name), self.id.as_ref(), self.retry.as_ref()];
        self.data.len() + metadata.into_iter().flatten().map(Vec::len).sum::<usize>()
    }
}

/// Takes a stream of events apart.
#[derive(Default)]
pub struct Parser {
    line: Vec<u8>,
    event: Event,
    data: bool,
    position: Position,
}

#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum Position {
    #[default]
    Start,
    Inside,
    /// A LF that follows belongs to the line that has ended.
    AfterCr,
}

/// An event is larger than can be judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooLarge;

impl Parser {
    /// Takes the next bytes; what they complete.
    ///
    /// # Errors
    /// An event over [`MAX_EVENT`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Item>, TooLarge> {
        let mut items = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.position == Position::AfterCr {
                self.position = Position::Inside;
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
                continue;
            }
            let end = memchr::memchr2(b'\r', b'\n', rest);
            self.line.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
            if self.line.len() + self.event.len() > MAX_EVENT {
                return Err(TooLarge);
            }
            let Some(end) = end else { break };
            items.extend(self.end_line());
            self.position = if rest[end] == b'\r' { Position::AfterCr } else { Position::Inside };
            rest = &rest[end + 1..];
        }
        Ok(items)
    }

    /// No more bytes come. An event that was not closed by an empty line counts: readers of plain text see it.
    pub fn finish(&mut self) -> Option<Item> {
        if !self.line.is_empty() {
            let _comment = self.end_line();
        }
        self.end_event()
    }

    fn end_line(&mut self) -> Option<Item> {
        let mut line = std::mem::take(&mut self.line);
        if self.position == Position::Start && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        if line.is_empty() {
            return self.end_event();
        }
        let (name, value) = match memchr::memchr(b':', &line) {
            Some(0) => return Some(Item::Comment),
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (&line[..], &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => {
                if self.data {
                    self.event.data.push(b'\n');
                }
                self.event.data.extend_from_slice(value);
                self.data = true;
            }
            b"event" => self.event.name = value.to_vec(),
            b"id" if !value.contains(&0) => self.event.id = Some(value.to_vec()),
            b"retry" if value.iter().all(u8::is_ascii_digit) => self.event.retry = Some(value.to_vec()),
            _ => {}
        }
        None
    }

    fn end_event(&mut self) -> Option<Item> {
        let event = std::mem::take(&mut self.event);
        std::mem::take(&mut self.data).then_some(Item::Event(event))
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &[u8], cut: usize) -> Vec<Item> {
        let mut parser = Parser::default();
        let mut items = Vec::new();
        for chunk in text.chunks(cut) {
            items.extend(parser.push(chunk).unwrap());
        }
        items.extend(parser.finish());
        items
    }

    fn event(name: &str, id: Option<&str>, data: &str) -> Item {
        let id = id.map(|id| id.as_bytes().to_vec());
        Item::Event(Event { name: name.into(), id, retry: None, data: data.into() })
    }

    #[test]
    fn events_are_taken_apart_however_lines_end_and_bytes_are_cut() {
        let lines = [
            "\u{feff}: hello",
            "id: 7",
            "event: tick",
            "data: one",
            "data:two",
            "",
            "id: 8",
            "unknown: x",
            "",
            "data",
            "",
            "data: last",
        ];
        let expected =
            [Item::Comment, event("tick", Some("7"), "one\ntwo"), event("", None, ""), event("", None, "last")];
        for end in ["\n", "\r", "\r\n"] {
            let text = lines.join(end);
            for cut in 1..9 {
                assert_eq!(parsed(text.as_bytes(), cut), expected, "{end:?}, cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let text = b"retry: 5\nid: 1\nevent: e\ndata: a\ndata: b\n\n";
        let [Item::Event(event)] = &parsed(text, 100)[..] else { panic!("one event") };
        assert_eq!(event.written(), &b"event: e\nid: 1\nretry: 5\ndata: a\ndata: b\n\n"[..]);
        assert!(event.came_back_as(event));
    }

    #[test]
    fn an_event_without_text_is_shown_with_its_name_and_id() {
        let [Item::Event(event)] = &parsed(b"event: obey\nid: me\ndata:\n\n", 100)[..] else { panic!("one event") };
        assert_eq!(event.shown(), &b"event: obey\nid: me\ndata: obey me\n\n"[..]);
        assert_eq!(event.written(), &b"event: obey\nid: me\ndata: \n\n"[..]);
    }

    #[test]
    fn an_event_over_the_limit_is_an_error_however_it_is_cut() {
        let line = [&b"data: "[..], &vec![b'a'; MAX_EVENT / 2], b"\n"].concat();
        let mut parser = Parser::default();
        parser.push(&line).unwrap();
        assert_eq!(parser.push(&line), Err(TooLarge));
        let mut parser = Parser::default();
        assert_eq!(parser.push(&vec![b'x'; MAX_EVENT + 1]), Err(TooLarge));
    }
}
