//! One exchange, from the request's head to the end of the answer: target, policy, strip, scan, inspect, credential,
//! forward, relay. Plain `http://` requests and intercepted ones meet here; there is no other way to an origin.

use std::{pin::pin, sync::Arc, time::Instant};

use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header, request::Parts, response};
use hyper::body::{Body, Incoming};
use shared::{
    authority::{Authority, Host},
    contract::INTROSPECTION_HOST,
    routes::{InspectMode, ScanMode, Scheme, query},
};

use crate::{
    accept::Seat,
    answers::AnswerScan,
    content::{Collected, Content, Received},
    discretion,
    error::ExchangeError,
    forward::{Answer, ForwardError, OriginContent},
    grpc, hop_by_hop,
    inspect::{Inspection, WayBack, answer::OriginAnswer},
    live::Revocation,
    mask::Mask,
    own_fields,
    policy::{Judged, RequestPermit},
    proxy::Proxy,
    record::{Destination, Id, Recording},
    relay::{AnswerBody, ClientBody, Relay},
    respond,
    scan::{
        Finding,
        stream::{OnFinding, Scanned},
    },
    target,
    upgrade::Upgrade,
    websocket,
};

/// Where a request came from: what it must be for.
#[derive(Clone, Debug)]
pub enum Origin {
    /// In clear, with this authority in its target.
    Clear(Arc<Authority>, Seat),
    /// Inside the tunnel with this id that was opened for this authority.
    Tunnel(Arc<Authority>, Id, Seat),
}

impl Origin {
    fn authority(&self) -> &Arc<Authority> {
        match self {
            Self::Clear(authority, _) | Self::Tunnel(authority, ..) => authority,
        }
    }

    fn scheme(&self) -> Scheme {
        match self {
            Self::Clear(..) => Scheme::Http,
            Self::Tunnel(..) => Scheme::Https,
        }
    }

    fn tunnel(&self) -> Option<Id> {
        match self {
            Self::Clear(..) => None,
            Self::Tunnel(_, id, _) => Some(*id),
        }
    }

    fn seat(&self) -> &Seat {
        match self {
            Self::Clear(_, seat) | Self::Tunnel(_, _, seat) => seat,
        }
    }

    fn destination(&self) -> Destination {
        let (scheme, authority, tunnel) = (self.scheme(), Some(self.authority().clone()), self.tunnel());
        Destination { scheme, authority, tunnel }
    }
}

/// Serves one request; whatever happens, the client gets an answer and the journal a record.
pub async fn serve(proxy: &Arc<Proxy>, origin: &Origin, mut request: Request<Incoming>) -> Response<ClientBody> {
    websocket::translate(&mut request);
    let room = match proxy.journal.room().await {
        Ok(room) => room,
        Err(error) => return respond::unrecorded(StatusCode::SERVICE_UNAVAILABLE, &error.to_string(), None),
    };
    let recording = Recording::begin(room, request.method().clone(), request.version(), origin.destination());
    match exchange(proxy, origin, request, &recording).await {
        Ok(response) => response,
        Err(error) => {
            let (head, body) = respond::refuse(&error, &recording).into_parts();
            discretion::withhold(&proxy.policy, &recording);
            Response::from_parts(head, body.recorded(recording))
        }
    }
}

