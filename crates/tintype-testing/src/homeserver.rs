//! A homeserver of a test's own, which answers `whoami`, and what else the test says.
//!
//! Against a real Synapse Tintype is tested in `e2e`; this one gives the answers that Synapse cannot be made to give.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, SemaphorePermit},
    task::JoinHandle,
};

/// What was asked of the homeserver.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The method.
    pub method: Method,
    /// The path and the query.
    pub target: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// A homeserver that knows only what it is told. Dropping it stops it.
pub struct FakeHomeserver {
    name: String,
    address: SocketAddr,
    state: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    state: Mutex<Knowledge>,
    /// Taken for each answer; a test that holds it holds the answers back.
    answering: Semaphore,
}

#[derive(Default)]
struct Knowledge {
    users: HashMap<String, Value>,
    /// What is answered whoever asks.
    always: Option<Answer>,
    /// What is answered to a method and a path, to whoever has a token or, without one, to everybody. The newest first.
    routes: Vec<(Method, String, Option<String>, Answer)>,
    asked: Vec<Asked>,
}

#[derive(Clone)]
struct Answer {
    status: StatusCode,
    headers: Vec<(&'static str, String)>,
    body: String,
    end: End,
}

/// How an answer ends.
#[derive(Clone, Copy)]
enum End {
    /// As it should.
    Whole,
    /// In the middle of its body, with its connection.
    Cut,
}

impl Answer {
    fn of(status: StatusCode, body: &Value) -> Self {
        Self { status, headers: Vec::new(), body: body.to_string(), end: End::Whole }
    }
}

/// Answers at once that are possible: all that a test asks for.
const ANSWERS: usize = 1000;

impl FakeHomeserver {
    /// Starts the homeserver of `example.org`.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("there is a free port");
        let address = listener.local_addr().expect("the socket is bound");
        let state = Arc::new(Shared { state: Mutex::default(), answering: Semaphore::new(ANSWERS) });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&state));
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves until it is stopped");
        });
        Self { name: "example.org".to_owned(), address, state, serving }
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The configuration of a Tintype beside it.
    pub fn config(&self) -> String {
        format!("\n[[server]]\nname = '{}'\nhomeserver = '{}'\n", self.name, self.url())
    }

    /// Makes `token` that of a user whom `whoami` describes so.
    pub fn knows(&self, token: &str, whoami: Value) {
        self.knowledge().users.insert(token.to_owned(), whoami);
    }

    /// Makes `token` that of an ordinary user.
    pub fn log_in(&self, localpart: &str, token: &str) {
        let user_id = format!("@{localpart}:{}", self.name);
        self.knows(token, json!({ "user_id": user_id, "device_id": "DEVICE", "is_guest": false }));
    }

    /// Answers so from now on, whoever asks.
    ///
    /// # Panics
    /// If it is no status.
    pub fn always_answers(&self, status: u16, headers: &[(&'static str, &str)], body: &str) {
        let status = StatusCode::from_u16(status).expect("it is a status");
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.knowledge().always = Some(Answer { status, headers, body: body.to_owned(), end: End::Whole });
    }

    /// Answers so to this method and path (percent-encoded as it is asked, without the query), whoever asks. What was said
    /// later comes first.
    ///
    /// # Panics
    /// If it is no status.
    pub fn answers(&self, method: Method, path: &str, status: u16, body: &Value) {
        self.answers_to(method, path, None, status, body);
    }

    /// The same, to whoever has this token, or acts as this user as an application service.
    ///
    /// # Panics
    /// If it is no status.
    pub fn answers_to(&self, method: Method, path: &str, token: Option<&str>, status: u16, body: &Value) {
        let answer = Answer::of(StatusCode::from_u16(status).expect("it is a status"), body);
        let route = (method, path.to_owned(), token.map(str::to_owned), answer);
        self.knowledge().routes.insert(0, route);
    }

    /// Answers with this text to this method and path, whoever asks.
    ///
    /// # Panics
    /// If it is no status.
    pub fn answers_text(&self, method: Method, path: &str, status: u16, body: &str) {
        let status = StatusCode::from_u16(status).expect("it is a status");
        self.answers_with(method, path, Answer { body: body.to_owned(), ..Answer::of(status, &Value::Null) });
    }

    /// Breaks its answer to this method and path off, having done what was asked.
    pub fn cuts(&self, method: Method, path: &str) {
        let answer = Answer { end: End::Cut, ..Answer::of(StatusCode::OK, &json!({ "event_id": "$cut" })) };
        self.answers_with(method, path, answer);
    }

    fn answers_with(&self, method: Method, path: &str, answer: Answer) {
        self.knowledge().routes.insert(0, (method, path.to_owned(), None, answer));
    }

    /// Answers by what it knows again.
    pub fn answers_again(&self) {
        self.knowledge().always = None;
    }

    /// Gives no answer until what is returned is dropped.
    ///
    /// # Panics
    /// Never: the homeserver lives.
    pub async fn hold_back(&self) -> SemaphorePermit<'_> {
        let all = u32::try_from(ANSWERS).expect("it is a small number");
        self.state.answering.acquire_many(all).await.expect("the semaphore is never closed")
    }

    /// Stops it: nothing listens at its address when this returns.
    pub async fn stop(mut self) {
        self.serving.abort();
        // What it returns is that it was aborted.
        let _ = (&mut self.serving).await;
    }

    /// Everything that it was asked, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.knowledge().asked.clone()
    }

    fn knowledge(&self) -> MutexGuard<'_, Knowledge> {
        self.state.knowledge()
    }
}

impl Drop for FakeHomeserver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    fn knowledge(&self) -> MutexGuard<'_, Knowledge> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    // What breaks off was asked as far as it came.
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let asked =
        Asked { method: head.method.clone(), target: head.uri.to_string(), headers: head.headers.clone(), body };
    shared.knowledge().asked.push(asked);
    let _answering = shared.answering.acquire().await.expect("the semaphore is never closed");
    let knowledge = shared.knowledge();
    let authorization = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = authorization.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let acts_as = |user: &str| head.uri.query().is_some_and(|query| query.contains(&format!("user_id={user}")));
    let route = knowledge.routes.iter().find(|(method, path, of, _)| {
        *method == head.method
            && path == head.uri.path()
            && of.as_deref().is_none_or(|of| of == token || acts_as(&of.replace('@', "%40").replace(':', "%3A")))
    });
    let Answer { status, headers, body, end } = match (&knowledge.always, knowledge.users.get(token)) {
        (Some(always), _) => always.clone(),
        _ if route.is_some() => route.expect("it was just found").3.clone(),
        _ if head.uri.path() != "/_matrix/client/v3/account/whoami" => {
            Answer::of(StatusCode::NOT_FOUND, &json!({ "errcode": "M_UNRECOGNIZED", "error": "Unrecognized" }))
        }
        (None, Some(whoami)) => Answer::of(StatusCode::OK, whoami),
        (None, None) => {
            let body = json!({ "errcode": "M_UNKNOWN_TOKEN", "error": "Nobody has this token", "soft_logout": false });
            Answer::of(StatusCode::UNAUTHORIZED, &body)
        }
    };
    let mut response = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    for (name, value) in headers {
        response = response.header(name, value);
    }
    let body = match end {
        End::Whole => Body::from(body),
        End::Cut => {
            response = response.header(header::CONTENT_LENGTH, body.len());
            let beginning = Bytes::from(body).slice(..5);
            Body::from_stream(futures_util::stream::iter([Ok(beginning), Err(std::io::Error::other("it is cut"))]))
        }
    };
    response.body(body).expect("a test gives valid headers")
}
