//! A `PUT` that goes on where it stopped (*Resumable Uploads for HTTP*, draft-ietf-httpbis-resumable-upload).
//!
//! The URI of the upload is known beforehand, so the draft's 104 responses are not needed: the `PUT` says
//! `Upload-Complete: ?1`, and when it is interrupted `HEAD` on the same URI tells how much the server has, which may be
//! less than what was sent, and `PATCH` sends the rest. If the server has nothing the `PUT` is sent anew, since only it
//! carries the type and the name.

use reqwest::{Method, RequestBuilder, Response, StatusCode, header::CONTENT_TYPE};
use tintype_http::resumable::{
    COMPLETE, UPLOAD_COMPLETE, UPLOAD_LENGTH, UPLOAD_OFFSET, upload_complete, upload_length, upload_offset,
};
use tokio::time::sleep;

use crate::{
    Error, Event, TransportErrorKind,
    client::refusal,
    exchange::{Content, send, send_content},
    put::{Put, Start, UPLOAD},
    retry::Failures,
};

/// The media type of a part (section "Media Type application/partial-upload").
const PARTIAL: &str = "application/partial-upload";

#[derive(Clone, Copy)]
enum Step {
    Begin,
    Ask,
    Append(u64),
}

/// What is known after a step that was not interrupted.
enum Outcome {
    Stored,
    /// The server has so many bytes.
    Has(u64),
    /// The server does not want it, and would not at another time.
    Refused(Error),
}

impl Put {
    pub(crate) async fn send_resumably(self) -> Result<(), Error> {
        let length = self.source.length().ok_or(Error::SourceReadOnce)?;
        let mut failures = Failures::none(self.client.shared.retry);
        let mut farthest = 0;
        let mut first = true;
        let mut step = match self.start {
            Start::Clean => Step::Begin,
            Start::WhereItStopped => Step::Ask,
        };
        loop {
            let outcome = match step {
                Step::Begin => self.begin(length).await,
                Step::Ask => self.ask(length).await,
                Step::Append(offset) => self.append(offset, length).await,
            };
            match outcome {
                Ok(Outcome::Stored) => return Ok(()),
                Ok(Outcome::Refused(error)) => return Err(error),
                Ok(Outcome::Has(offset)) => {
                    if offset > farthest {
                        farthest = offset;
                        failures.forget();
                    }
                    self.listener.tell(Event::Resumed { at: offset });
                    step = if offset == 0 { Step::Begin } else { Step::Append(offset) };
                }
                // Nothing was begun that could go on.
                Err(error) if first && never_connected(&error) => return Err(error),
                Err(error) => {
                    let Some(pause) = failures.pause_after(&error) else { return Err(error) };
                    self.listener.tell(Event::Paused { error: &error, pause });
                    sleep(pause).await;
                    step = Step::Ask;
                }
            }
            first = false;
        }
    }

    /// `PUT` of all.
    async fn begin(&self, length: u64) -> Result<Outcome, Error> {
        let request = self.client.media_request(Method::PUT, UPLOAD, &self.mxc);
        let request = self.label.put_on(request)?.header(UPLOAD_LENGTH, length);
        let response = self.send_rest(request, 0, length).await?;
        // Another upload is in the way. Once it is whole it would be taken for ours, so nothing is asked after that.
        if response.status() == StatusCode::CONFLICT {
            return Ok(Outcome::Refused(refusal(response, self.client.shared.idle).await));
        }
        // A success without the field comes from a server that knows only plain uploads, and has stored it all.
        self.outcome(response, true).await
    }

    /// `PATCH` with what follows the first `offset` bytes.
    async fn append(&self, offset: u64, length: u64) -> Result<Outcome, Error> {
        let request = self.client.media_request(Method::PATCH, UPLOAD, &self.mxc);
        let request = request.header(CONTENT_TYPE, PARTIAL).header(UPLOAD_OFFSET, offset);
        let response = self.send_rest(request, offset, length).await?;
        self.outcome(response, false).await
    }

    async fn send_rest(&self, request: RequestBuilder, at: u64, length: u64) -> Result<Response, Error> {
        let pieces = self.source.pieces_from(at).ok_or(Error::SourceReadOnce)?;
        let content = Content { pieces, at, announced: Some(length) };
        let request = request.header(UPLOAD_COMPLETE, COMPLETE);
        send_content(request, content, self.listener.clone(), self.client.shared.idle).await
    }

    async fn outcome(&self, response: Response, complete_unless_said: bool) -> Result<Outcome, Error> {
        let complete = upload_complete(response.headers());
        if response.status().is_success() {
            return if complete.unwrap_or(complete_unless_said) { Ok(Outcome::Stored) } else { Err(Error::Incomplete) };
        }
        // Another offset than ours: whoever asks next learns the right one.
        if response.status() == StatusCode::CONFLICT
            && complete != Some(true)
            && upload_offset(response.headers()).is_some()
        {
            return Err(Error::Incomplete);
        }
        let error = refusal(response, self.client.shared.idle).await;
        // Then it is about the media, not about the transfer, whatever its status is.
        if complete == Some(true) { Ok(Outcome::Refused(error)) } else { Err(error) }
    }

    /// `HEAD`: how much the server has.
    async fn ask(&self, length: u64) -> Result<Outcome, Error> {
        let idle = self.client.shared.idle;
        let response = send(self.client.media_request(Method::HEAD, UPLOAD, &self.mxc), idle).await?;
        if !response.status().is_success() {
            return Err(refusal(response, idle).await);
        }
        let headers = response.headers();
        let Some(offset) = upload_offset(headers) else {
            return Err(Error::Answer("it does not say how much of the upload there is".to_owned()));
        };
        let whole = offset == length;
        let complete = upload_complete(headers) == Some(true);
        if offset > length || (complete && !whole) || upload_length(headers).is_some_and(|theirs| theirs != length) {
            return Ok(Outcome::Refused(Error::OtherUpload { offset }));
        }
        Ok(if complete { Outcome::Stored } else { Outcome::Has(offset) })
    }
}

fn never_connected(error: &Error) -> bool {
    matches!(error, Error::Transport(error) if error.kind == TransportErrorKind::Connect)
}