async fn exchange(
    proxy: &Arc<Proxy>,
    origin: &Origin,
    request: Request<Incoming>,
    recording: &Arc<Recording>,
) -> Result<Response<ClientBody>, ExchangeError> {
    let (mut head, body) = request.into_parts();
    let judged = Arc::new(Judged::new(
        origin.scheme(),
        origin.authority().clone(),
        head.method.clone(),
        target::path_and_query(&head.uri),
        &head.headers,
    ));
    let authority = &judged.authority;
    // First of all, so that no reason and no record repeats a credential.
    if let Some(named) = head.uri.authority() {
        proxy.policy.check_name(named.as_str())?;
    }
    proxy.policy.check_credentials(&judged, &head.headers)?;
    recording.note(|draft| draft.target = Some(judged.target.clone()));
    recording.capture_request(&head.headers);
    check_authority(origin, &head)?;
    if is_introspection(authority) {
        return Ok(introspect(proxy, judged.target.path(), recording));
    }
    own_fields::check(&head.headers).map_err(|own_fields::OwnField(name)| ExchangeError::OwnField(name))?;

    // Judge.
    let permit = proxy.policy.request(&judged, &head.headers).inspect_err(|_| {
        recording.note(|draft| draft.route = proxy.policy.table().routes.find(&authority.host).cloned());
    })?;
    // From here on a reload ends the exchange, wherever it is.
    let revocation = proxy.live.enter(judged.clone());
    recording.note(|draft| {
        draft.route = Some(permit.route().clone());
        draft.rule = Some(permit.rule());
    });
    check_expectation(&head.headers)?;
    let upgrade = Upgrade::take(&mut head, origin.seat())?;
    check_inspectable(&permit, &head, upgrade.is_some())?;

    // Strip.
    strip(&permit, &mut head.headers);
    if let Some(bare) = permit.route().parameter().and_then(|name| query::without(judged.target.as_str(), name)) {
        target::replace(&mut head.uri, &bare)?;
    }
    let target = head.uri.clone();

    // Scan and inspect. Nothing has been resolved or dialled, and no credential of ours is in the head.
    scan_head(&permit, &head, recording)?;
    let (content, way_back, stop) = match body.is_end_stream() && permit.inspect() == InspectMode::Off {
        true => (Content::empty(), None, None),
        false => {
            let received = Received::new(body, revocation.of_content(), recording.clone(), &permit);
            let stop = received.stop();
            let (content, way_back) = Box::pin(judge_content(proxy, &permit, &head, received, recording)).await?;
            (content, way_back, Some(stop))
        }
    };

    // Inject. The table may have changed while content was collected or the inspector thought.
    let permit = proxy.policy.renew(permit, &judged)?;
    let credential = permit.credential()?;
    let injected = credential.map_or(Ok(()), |credential| credential.inject(&mut head));
    recording.note(|draft| {
        draft.allowed = true;
        draft.credential = credential.filter(|_| injected.is_ok()).map(|credential| credential.name.clone());
    });
    injected?;
    let mask = credential.map(|credential| Mask::new(credential));

    // Forward.
    if let Some(upgrade) = upgrade {
        return Box::pin(upgrade.forward(proxy, &permit, head, mask, revocation, recording)).await;
    }
    let offer = proxy.next_hops.offer(authority, head.version);
    head.extensions.clear();
    let request = Request::from_parts(head, content);
    // Made anew from what came: a copy of each head would cost every exchange, and few are sent again. What it holds was
    // judged, for it is what was made of it before; that it was scanned is not left to that.
    let again = |content| {
        let mut again = Request::new(content);
        *again.method_mut() = judged.method.clone();
        *again.uri_mut() = target.clone();
        *again.headers_mut() = judged.fields()?;
        let (mut head, content) = again.into_parts();
        strip(&permit, &mut head.headers);
        scan_head(&permit, &head, recording).ok()?;
        if let Some(credential) = credential {
            credential.inject(&mut head).ok()?;
        }
        Some(Request::from_parts(head, content))
    };
    // Pinned here: a future that is handed on is copied, and this one is large.
    let forwarding = pin!(proxy.next_hops.forward(&permit, request, again, offer, origin.tunnel()));
    let answer = revocation.answer(forwarding, || recording.request_bytes()).await?;
    let answer = answer.unwrap_or(Err(ForwardError::Silent));
    let answer = answer.map_err(|error| stop.and_then(|stop| stop.take()).unwrap_or(ExchangeError::Forward(error)))?;
    if answer.response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(ExchangeError::Forward(ForwardError::Upgrade));
    }
    let scan = AnswerScan::of(&permit, recording);
    match (way_back, &proxy.inspection) {
        (Some(way_back), Some(inspection)) => {
            Box::pin(relay_inspected(inspection, way_back, answer, mask, scan, revocation, recording)).await
        }
        _ => relay(answer, mask, scan, revocation, recording),
    }
}

/// Removes what is not the origin's to see: the client's own credentials, and fields of one connection.
fn strip(permit: &RequestPermit, fields: &mut HeaderMap) {
    permit.table().strip.strip(fields, &permit.route().keep);
    hop_by_hop::strip(fields);
    hop_by_hop::remove_rare(fields, &[header::EXPECT, header::CONTENT_LENGTH]);
}

/// One authority: what the request names is what the tunnel was opened for (RFC 9110 §7.4).
fn check_authority(origin: &Origin, head: &Parts) -> Result<(), ExchangeError> {
    if head.method == Method::CONNECT {
        return Err(ExchangeError::NestedConnect);
    }
    let (expected, default_port) = (origin.authority(), origin.scheme().default_port());
    if target::names_plainly(&head.uri, &head.headers, expected, default_port) {
        return Ok(());
    }
    let named = target::named_authority(&head.uri, &head.headers, default_port)?;
    if named == **expected {
        return Ok(());
    }
    Err(ExchangeError::Misdirected { named, tunnel: (**expected).clone() })
}

