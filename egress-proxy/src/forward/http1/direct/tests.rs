use std::future::poll_fn;

use tokio::io::{AsyncWriteExt, DuplexStream, duplex, join, sink};

use super::*;
use crate::socket::{PLACES, tests::ALL_PLACES};

/// What came of an answer: its head, its content and its trailers.
struct Came {
    head: Response<()>,
    content: Vec<u8>,
    trailers: Option<HeaderMap>,
}

fn request(method: &str) -> Request<()> {
    Request::builder().method(method).uri("/path?query").header("host", "example.com").body(()).unwrap()
}

async fn content(direct: &mut Direct) -> Result<(Vec<u8>, Option<HeaderMap>), AnswerError> {
    let (mut content, mut trailers) = (Vec::new(), None);
    while !direct.is_end_stream()
        && let Some(frame) = poll_fn(|cx| direct.poll_frame(cx)).await
    {
        match frame?.into_data() {
            Ok(data) => content.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((content, trailers))
}

/// An answer in pieces of this size, the connection, and the origin's side of it, which it closes where it is told to.
async fn ask(
    method: &str,
    answer: &[u8],
    piece: usize,
    closes: bool,
) -> (Result<Came, AnswerError>, Direct, Option<DuplexStream>) {
    let (near, mut far) = duplex(answer.len() + 1024);
    let mut direct = Direct::new(Box::new(near), false);
    let origin = async {
        let mut asked = [0; 1024];
        assert_ne!(far.read(&mut asked).await.unwrap(), 0);
        for piece in answer.chunks(piece) {
            far.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        (!closes).then_some(far)
    };
    let asking = async {
        let head = direct.exchange(&request(method), &Collected::default()).await?;
        let (content, trailers) = content(&mut direct).await?;
        Ok(Came { head, content, trailers })
    };
    let (came, far) = tokio::join!(asking, origin);
    (came, direct, far)
}

const PIECES: [usize; 5] = [1, 2, 3, 7, 100_000];

#[tokio::test]
async fn an_answer_is_read_however_it_comes() {
    let answers: [(&str, &str, &str, &str, bool); 16] = [
        (
            "GET",
            "\r\n\r\n\nHTTP/1.1 100 Continue\r\n\r\n\r\nHTTP/1.1 200 \r\nx-empty:\r\nx-blank:  \r\ncontent-length: 2\r\n\r\nok",
            "",
            "ok",
            true,
        ),
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "", "hello", true),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\nContent-Length: 5\r\n\r\nhello", "", "hello", true),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", "", true),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "", "", true),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", "", "", true),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", "", "", true),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;ext=\"x\"\r\nlo\r\n0\r\n\r\n",
            "",
            "hello",
            true,
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, Chunked\r\n\r\n00a\r\n0123456789\r\n0\r\nx-sum: 1\r\n\r\n",
            "1",
            "0123456789",
            true,
        ),
        (
            "GET",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            "",
            "ok",
            true,
        ),
        ("GET", "HTTP/1.1 200 OK\r\nconnection: Close\r\ncontent-length: 2\r\n\r\nok", "", "ok", false),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nconnection: x, close\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok",
            "",
            "ok",
            false,
        ),
        ("GET", "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok", "", "ok", false),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 9\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "",
            "ok",
            false,
        ),
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n", "", "ok", false),
        ("GET", "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", "", "", false),
    ];
    for (method, answer, trailer, expected, is_reusable) in answers {
        for piece in PIECES {
            let (came, mut direct, _far) = ask(method, answer.as_bytes(), piece, false).await;
            let came = came.unwrap_or_else(|error| panic!("{error} of {answer:?} in pieces of {piece}"));
            assert_eq!(String::from_utf8_lossy(&came.content), expected, "{answer:?}");
            let sum =
                came.trailers.as_ref().and_then(|fields| fields.get("x-sum")).map_or("", |sum| sum.to_str().unwrap());
            assert_eq!(sum, trailer, "{answer:?}");
            assert_eq!(direct.is_ready(), is_reusable, "{answer:?} in pieces of {piece}");
            let is_switched = answer.starts_with("HTTP/1.1 101");
            assert_eq!(came.head.status().is_informational(), is_switched, "{answer:?}");
        }
    }
}

