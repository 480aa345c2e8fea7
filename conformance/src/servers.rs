//! The uploading server, as other servers see it.

use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::{Map, Value};
use tintype_domain::Mxc;
use tintype_federation::{MixedDecoder, MixedEvent, authorization};

use crate::{
    Names, checks,
    origin::Origin,
    report::{Report, Verdict, fail, skip},
    subject::{Answer, SIZE, Sample, Subject, send},
};

/// Why nothing is checked here.
const NEEDED: &str = "needs --federation and a server of its own (--name, --listen, --certificate, --key)";

/// A server that asks.
pub(crate) struct Asker<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) origin: &'a Origin,
    pub(crate) url: String,
}

/// Makes all checks that need requests of another server.
pub(crate) async fn check(
    asker: Option<&Asker<'_>>,
    subject: &Subject,
    token: &str,
    names: Names,
    report: &mut Report,
) {
    let all = [checks::TOLD_DOWNLOAD, checks::TOLD_THUMBNAIL, checks::TOLD_KEPT, checks::GONE_SERVERS];
    let Some(asker) = asker else {
        for check in all {
            report.add(check, names, skip(NEEDED));
        }
        return;
    };
    let user = User { asker, subject, token, names };
    report.add(checks::TOLD_DOWNLOAD, names, user.is_told("download").await);
    report.add(checks::TOLD_THUMBNAIL, names, user.is_told("thumbnail").await);
    report.add(checks::TOLD_KEPT, names, user.is_not_told().await);
    report.add(checks::GONE_SERVERS, names, user.is_gone().await);
}

/// Looks at the end whether anybody was told of what was deleted, and asked for before.
pub(crate) fn nobody_is_told(own: Option<&Origin>) -> Verdict {
    let Some(origin) = own else { return skip(NEEDED) };
    match origin.asked().iter().find(|asked| asked.contains("/_matrix/federation/v1/send/")) {
        Some(asked) => fail(format!("a transaction came: {asked}")),
        None => Ok(String::new()),
    }
}

struct User<'a> {
    asker: &'a Asker<'a>,
    subject: &'a Subject,
    token: &'a str,
    names: Names,
}

impl User<'_> {
    /// The flag has to be there, as `true`.
    async fn is_told(&self, endpoint: &str) -> Verdict {
        let sample = Sample::picture();
        let mxc = self.subject.ephemeral(self.names, &sample, self.token).await?;
        let metadata = metadata(&self.asker.ask(endpoint, &mxc).await?)?;
        match metadata.get(self.names.flag()) {
            Some(Value::Bool(true)) => Ok(String::new()),
            other => fail(format!("of ephemeral media the JSON part says {other:?}, not true: {metadata:?}")),
        }
    }

    /// The flag must not be there, or be `false`.
    async fn is_not_told(&self) -> Verdict {
        let mxc = self.subject.upload("", &Sample::picture(), self.token).await?;
        for endpoint in ["download", "thumbnail"] {
            let metadata = metadata(&self.asker.ask(endpoint, &mxc).await?)?;
            if !matches!(metadata.get(self.names.flag()), None | Some(Value::Bool(false))) {
                return fail(format!("of kept media the JSON part of {endpoint} says {metadata:?}"));
            }
        }
        Ok(String::new())
    }

    async fn is_gone(&self) -> Verdict {
        let mxc = self.subject.ephemeral(self.names, &Sample::picture(), self.token).await?;
        for endpoint in ["download", "thumbnail"] {
            metadata(&self.asker.ask(endpoint, &mxc).await?)?;
        }
        self.subject.delete_own(self.names, &mxc, self.token).await?;
        for endpoint in ["download", "thumbnail"] {
            self.asker.ask(endpoint, &mxc).await?.gives_nothing(endpoint)?;
        }
        Ok(String::new())
    }
}

impl Asker<'_> {
    /// Asks for media as a server, signed.
    async fn ask(&self, endpoint: &str, mxc: &Mxc) -> Verdict<Answer> {
        let query = if endpoint == "thumbnail" { format!("?{SIZE}") } else { String::new() };
        let target = format!("/_matrix/federation/v1/media/{endpoint}/{}{query}", mxc.media_id);
        let signature = authorization(self.origin.key(), self.origin.name(), &mxc.server_name, "GET", &target);
        let signature = signature.or_else(|error| fail(error.to_string()))?;
        let request = self.subject.http.request(Method::GET, format!("{}{target}", self.url));
        send(request.header("authorization", signature)).await
    }
}

/// The JSON part of an answer, whose media has to be whole.
fn metadata(answer: &Answer) -> Verdict<Map<String, Value>> {
    if answer.status != 200 {
        return fail(format!("a signed request of a server is answered with {}", answer.described()));
    }
    let content_type = answer.headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let decoded = MixedDecoder::new(content_type).and_then(|mut decoder| {
        decoder.push(answer.body.clone());
        decoder.finish();
        let mut metadata = None;
        while let Some(event) = decoder.next_event()? {
            if let MixedEvent::Metadata(map) = event {
                metadata = Some(map);
            }
        }
        Ok(metadata.unwrap_or_default())
    });
    decoded.or_else(|error| fail(format!("the multipart answer cannot be read: {error}")))
}