fn check_expectation(fields: &HeaderMap) -> Result<(), ExchangeError> {
    match fields.get(header::EXPECT) {
        Some(value) if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            Err(ExchangeError::Expectation(String::from_utf8_lossy(value.as_bytes()).chars().take(40).collect()))
        }
        _ => Ok(()),
    }
}

/// What the inspector cannot judge does not go past it.
fn check_inspectable(permit: &RequestPermit, head: &Parts, upgrade: bool) -> Result<(), ExchangeError> {
    if permit.inspect() == InspectMode::Off {
        return Ok(());
    }
    let route = || permit.route().host.to_string();
    if upgrade {
        return Err(ExchangeError::WebSocketInspected { route: route() });
    }
    let grpc = head
        .headers
        .get_all(header::CONTENT_TYPE)
        .iter()
        .any(|value| value.as_bytes().to_ascii_lowercase().starts_with(b"application/grpc"));
    if grpc {
        return Err(ExchangeError::GrpcInspected { route: route() });
    }
    Ok(())
}

fn scan_head(permit: &RequestPermit, head: &Parts, recording: &Recording) -> Result<(), ExchangeError> {
    if permit.scan() == ScanMode::Off {
        return Ok(());
    }
    let authority = permit.authority().host.bare();
    let target = target::path_and_query(&head.uri);
    let scanner = permit.scanner();
    let scan = |except: &_| scanner.head(&head.method, &authority, target.as_str(), &head.headers, except);
    let scanned = scan(permit.exemptions()).or_else(|finding| {
        if permit.scan() != ScanMode::Record || finding.is_guarded_value() {
            return Err(finding);
        }
        recording.note(|draft| draft.findings.push(finding));
        // What may pass may hide a value of the proxy's own, which may not.
        scan(&scanner.all_but_guarded())
    });
    scanned.map_err(ExchangeError::Scan)
}

/// Scans the content, and asks the inspector where the route wants it. Content that is asked about, or short enough, is
/// judged whole before anything is dialled; longer content is scanned on its way out.
async fn judge_content(
    proxy: &Proxy,
    permit: &RequestPermit,
    head: &Parts,
    received: Received,
    recording: &Arc<Recording>,
) -> Result<(Content, Option<WayBack>), ExchangeError> {
    let inspection = proxy.inspection.as_ref().filter(|_| permit.inspect() != InspectMode::Off);
    let length = received.size_hint().exact();
    let whole = match inspection {
        Some(_) => true,
        None => {
            permit.scan() != ScanMode::Off && length.is_some_and(|length| length <= proxy.limits.scan_buffer as u64)
        }
    };
    if !whole {
        let content = match permit.scan() {
            ScanMode::Off => Content::Streamed(Box::new(received)),
            mode if grpc::is_stream(&head.headers) => {
                let (scanner, except) = (permit.scanner().clone(), permit.exemptions().clone());
                let (stop, on_finding) = (received.stop(), on_finding(mode, recording));
                let messages = grpc::Messages::new(received, &head.headers, scanner, except, on_finding);
                Content::Messages(Box::new(messages), stop)
            }
            mode => {
                let scan = permit.scanner().content(&head.headers, permit.exemptions().clone());
                let stop = received.stop();
                Content::Scanned(Box::new(Scanned::new(received, scan, on_finding(mode, recording))), stop)
            }
        };
        return Ok((content, None));
    }
    let collected = match inspection {
        Some(inspection) => inspection.collect(received, length, proxy.limits.content_silence).await?,
        None => {
            let room = proxy.scanning.reserve(length.unwrap_or_default() as usize).await?;
            let collected = Collected::read(received, proxy.limits.scan_buffer, proxy.limits.content_silence);
            collected.await?.reserved(room)
        }
    };
    if permit.scan() != ScanMode::Off {
        scan_collected(permit, &head.headers, &collected, recording).map_err(ExchangeError::Scan)?;
    }
    let Some(inspection) = inspection else { return Ok((Content::Collected(collected), None)) };
    let started = Instant::now();
    let asked = inspection.pass(permit, head, &collected).await;
    recording.note(|draft| draft.inspect_ms = Some((started.elapsed().as_secs_f64() * 1e6).round() / 1e3));
    Ok((Content::Collected(collected), asked?))
}