#[tokio::test]
async fn content_without_an_end_of_its_own_ends_with_the_connection() {
    for answer in [
        "HTTP/1.1 200 OK\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\n\r\nhello",
    ] {
        for piece in PIECES {
            let (came, direct, _) = ask("GET", answer.as_bytes(), piece, true).await;
            assert_eq!(came.unwrap().content, b"hello");
            assert!(!direct.is_done(), "it would wait in the pool");
        }
    }
}

#[tokio::test]
async fn what_is_no_answer_is_an_error_and_the_end_of_the_connection() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(MAX_FIELDS + 1));
    let long = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(MAX_HEAD + HEAD_ROOM));
    let line = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;{}", "x".repeat(MAX_CHUNK_LINE + 1));
    let chunked = |content: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{content}");
    let sized = |length: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nhello");
    let answers = [
        (String::new(), "Incomplete"),
        ("HTTP/1.1 200 OK\r\ncontent-le".into(), "Incomplete"),
        ("no answer\r\n\r\n".into(), "Head"),
        ("HTTP/2.0 200 OK\r\n\r\n".into(), "Head"),
        ("HTTP/1.1 099 No\r\n\r\n".into(), "Head"),
        ("HTTP/1.1 200 OK\r\na : b\r\n\r\n".into(), "Head"),
        ("HTTP/1.1 200 OK\r\na: b\r\n folded\r\n\r\n".into(), "Head"),
        (many, "Head"),
        (long, "TooLong"),
        (sized("6"), "Incomplete"),
        (sized("-5"), "Framing"),
        (sized("+5"), "Framing"),
        (sized(""), "Framing"),
        (sized("5, 6"), "Framing"),
        (sized("5\r\nContent-Length: 6"), "Framing"),
        (sized("99999999999999999999"), "Framing"),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(), "Framing"),
        (line, "Chunk"),
        (chunked("5\r\nhel"), "Incomplete"),
        (chunked("3\r\nhel\r\n"), "Incomplete"),
        (chunked("3\r\nhelx0\r\n\r\n"), "Chunk"),
        (chunked("3\r\nhel\n0\r\n\r\n"), "Chunk"),
        (chunked("\r\n\r\n"), "Chunk"),
        (chunked("x\r\n\r\n"), "Chunk"),
        (chunked(" 3\r\nhel\r\n0\r\n\r\n"), "Chunk"),
        (chunked("10000000000000000\r\n"), "Chunk"),
        (chunked("0\r\nno trailer\r\n\r\n"), "Head"),
        (chunked("0\r\na: b\r\n"), "Incomplete"),
        (chunked(&format!("0\r\na: {}\r\n\r\n", "b".repeat(MAX_HEAD))), "TooLong"),
        (chunked(&format!("8000\r\n{}\r\n0\r\na: {}\r\n\r\n", "x".repeat(0x8000), "b".repeat(MAX_HEAD))), "TooLong"),
    ];
    for (answer, expected) in answers {
        for piece in [1, 1000, 1_000_000] {
            if piece == 1 && answer.len() > 10_000 {
                continue;
            }
            let (came, direct, _) = ask("GET", answer.as_bytes(), piece, true).await;
            let Err(error) = came else { panic!("an answer in {answer:?}") };
            assert!(format!("{error:?}").starts_with(expected), "{error:?} of {answer:?}");
            assert!(!direct.is_done(), "{answer:?}");
        }
    }
}

/// Gives some bytes, and after them an error once, as a socket does: whoever asks again is told that it has ended.
struct Reset {
    bytes: BytesMut,
    is_told: bool,
}

