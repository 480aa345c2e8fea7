//! Asking for media, whole or in small, and waiting for media that is reserved but not uploaded yet (MSC2246).
//!
//! One request waits as long as the server lets it (`timeout_ms`, and the server's own limit). To wait longer, it is
//! asked again: at once when the time was up, after a pause when the server answered early because it is under
//! pressure.

use std::{fmt, pin::Pin, time::Duration};

use reqwest::{
    Method, RequestBuilder, Response, StatusCode, Version,
    header::{IF_RANGE, RANGE, TRANSFER_ENCODING},
};
use tintype_domain::Mxc;
use tokio::time::{Instant, sleep};

use crate::{
    Client, Download, Error, ErrorCode, Event,
    client::refusal,
    exchange::send,
    retry::{FAR_OFF, Failures, Listener},
};

/// How long a server waits if `timeout_ms` is not given (client-server API, "Asynchronous uploads").
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);

/// The least pause after an answer that came before its time.
const LEAST_PAUSE: Duration = Duration::from_millis(100);

/// A request for media, which is sent when it is awaited. What it gives has its headers; the bytes are still to come.
#[must_use = "nothing is sent before it is awaited"]
pub struct MediaRequest {
    question: Question,
    wait: Option<Duration>,
    begun: Option<(u64, Option<String>)>,
}

/// What is asked for; it can be asked again, for the rest.
pub(crate) struct Question {
    pub(crate) client: Client,
    path: &'static [&'static str],
    pub(crate) mxc: Mxc,
    query: Vec<(&'static str, String)>,
    timeout: Option<Duration>,
    pub(crate) listener: Listener,
}

impl MediaRequest {
    pub(crate) fn new(
        client: &Client,
        path: &'static [&'static str],
        mxc: &Mxc,
        query: Vec<(&'static str, String)>,
    ) -> Self {
        let (client, mxc) = (client.clone(), mxc.clone());
        let question = Question { client, path, mxc, query, timeout: None, listener: Listener::default() };
        Self { question, wait: None, begun: None }
    }

    /// How long one request waits for media that is not uploaded yet (`timeout_ms`): 20 seconds if nothing is given.
    /// Servers have a limit of their own.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.question.timeout = Some(timeout);
        self
    }

    /// How long to keep asking for media that is not uploaded yet, and while the server is busy. The last answer is the
    /// error, if nothing came.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    /// Goes on after the first `offset` bytes, which came earlier with this entity tag. If they are not the beginning
    /// of what the server has now, as far as it can tell, the download fails with [`Error::Changed`].
    pub fn continue_from(mut self, offset: u64, etag: Option<String>) -> Self {
        self.begun = Some((offset, etag));
        self
    }

    /// Is told how far it is, and when it waits, is interrupted and goes on.
    pub fn on_event(mut self, listener: impl Fn(Event<'_>) + Send + Sync + 'static) -> Self {
        self.question.listener = Listener::new(listener);
        self
    }

    async fn send(self) -> Result<Download, Error> {
        let Self { question, wait, begun } = self;
        let (offset, etag) = begun.unwrap_or_default();
        let response = match wait {
            None => question.ask(offset, etag.as_deref(), question.timeout).await?,
            Some(wait) => question.keep_asking(offset, etag.as_deref(), Instant::now() + wait.min(FAR_OFF)).await?,
        };
        Download::begin(question, offset, etag, response)
    }
}

impl Question {
    /// Asks once for what follows the first `offset` bytes, waiting as long as was asked for.
    pub(crate) async fn ask_again(&self, offset: u64, etag: Option<&str>) -> Result<Response, Error> {
        self.ask(offset, etag, self.timeout).await
    }

    async fn ask(&self, offset: u64, etag: Option<&str>, timeout: Option<Duration>) -> Result<Response, Error> {
        let idle = self.client.shared.idle;
        let patience = idle.saturating_add(timeout.unwrap_or(DEFAULT_TIMEOUT));
        let response = send(self.request(offset, etag, timeout), patience).await?;
        match response.status() {
            StatusCode::RANGE_NOT_SATISFIABLE if offset > 0 => Ok(response),
            StatusCode::OK | StatusCode::PARTIAL_CONTENT if has_end(&response) => Ok(response),
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Err(Error::NoEnd),
            _ => Err(refusal(response, idle).await),
        }
    }

    fn request(&self, offset: u64, etag: Option<&str>, timeout: Option<Duration>) -> RequestBuilder {
        let mut request = self.client.media_request(Method::GET, self.path, &self.mxc).query(&self.query);
        if let Some(timeout) = timeout {
            request = request.query(&[("timeout_ms", timeout.as_millis().to_string())]);
        }
        if offset > 0 {
            request = request.header(RANGE, format!("bytes={offset}-"));
            if let Some(etag) = etag {
                request = request.header(IF_RANGE, etag);
            }
        }
        request
    }

    async fn keep_asking(&self, offset: u64, etag: Option<&str>, deadline: Instant) -> Result<Response, Error> {
        let mut failures = Failures::none(self.client.shared.retry);
        loop {
            let begin = Instant::now();
            let timeout = self.timeout.unwrap_or(DEFAULT_TIMEOUT).min(deadline - begin);
            let error = match self.ask(offset, etag, Some(timeout)).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(error);
            }
            let pause = if error.errcode() == Some(&ErrorCode::NOT_YET_UPLOADED) {
                let asked_for = error.retry_after().unwrap_or_default();
                let pause =
                    if begin.elapsed() < timeout / 2 { failures.pause().max(LEAST_PAUSE) } else { Duration::ZERO };
                pause.max(asked_for).min(left)
            } else {
                match failures.pause_after(&error) {
                    Some(pause) if pause <= left => pause,
                    _ => return Err(error),
                }
            };
            self.listener.tell(Event::Paused { error: &error, pause });
            sleep(pause).await;
        }
    }
}

/// Whether the end of the answer can be told from a connection that broke. In HTTP/1 an answer may go on until the
/// connection is closed (RFC 9112, section 6.3), by whatever closes it.
fn has_end(response: &Response) -> bool {
    response.version() >= Version::HTTP_2
        || response.content_length().is_some()
        || response.headers().contains_key(TRANSFER_ENCODING)
}

impl IntoFuture for MediaRequest {
    type Output = Result<Download, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl fmt::Debug for MediaRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MediaRequest")
            .field("question", &self.question)
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("path", &self.path)
            .field("mxc", &self.mxc)
            .field("query", &self.query)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