fn scan_collected(
    permit: &RequestPermit,
    fields: &HeaderMap,
    collected: &Collected,
    recording: &Recording,
) -> Result<(), Finding> {
    let mut scan = permit.scanner().content(fields, permit.exemptions().clone());
    if permit.scan() == ScanMode::Record {
        scan = scan.overlooking();
    }
    for chunk in collected.chunks() {
        scan.push(chunk.clone())?;
    }
    scan.finish()?;
    if let Some(trailers) = &collected.trailers {
        scan.trailers(trailers)?;
    }
    if let Some(finding) = scan.overlooked() {
        recording.note(|draft| draft.findings.push(finding));
    }
    Ok(())
}

/// What a finding does to content that is on its way.
fn on_finding(mode: ScanMode, recording: &Arc<Recording>) -> OnFinding {
    if mode != ScanMode::Record {
        return OnFinding::Stop;
    }
    let recording = recording.clone();
    OnFinding::Record(Box::new(move |finding| recording.note(|draft| draft.findings.push(finding))))
}

/// Prepares an answer for the client.
pub fn relay(
    answer: Answer,
    mut mask: Option<Mask>,
    scan: Option<AnswerScan>,
    revocation: Revocation,
    recording: &Arc<Recording>,
) -> Result<Response<ClientBody>, ExchangeError> {
    let (head, body) = begin_answer(answer, &mut mask, recording)?;
    let (body, scan) = (AnswerBody::Streamed(body), begun(scan, &head));
    Ok(Response::from_parts(head, Relay::begin(body, recording.clone(), mask, scan, revocation)))
}

/// The same where the inspector judges answers too.
async fn relay_inspected(
    inspection: &Inspection,
    way_back: WayBack,
    answer: Answer,
    mut mask: Option<Mask>,
    scan: Option<AnswerScan>,
    revocation: Revocation,
    recording: &Arc<Recording>,
) -> Result<Response<ClientBody>, ExchangeError> {
    let (mut head, body) = begin_answer(answer, &mut mask, recording)?;
    let origin = OriginAnswer { body, mask, recording: recording.clone() };
    let judging = inspection.answer(way_back, &mut head.headers, origin);
    let body = revocation.unless_revoked(judging).await??;
    let scan = begun(scan, &head);
    Ok(Response::from_parts(head, Relay::begin(body, recording.clone(), None, scan, revocation)))
}

/// An answer's scan that has seen its head.
fn begun(mut scan: Option<AnswerScan>, head: &response::Parts) -> Option<AnswerScan> {
    scan.iter_mut().for_each(|scan| scan.begin(&head.headers));
    scan
}

/// Writes down that an answer came, and makes its head the client's.
fn begin_answer(
    answer: Answer,
    mask: &mut Option<Mask>,
    recording: &Recording,
) -> Result<(response::Parts, OriginContent), ExchangeError> {
    let Answer { response, peer, protocol, connect_ms } = answer;
    let (mut head, body) = response.into_parts();
    recording.note(|draft| {
        draft.next_hop = Some(peer);
        draft.origin_protocol = Some(protocol);
        draft.connect_ms = connect_ms.map(|milliseconds| (milliseconds * 1e3).round() / 1e3);
        draft.first_byte_ms = Some(recording.milliseconds());
        draft.status = Some(head.status);
    });
    if let Some(mask) = mask {
        mask.expect(&head.headers)?;
    }
    answer_fields(&mut head.headers, mask.as_ref(), recording);
    head.version = Version::default();
    head.extensions.clear();
    Ok((head, body))
}

/// What of an answer's fields goes on: nothing of the connection's own, no invitation to go round the proxy, no value of
/// ours.
pub fn answer_fields(fields: &mut HeaderMap, mask: Option<&Mask>, recording: &Recording) {
    hop_by_hop::strip(fields);
    hop_by_hop::remove_rare(fields, &[header::ALT_SVC]);
    if let Some(mask) = mask {
        recording.count_masked(mask.fields(fields));
    }
    recording.capture_response(fields);
}

fn is_introspection(authority: &Authority) -> bool {
    matches!(&authority.host, Host::Name(name) if name.as_ref() == INTROSPECTION_HOST)
}

/// The live table, for the agent to read; it holds names only.
fn introspect(proxy: &Proxy, path: &str, recording: &Recording) -> Response<ClientBody> {
    let response = match path {
        "/allowlist" => respond::json(&proxy.policy.table().routes.to_json()),
        _ => respond::text(StatusCode::NOT_FOUND, "only /allowlist is here\n"),
    };
    recording.note(|draft| {
        draft.outcome = shared::record::Outcome::Completed;
        draft.status = Some(response.status());
    });
    response
}