impl AsyncRead for Reset {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() && !self.is_told {
            self.is_told = true;
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let length = buf.remaining().min(self.bytes.len());
        buf.put_slice(&self.bytes.split_to(length));
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_connection_that_is_reset_ends_no_content() {
    for length in [5, 8_000, 100_000] {
        let mut bytes = BytesMut::from("HTTP/1.1 200 OK\r\n\r\n");
        bytes.extend_from_slice(&vec![b'x'; length]);
        let mut direct = Direct::new(Box::new(join(Reset { bytes, is_told: false }, sink())), false);
        direct.exchange(&request("GET"), &Collected::default()).await.expect("its head came");
        let Err(error) = content(&mut direct).await else { panic!("{length} bytes end") };
        assert!(matches!(error, AnswerError::Io(_)), "{error:?}");
        assert!(!direct.is_done());
    }
}

#[tokio::test]
async fn bulk_comes_in_large_pieces_each_of_which_keeps_its_place() {
    let _alone = ALL_PLACES.lock().await;
    let expected: Vec<u8> = (0..600 * 1024).map(|at| (at % 251) as u8).collect();
    let head = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n").into_bytes();
    let mut chunked = head("transfer-encoding: chunked\r\n");
    let mut rest = &expected[..];
    for length in [1, 16_383, 16_384, 70_000, 500_000, 2].into_iter().cycle() {
        let (chunk, others) = rest.split_at(rest.len().min(length));
        rest = others;
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(&[chunk, b"\r\n"].concat());
        if chunk.is_empty() {
            break;
        }
    }
    let sized = [head(&format!("content-length: {}\r\n", expected.len())), expected.clone()].concat();
    let until_close = [head(""), expected.clone()].concat();
    for (answer, piece) in [chunked, sized, until_close].iter().flat_map(|answer| [(answer, 1000), (answer, 1 << 20)]) {
        let (near, mut far) = duplex(piece);
        let mut direct = Direct::new(Box::new(near), false);
        let origin = async {
            assert_ne!(far.read(&mut [0; 1024]).await.unwrap(), 0);
            far.write_all(answer).await.unwrap();
            drop(far);
        };
        let asking = async {
            direct.exchange(&request("GET"), &Collected::default()).await.unwrap();
            let mut frames = Vec::new();
            while let Some(frame) = poll_fn(|cx| direct.poll_frame(cx)).await {
                frames.extend(frame.unwrap().into_data());
            }
            frames
        };
        let (frames, ()) = tokio::join!(asking, origin);
        assert!(frames.concat() == expected);
        let longest = frames.iter().map(Bytes::len).max();
        assert_eq!(longest > Some(CONTENT_ROOM), piece > CONTENT_ROOM, "{longest:?}");
        let free = || std::iter::from_fn(Place::take).collect::<Vec<_>>().len();
        let is_one_taken = free() < PLACES;
        assert_eq!(is_one_taken, piece > CONTENT_ROOM);
        drop(frames);
        assert_eq!(free(), PLACES);
    }
}

#[tokio::test]
async fn what_trickles_after_bulk_keeps_no_place_and_no_large_buffer() {
    let _alone = ALL_PLACES.lock().await;
    let (near, mut far) = duplex(1 << 20);
    let mut direct = Direct::new(Box::new(near), false);
    far.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    far.write_all(&vec![b'x'; 600 * 1024]).await.unwrap();
    direct.exchange(&request("GET"), &Collected::default()).await.unwrap();
    let mut left = 600 * 1024;
    let mut is_placed = false;
    while left > 0 {
        let frame = poll_fn(|cx| direct.poll_frame(cx)).await.unwrap().unwrap();
        left -= frame.into_data().unwrap().len();
        is_placed |= direct.place.is_some();
    }
    assert!(is_placed);
    for _ in 0..2 {
        far.write_all(b"event").await.unwrap();
        let frame = poll_fn(|cx| direct.poll_frame(cx)).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "event");
    }
    assert!(direct.place.is_none() && direct.incoming.capacity() <= CONTENT_ROOM);
}

#[tokio::test]
async fn a_request_is_written_as_it_is_and_says_itself_how_long_it_is() {
    let (near, mut far) = duplex(4096);
    let mut direct = Direct::new(Box::new(near), false);
    let mut request = request("POST");
    // What says otherwise is not passed on.
    request.headers_mut().insert("content-length", HeaderValue::from_static("3"));
    request.headers_mut().insert("transfer-encoding", HeaderValue::from_static("chunked"));
    let expected = "POST /path?query HTTP/1.1\r\nhost: example.com\r\ncontent-length: 11\r\n\r\nhello world";
    let mut collected = Collected::from(b"hello ".to_vec());
    collected.push(Bytes::from_static(b"world"));
    let origin = async {
        let mut asked = vec![0; expected.len()];
        far.read_exact(&mut asked).await.unwrap();
        far.write_all(b"HTTP/1.1 200 OK\r\nx-a: 1\r\nX-A: 2\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        asked
    };
    let (answer, asked) = tokio::join!(direct.exchange(&request, &collected), origin);
    assert_eq!(String::from_utf8_lossy(&asked), expected);
    let answer = answer.unwrap();
    assert_eq!(answer.headers().get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert!(direct.is_ready());
    // Nothing unasked is taken for the next answer, and a closed connection for none that can be used.
    far.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    assert!(!direct.is_ready());
    drop(far);
    assert!(!direct.is_ready());
}

#[tokio::test]
async fn an_answer_may_come_before_all_was_sent() {
    // The origin takes no more than this.
    let (near, mut far) = duplex(64);
    let mut direct = Direct::new(Box::new(near), false);
    let content = Collected::from(vec![b'x'; 10_000]);
    let early = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno";
    let origin = async {
        far.write_all(early.as_bytes()).await.unwrap();
    };
    let request = request("POST");
    let (answer, ()) = tokio::join!(direct.exchange(&request, &content), origin);
    assert_eq!(answer.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(super::tests::content(&mut direct).await.unwrap().0, b"no");
    assert!(!direct.is_done(), "what is left of the request would be taken for the next one");
}

#[tokio::test]
async fn a_broken_answer_is_read_alike_in_any_pieces() {
    const ANSWERS: [&str; 4] = [
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello, world",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3;a=b\r\nhel\r\n00C\r\nlo and so on.\r\n0\r\nx-sum: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.0 200 Fine\r\nconnection: keep-alive\r\n\r\nto the end",
    ];
    const BYTES: &[u8] = b"\r\n\r\n 0019afF:;,xX-\t\0\xff";
    let mut state = 0x5eed_u64;
    let mut below = |end: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % end
    };
    let mut read = 0;
    for round in 0..4000 {
        let mut answer = ANSWERS[round % ANSWERS.len()].as_bytes().to_vec();
        for _ in 0..1 + below(3) {
            let at = below(answer.len());
            match below(4) {
                0 => answer[at] = BYTES[below(BYTES.len())],
                1 => answer.insert(at, BYTES[below(BYTES.len())]),
                2 if answer.len() > 1 => drop(answer.remove(at)),
                _ => answer.truncate(at.max(1)),
            }
        }
        let mut outcomes = Vec::new();
        for piece in [1, 5, 1000] {
            let (came, mut direct, _) = ask("GET", &answer, piece, true).await;
            assert!(!direct.is_ready());
            outcomes.push(match came {
                Ok(Came { head, content, trailers }) => {
                    read += 1;
                    format!("{:?} {:?} {content:?} {trailers:?}", head.status(), head.headers())
                }
                Err(error) => format!("{error:?}"),
            });
        }
        let answer = String::from_utf8_lossy(&answer);
        assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]), "{outcomes:#?} of {answer:?}");
    }
    assert!(read > 1000, "{read} can be read");
}

#[tokio::test]
async fn an_empty_path_is_written_as_a_slash() {
    for (uri, target) in [("http://example.com?x=1", "/?x=1"), ("http://example.com", "/"), ("/?", "/?"), ("*", "*")] {
        let request = Request::builder().uri(uri).body(()).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&written(&request, &Collected::default())),
            format!("GET {target} HTTP/1.1\r\n\r\n")
        );
    }
}

#[tokio::test]
async fn a_task_that_has_used_up_its_turn_sees_that_the_origin_has_closed() {
    let (near, far) = duplex(64);
    let mut direct = Direct::new(Box::new(near), false);
    drop(far);
    while tokio::task::coop::has_budget_remaining() {
        tokio::task::coop::consume_budget().await;
    }
    assert!(!direct.is_ready());
}
