//! A connection that the HTTP library reads and writes, driven by the task of the exchange on it or, where content is
//! streamed both ways at once, by one of its own.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use http::{Request, Response, StatusCode};
use hyper::{
    body::Incoming,
    client::conn::{
        TrySendError,
        http1::{Builder, SendRequest},
    },
    rt::{Read, Write},
};

use super::MAX_HEAD;
use crate::content::Content;

/// A connection of the library's.
pub struct Library {
    sender: SendRequest<Content>,
    /// What reads and writes; none where a task of its own does, or when the connection has ended.
    driver: Option<Driver>,
}

/// What came of a request.
pub type Sent = Result<Response<Incoming>, TrySendError<Request<Content>>>;

type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Library {
    /// # Errors
    /// The HTTP library's; it sends nothing yet.
    pub async fn new(stream: impl Read + Write + Unpin + Send + 'static) -> hyper::Result<Self> {
        let (sender, connection) = Builder::new().max_buf_size(MAX_HEAD).handshake(stream).await?;
        let connection = connection.with_upgrades();
        // How it ends is told to whoever waits for an answer or for content.
        let driver: Driver = Box::pin(async {
            let _end = connection.await;
        });
        Ok(Self { sender, driver: Some(driver) })
    }

    /// Sends a request; what it gives is to be waited for with [`Library::answer`].
    ///
    /// # Errors
    /// The connection was lost; the request comes back where nothing of it was sent.
    pub fn send(&mut self, request: Request<Content>) -> impl Future<Output = Sent> + use<> {
        // A client that reads nothing before all is sent would wait for ever if sending waited for its reading.
        if !matches!(request.body(), Content::Collected(_)) {
            self.drive_apart();
        }
        self.sender.try_send_request(request)
    }

    /// Waits for the answer to what was sent; its content is to be read with [`Library::drive`].
    pub async fn answer(&mut self, mut answer: Pin<&mut impl Future<Output = Sent>>) -> Sent {
        let driver = &mut self.driver;
        let answer = poll_fn(|cx| {
            drive(driver, cx);
            match driver {
                // The answer comes by this driver alone, so there is nobody else to wake us.
                Some(_) => answer.as_mut().poll(&mut Context::from_waker(Waker::noop())),
                None => answer.as_mut().poll(cx),
            }
        });
        let answer = answer.await?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.drive_apart();
        }
        Ok(answer)
    }

    /// Reads and writes what can be read and written now; wakes `cx` when there is more.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        drive(&mut self.driver, cx);
    }

    /// Whether a request can be sent now. Without a task nobody else has seen that the origin closed the connection.
    pub fn is_ready(&mut self) -> bool {
        // No exchange is to be woken, nor kept in memory, by a connection that it has given back.
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.sender.is_ready()
    }

    pub fn is_closed(&mut self) -> bool {
        !self.is_ready() && self.sender.is_closed()
    }

    /// Ends when a request can be sent.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn ready(&mut self) -> hyper::Result<()> {
        poll_fn(|cx| {
            drive(&mut self.driver, cx);
            self.sender.poll_ready(cx)
        })
        .await
    }

    fn drive_apart(&mut self) {
        if let Some(driver) = self.driver.take() {
            tokio::spawn(driver);
        }
    }
}

fn drive(driver: &mut Option<Driver>, cx: &mut Context<'_>) {
    if let Some(Poll::Ready(())) = driver.as_mut().map(|driver| driver.as_mut().poll(cx)) {
        *driver = None;
    }
}
