//! The API: HTTP in front of the platform, held against Heroku's schema in both directions.

use std::{convert::Infallible, os::fd::OwnedFd, sync::Arc, time::Duration};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, RANGE, RETRY_AFTER},
    http::request::Parts,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustix::net::sockopt::set_socket_linger;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

use super::{
    Request,
    fault::{Call, Fault},
    platform::{Platform, Refused},
    schema,
};

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, platform: Arc<Platform>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(connection(stream, platform.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, platform: Arc<Platform>) {
    use std::os::fd::AsFd as _;
    let Ok(handle) = stream.as_fd().try_clone_to_owned() else { return };
    let handle = std::sync::Mutex::new(Some(handle));
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (platform, handle) = (platform.clone(), &handle);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(|_| Hangup)?.to_bytes();
            if let Some(answer) = answer(&platform, &head, &body).await {
                return Ok::<_, Hangup>(answer);
            }
            if let Some(handle) = handle.lock().ok().and_then(|mut handle| handle.take()) {
                reset(&handle);
            }
            Err(Hangup)
        }
    });
    // It ends with the connection, however that ends.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// The end of a connection without an answer.
#[derive(Debug)]
struct Hangup;

impl std::fmt::Display for Hangup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is dropped")
    }
}

impl std::error::Error for Hangup {}

/// Lets the connection end by a reset once it is closed.
fn reset(handle: &OwnedFd) {
    let _ = set_socket_linger(handle, Some(Duration::ZERO));
}

/// What goes back.
struct Reply {
    status: u16,
    body: Vec<u8>,
    headers: Vec<(hyper::header::HeaderName, String)>,
}

impl Reply {
    fn json(status: u16, body: &Value) -> Self {
        Self { status, body: body.to_string().into_bytes(), headers: Vec::new() }
    }

    fn error(status: u16, id: &str, message: &str) -> Self {
        Self::json(status, &json!({"id": id, "message": message}))
    }
}

/// The answer to a request; none if the connection is to be reset.
async fn answer(platform: &Arc<Platform>, head: &Parts, body: &Bytes) -> Option<Response<Full<Bytes>>> {
    let call = call(head, platform);
    let at = {
        let mut kept = platform.lock();
        kept.requests.push(Request {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            body: serde_json::from_slice(body).unwrap_or(Value::Null),
            status: None,
        });
        kept.requests.len() - 1
    };
    let fault = call.and_then(|call| {
        let mut kept = platform.lock();
        let at = kept.faults.iter().position(|(of, _)| *of == call)?;
        kept.faults.remove(at).map(|(_, fault)| fault)
    });
    let reply = faulty(platform, head, body, call, fault).await?;
    let tokens = {
        let mut kept = platform.lock();
        kept.requests[at].status = Some(reply.status);
        kept.tokens
    };
    let now = platform.settings.now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let mut answer = Response::builder()
        .status(StatusCode::from_u16(reply.status).expect("a status of HTTP"))
        .header(CONTENT_TYPE, "application/json")
        .header(DATE, now)
        .header("RateLimit-Remaining", tokens);
    for (name, value) in reply.headers {
        answer = answer.header(name, value);
    }
    Some(answer.body(Full::from(reply.body)).expect("the headers are of HTTP"))
}

async fn faulty(
    platform: &Arc<Platform>,
    head: &Parts,
    body: &Bytes,
    call: Option<Call>,
    fault: Option<Fault>,
) -> Option<Reply> {
    match fault {
        None => Some(reply(platform, head, body, call)),
        Some(Fault::Slow(delay)) => {
            let _ = timeout(delay, std::future::pending::<Infallible>()).await;
            Some(reply(platform, head, body, call))
        }
        Some(Fault::Done(fault)) => {
            let done = reply(platform, head, body, call);
            // What could not be done is answered as it is.
            if done.status >= 300 {
                Some(done)
            } else {
                Box::pin(faulty(platform, head, body, None, Some(*fault))).await
            }
        }
        Some(Fault::Silence) => std::future::pending().await,
        Some(Fault::Reset) => None,
        Some(Fault::Malformed(text)) => Some(Reply { status: 200, body: text.into_bytes(), headers: Vec::new() }),
        Some(Fault::Status { status, id, message, limit, retry_after }) => {
            let mut answer = json!({"id": id, "message": message});
            if let Some(limit) = limit {
                answer["limit"] = json!(limit);
            }
            let mut reply = Reply::json(status, &answer);
            reply.headers.extend(retry_after.map(|value| (RETRY_AFTER, value)));
            Some(reply)
        }
    }
}

fn call(head: &Parts, platform: &Platform) -> Option<Call> {
    let app = format!("/apps/{}/", platform.settings.app);
    match (head.method.as_str(), head.uri.path()) {
        ("GET", "/account/rate-limits") => Some(Call::RateLimits),
        (method, path) => match (method, path.strip_prefix(&app)?) {
            ("GET", "formation") => Some(Call::Formation),
            ("GET", "dynos") => Some(Call::Dynos),
            ("PATCH", "formation") => Some(Call::Update),
            _ => None,
        },
    }
}

