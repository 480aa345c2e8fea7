//! A homeserver of a test's own, which answers `whoami` as the test says and nothing else.
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
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, SemaphorePermit},
    task::JoinHandle,
};

/// What was asked of the homeserver.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The path and the query.
    pub target: String,
    /// The headers.
    pub headers: HeaderMap,
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
    asked: Vec<Asked>,
}

#[derive(Clone)]
struct Answer {
    status: StatusCode,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Answer {
    fn of(status: StatusCode, body: &Value) -> Self {
        Self { status, headers: Vec::new(), body: body.to_string() }
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
        self.knowledge().always = Some(Answer { status, headers, body: body.to_owned() });
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
    let target = request.uri().to_string();
    shared.knowledge().asked.push(Asked { target, headers: request.headers().clone() });
    let _answering = shared.answering.acquire().await.expect("the semaphore is never closed");
    let knowledge = shared.knowledge();
    let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = authorization.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let Answer { status, headers, body } = match (&knowledge.always, knowledge.users.get(token)) {
        (Some(always), _) => always.clone(),
        _ if request.uri().path() != "/_matrix/client/v3/account/whoami" => {
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
    response.body(Body::from(body)).expect("a test gives valid headers")
}
