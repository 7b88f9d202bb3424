//! Inspection: asking a third party (pipelock) about a decrypted request, in the manner of ICAP's REQMOD (RFC 3507). It
//! stands between two faces of the proxy: the outer face asks, the inner face recognises the same exchange by a one-time
//! id. What goes to the origin is the original request in memory: what was judged is what is sent.
//!
//! The inspector never sees a credential of ours, never dials anything but the inner face, and changes nothing.

pub mod inner;
mod outer;
mod question;
mod waiting;

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, request::Parts};
use shared::authority::{Authority, Host};
use thiserror::Error;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit},
    time::timeout,
};

use self::{outer::Outer, waiting::Waiting};
use crate::{
    content::{Collected, Received},
    error::ExchangeError,
    policy::RequestPermit,
    scan::coding::Unreadable,
};

/// The most content of one request that is asked about, in bytes: the inspector's own limit.
pub const MAX_CONTENT: usize = 32 << 20;
/// All content being asked about at one time.
const BUDGET: usize = 256 << 20;
/// Content inside the inspector at one time.
const IN_FLIGHT: usize = 32 << 20;
/// Coded contents that are unfolded at one time: each may grow to [`MAX_CONTENT`] beside what was sent.
const UNFOLDING: usize = 4;
/// How long an exchange waits for its share of the budget.
const BUDGET_WAIT: Duration = Duration::from_secs(30);
/// The unit of both budgets, in bytes.
const UNIT: usize = 1024;

/// Where the inspector is, and what it comes back to.
#[derive(Clone, Debug)]
pub struct InspectorAddress {
    /// The inspector's own listener.
    pub host: String,
    pub port: u16,
    /// `HOST:PORT` of the inner face as the inspector dials it.
    pub return_to: String,
    /// What the inspector's log calls this proxy.
    pub agent: String,
}

/// The inspection of one proxy.
pub struct Inspection {
    outer: Outer,
    waiting: Arc<Waiting>,
    budget: Arc<Semaphore>,
    in_flight: Semaphore,
    unfolding: Semaphore,
}

impl Inspection {
    pub fn new(address: InspectorAddress) -> Self {
        Self {
            outer: Outer::new(address),
            waiting: Arc::default(),
            budget: Arc::new(Semaphore::new(BUDGET / UNIT)),
            in_flight: Semaphore::new(IN_FLIGHT / UNIT),
            unfolding: Semaphore::new(UNFOLDING),
        }
    }

    /// The exchanges that the inner face may recognise.
    pub fn waiting(&self) -> &Arc<Waiting> {
        &self.waiting
    }

    /// Reads content whole, with memory reserved before the first byte is read.
    ///
    /// # Errors
    /// The content is too large or too slow, or there is no room for it.
    pub async fn collect(&self, received: Received, length: Option<u64>) -> Result<Collected, ExchangeError> {
        let reserve = match length {
            Some(length) => usize::try_from(length).unwrap_or(usize::MAX),
            None => MAX_CONTENT,
        };
        if reserve > MAX_CONTENT {
            return Err(ExchangeError::ContentTooLarge { limit: MAX_CONTENT });
        }
        let mut reservation = self.reserve(reserve).await?;
        let collected = Collected::read(received, MAX_CONTENT).await?;
        // What was not needed goes back; the rest when the content does.
        let surplus = reservation.num_permits().saturating_sub(collected.remaining().div_ceil(UNIT));
        drop(reservation.split(surplus));
        Ok(collected.reserved(reservation))
    }

    /// Asks about a permitted, scanned request.
    ///
    /// # Errors
    /// The inspector's refusal, or the failure that kept it from a verdict.
    pub async fn pass(&self, permit: &RequestPermit, head: &Parts, content: &Collected) -> Result<(), InspectError> {
        self.ask(permit.authority(), head, content).await
    }

    /// Proves that the inspector judges: a made-up key must be refused, a clean request must pass.
    ///
    /// # Errors
    /// What a canary met with instead.
    pub async fn prove(&self) -> Result<(), InspectError> {
        // Made at run time, so that no scanner takes this file for a leak; it is a key of nobody.
        let key = format!("{}{}", "AKIA", "Z7QK2M4N8P5R3T6V");
        let authority = Authority::new(Host::Name("canary.invalid".into()), 443);
        let head = |method: Method| {
            let (mut head, ()) = Request::new(()).into_parts();
            head.method = method;
            head.headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            head
        };
        match self.ask(&authority, &head(Method::POST), &Collected::from(key.into_bytes())).await {
            Err(InspectError::Blocked(_)) => {}
            Ok(()) => return Err(InspectError::Silent),
            Err(error) => return Err(error),
        }
        self.ask(&authority, &head(Method::GET), &Collected::default()).await
    }

    async fn ask(&self, authority: &Authority, head: &Parts, content: &Collected) -> Result<(), InspectError> {
        // Kept until what it unfolds to has its own share.
        let unfolding = match question::is_coded(&head.headers) {
            true => Some(share(&self.unfolding, 1).await?),
            false => None,
        };
        let content = question::decoded(&head.headers, content)?;
        let length = content.remaining();
        let _share = share(&self.in_flight, length.div_ceil(UNIT).max(1)).await?;
        drop(unfolding);
        let limit = Duration::from_secs(15) + Duration::from_secs(8).mul_f64(length as f64 / f64::from(1 << 20));
        timeout(limit, self.outer.ask(&self.waiting, authority, head, &content))
            .await
            .map_err(|_| InspectError::Timeout)?
    }

    async fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit, InspectError> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let wait = timeout(BUDGET_WAIT, self.budget.clone().acquire_many_owned(units)).await;
        wait.map_err(|_| InspectError::Overload)?.map_err(|_| InspectError::Overload)
    }
}

/// A share of what all exchanges have together, or no verdict.
async fn share(of: &Semaphore, units: usize) -> Result<SemaphorePermit<'_>, InspectError> {
    let units = u32::try_from(units).unwrap_or(u32::MAX);
    let wait = timeout(BUDGET_WAIT, of.acquire_many(units)).await;
    wait.map_err(|_| InspectError::Overload)?.map_err(|_| InspectError::Overload)
}

/// Why an exchange does not pass the inspection.
#[derive(Debug, Error)]
pub enum InspectError {
    /// Its own words.
    #[error("{0}")]
    Blocked(String),
    #[error("the content cannot be shown to the inspector: {0}")]
    Coding(#[from] Unreadable),
    #[error("the exchange with the inspector failed")]
    Exchange(#[source] hyper::Error),
    /// Anything but a verdict; the text stays with the operator.
    #[error("the inspector answered {status} instead of a verdict")]
    Failed { status: u16, text: String },
    #[error("the coded content may carry text beside what it unfolds to")]
    Hidden,
    #[error("too much content is being inspected already")]
    Overload,
    #[error("the inspector let a made-up key pass")]
    Silent,
    #[error("the inspector did not answer in time")]
    Timeout,
    #[error("the exchange that came back is not the one that was asked about")]
    Unconfirmed,
    #[error("the request has a target or field that the inspector cannot be asked about")]
    Unaskable,
    #[error("the inspector cannot be reached")]
    Unreachable(#[source] std::io::Error),
}