/// What Heroku would answer.
fn reply(platform: &Arc<Platform>, head: &Parts, body: &Bytes, call: Option<Call>) -> Reply {
    let (method, path) = (head.method.as_str(), head.uri.path());
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if header(AUTHORIZATION) != format!("Bearer {}", platform.settings.token) {
        return Reply::error(401, "unauthorized", "Invalid credentials provided.");
    }
    if header(ACCEPT) != "application/vnd.heroku+json; version=3" {
        return violated(platform, &format!("{method} {path} without version 3: {:?}", header(ACCEPT)));
    }
    let Some(link) = schema::link(method, path) else {
        return violated(platform, &format!("{method} {path} is no call of the API"));
    };
    let wrong = link.request_errors(body);
    if !wrong.is_empty() {
        return violated(platform, &format!("{method} {path}: {wrong:?} in {}", String::from_utf8_lossy(body)));
    }
    if call != Some(Call::RateLimits) && !spend(platform) {
        return Reply::error(429, "rate_limit", "Your account reached the API rate limit.");
    }
    let answer = match call {
        Some(Call::RateLimits) => Ok(json!({"remaining": platform.lock().tokens})),
        Some(Call::Formation) => Ok(Value::from(platform.formation())),
        Some(Call::Dynos) => Ok(Value::from(platform.dynos())),
        Some(Call::Update) => update(platform, body),
        None => one(platform, path),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(refusal) => return refusal,
    };
    let wrong = link.answer_errors(&answer);
    if !wrong.is_empty() {
        platform.lock().violations.push(format!("the fake answers {method} {path} wrongly: {wrong:?} in {answer}"));
    }
    match (answer, platform.settings.page) {
        (Value::Array(items), Some(page)) if method == "GET" => paged(&items, page, header(RANGE)),
        (answer, _) => Reply::json(200, &answer),
    }
}

/// What the driver should never have asked fails the test, whatever the driver makes of the answer.
fn violated(platform: &Platform, what: &str) -> Reply {
    platform.lock().violations.push(what.to_owned());
    Reply::error(400, "bad_request", what)
}

fn spend(platform: &Platform) -> bool {
    let mut kept = platform.lock();
    let left = kept.tokens.checked_sub(1);
    kept.tokens = left.unwrap_or_default();
    left.is_some()
}

fn update(platform: &Arc<Platform>, body: &Bytes) -> Result<Value, Reply> {
    let body: Value = serde_json::from_slice(body).expect("the schema has checked it");
    let updates = body["updates"].as_array().expect("the schema has checked it");
    let mut quantities = Vec::new();
    for update in updates {
        let process_type = update["type"].as_str().expect("the schema has checked it").to_owned();
        let Some(quantity) = update["quantity"].as_u64() else {
            return Err(Reply::error(422, "invalid_params", "quantity must be a number that is not negative."));
        };
        quantities.push((process_type, quantity as u32));
    }
    match platform.scale(&quantities) {
        Err(Refused::NoSuchType) => Err(Reply::error(404, "not_found", "Couldn't find that process type.")),
        Err(Refused::AboveLimit(limit)) => {
            let message = format!("Cannot update to more than {limit} dynos per process type.");
            let answer = json!({"id": "cannot_update_above_limit", "message": message, "limit": limit});
            Err(Reply::json(422, &answer))
        }
        Ok(()) => {
            // The answer tells of a process type at zero too, which the list may leave out.
            let made = quantities.iter().map(|(process_type, _)| platform.process_type(process_type));
            Ok(made.collect())
        }
    }
}

/// A single entry of the formation. One that is hidden is not found.
fn one(platform: &Platform, path: &str) -> Result<Value, Reply> {
    let prefix = format!("/apps/{}/formation/", platform.settings.app);
    let not_found = || Reply::error(404, "not_found", "Couldn't find that app or process type.");
    let process_type = path.strip_prefix(&prefix).ok_or_else(not_found)?;
    platform.formation().into_iter().find(|entry| entry["type"] == process_type).ok_or_else(not_found)
}

/// A part of a list, and where the next begins: by position, which the asker is not to know.
fn paged(items: &[Value], page: usize, range: &str) -> Reply {
    let from = range.strip_prefix("id ]").and_then(|rest| rest.split("..").next()?.parse().ok()).unwrap_or(0);
    let part: Vec<Value> = items.iter().skip(from).take(page).cloned().collect();
    let end = from + part.len();
    if end >= items.len() {
        return Reply::json(200, &Value::from(part));
    }
    let mut reply = Reply::json(206, &Value::from(part));
    reply.headers.push((hyper::header::HeaderName::from_static("next-range"), format!("id ]{end}..; max={page}")));
    reply
}
