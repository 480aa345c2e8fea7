//! The uploading server, as its users see it.

use reqwest::Method;
use tintype_domain::{MediaId, Mxc, OsRandomness, ServerName};

use crate::{
    Names, Tokens,
    checks::{self, Check},
    report::{Report, Verdict, fail, skip},
    subject::{Sample, Subject, download, random_word, send, thumbnail},
};

/// What two answers of the proposal fit.
const NOT_FOUND_OR_FORBIDDEN: &[(u16, &str)] = &[(404, "M_NOT_FOUND"), (403, "M_FORBIDDEN")];

const FORBIDDEN: &[(u16, &str)] = &[(403, "M_FORBIDDEN")];

/// A user at the server, and the names under which it is asked.
struct Uploader<'a> {
    subject: &'a Subject,
    tokens: &'a Tokens,
    names: Names,
}

/// Makes all checks that need nobody but users.
pub(crate) async fn check(subject: &Subject, tokens: &Tokens, names: Names, report: &mut Report) {
    let uploader = Uploader { subject, tokens, names };
    let mut add = |check: Check, verdict: Verdict| report.add(check, names, verdict);
    add(checks::UPLOAD_FLAG, uploader.upload_flag().await);
    add(checks::CREATE_FLAG, uploader.create_flag().await);
    add(checks::DEFAULT_KEPT, uploader.is_kept("").await);
    add(checks::FALSE_KEPT, uploader.is_kept(&format!("?{}=false", names.flag())).await);
    add(checks::DELETE_OWN, uploader.delete_own().await);
    let gone = uploader.deleted().await;
    for (check, method, path, token, range) in [
        (checks::GONE_DOWNLOAD, Method::GET, download as fn(&Mxc) -> String, Some(tokens.first.as_str()), None),
        (checks::GONE_HEAD, Method::HEAD, download, Some(tokens.first.as_str()), None),
        (checks::GONE_RANGE, Method::GET, download, Some(tokens.first.as_str()), Some("bytes=0-3")),
        (checks::GONE_OLD, Method::GET, old_download, None, None),
    ] {
        let verdict = match &gone {
            Ok(mxc) => uploader.is_gone(method, &path(mxc), token, range).await,
            Err(seen) => fail(seen),
        };
        add(check, verdict);
    }
    add(checks::GONE_THUMBNAIL, uploader.thumbnails_go().await);
    add(checks::DELETE_AGAIN, uploader.delete_again().await);
    add(checks::DELETE_UNKNOWN, uploader.delete_unknown().await);
    add(checks::DELETE_REMOTE, uploader.delete_remote().await);
    add(checks::DELETE_KEPT, uploader.delete_kept().await);
    add(checks::DELETE_ANOTHERS, uploader.delete_anothers().await);
    add(checks::DELETE_TOKENLESS, uploader.delete_without_token().await);
    add(checks::DELETE_GUEST, uploader.delete_as_guest().await);
    add(checks::ID_ONCE, uploader.id_is_used_once().await);
}

impl Uploader<'_> {
    fn token(&self) -> &str {
        &self.tokens.first
    }

    async fn ephemeral(&self, sample: &Sample) -> Verdict<Mxc> {
        self.subject.ephemeral(self.names, sample, self.token()).await
    }

    /// Ephemeral media that was deleted, if it can be; else what was seen.
    async fn deleted(&self) -> Result<Mxc, String> {
        let delete = async {
            let mxc = self.ephemeral(&Sample::text()).await?;
            self.subject.delete_own(self.names, &mxc, self.token()).await?;
            Ok(mxc)
        };
        delete.await.map_err(|trouble: crate::report::Trouble| format!("nothing could be deleted: {trouble}"))
    }

    async fn upload_flag(&self) -> Verdict {
        let sample = Sample::text();
        let mxc = self.ephemeral(&sample).await?;
        self.subject.gives(&mxc, &sample, self.token()).await?;
        self.subject.delete_own(self.names, &mxc, self.token()).await
    }

    async fn create_flag(&self) -> Verdict {
        let (sample, token) = (Sample::text(), self.token());
        let mxc = self.subject.create(self.names, token).await?;
        let put = self.subject.put(&mxc, &sample, token).await?;
        if put.status != 200 {
            return fail(format!("the PUT answered {}", put.described()));
        }
        self.subject.gives(&mxc, &sample, token).await?;
        self.subject.delete_own(self.names, &mxc, token).await?;
        self.is_gone(Method::GET, &download(&mxc), Some(token), None).await
    }

    /// Media uploaded like this cannot be deleted.
    async fn is_kept(&self, query: &str) -> Verdict {
        let sample = Sample::text();
        let mxc = self.subject.upload(query, &sample, self.token()).await?;
        self.subject.delete(self.names, &mxc, self.token()).await?.is_error(FORBIDDEN)?;
        self.subject.gives(&mxc, &sample, self.token()).await
    }

    async fn delete_own(&self) -> Verdict {
        let mxc = self.ephemeral(&Sample::text()).await?;
        self.subject.delete_own(self.names, &mxc, self.token()).await
    }

    async fn is_gone(&self, method: Method, path: &str, token: Option<&str>, range: Option<&str>) -> Verdict {
        let mut request = self.subject.request(method, path, token);
        if let Some(range) = range {
            request = request.header("range", range);
        }
        send(request).await?.gives_nothing(path)
    }

    async fn thumbnails_go(&self) -> Verdict {
        let mxc = self.ephemeral(&Sample::picture()).await?;
        let path = thumbnail(&mxc);
        let before = self.subject.get(&path, self.token()).await?;
        self.subject.delete_own(self.names, &mxc, self.token()).await?;
        if before.status != 200 {
            return skip(format!("the server makes no thumbnail of a JPEG: {}", before.described()));
        }
        self.subject.get(&path, self.token()).await?.gives_nothing("the thumbnail")
    }

    async fn delete_again(&self) -> Verdict {
        let mxc = self.deleted().await.or_else(fail)?;
        self.subject.delete(self.names, &mxc, self.token()).await?.is_error(NOT_FOUND_OR_FORBIDDEN)
    }

    async fn delete_unknown(&self) -> Verdict {
        let sample = Sample::text();
        let known = self.ephemeral(&sample).await?;
        let unknown = Mxc { media_id: MediaId::random(&OsRandomness), ..known.clone() };
        let verdict = self.subject.delete(self.names, &unknown, self.token()).await?.is_error(NOT_FOUND_OR_FORBIDDEN);
        self.subject.gives(&known, &sample, self.token()).await?;
        verdict
    }

    async fn delete_remote(&self) -> Verdict {
        let server_name = ServerName::parse("conformance.invalid").expect("this is a server name");
        let remote = Mxc { server_name, media_id: MediaId::random(&OsRandomness) };
        self.subject.delete(self.names, &remote, self.token()).await?.is_error(NOT_FOUND_OR_FORBIDDEN)
    }

    async fn delete_kept(&self) -> Verdict {
        self.is_kept("").await
    }

    async fn delete_anothers(&self) -> Verdict {
        let Some(second) = &self.tokens.second else { return skip("needs --second-token") };
        let sample = Sample::text();
        let mxc = self.ephemeral(&sample).await?;
        self.subject.delete(self.names, &mxc, second).await?.is_error(FORBIDDEN)?;
        self.subject.gives(&mxc, &sample, self.token()).await
    }

    async fn delete_without_token(&self) -> Verdict {
        let sample = Sample::text();
        let mxc = self.ephemeral(&sample).await?;
        let delete = send(self.subject.request(Method::DELETE, &self.names.delete(&mxc), None)).await?;
        delete.is_error(&[(401, "M_MISSING_TOKEN")])?;
        let delete = self.subject.delete(self.names, &mxc, &random_word()).await?;
        delete.is_error(&[(401, "M_UNKNOWN_TOKEN")])?;
        self.subject.gives(&mxc, &sample, self.token()).await
    }

    async fn delete_as_guest(&self) -> Verdict {
        let Some(guest) = &self.tokens.guest else { return skip("needs --guest-token") };
        let sample = Sample::text();
        let mxc = self.ephemeral(&sample).await?;
        let delete = self.subject.delete(self.names, &mxc, guest).await?;
        if !(400..500).contains(&delete.status) {
            return fail(format!("DELETE of a guest answered {}", delete.described()));
        }
        self.subject.gives(&mxc, &sample, self.token()).await
    }

    async fn id_is_used_once(&self) -> Verdict {
        let (mxc, token) = (self.subject.create(self.names, self.token()).await?, self.token());
        let put = self.subject.put(&mxc, &Sample::text(), token).await?;
        if put.status != 200 {
            return fail(format!("the PUT answered {}", put.described()));
        }
        self.subject.delete_own(self.names, &mxc, token).await?;
        let again = self.subject.put(&mxc, &Sample::text(), token).await?;
        again.gives_nothing("a PUT to the deleted ID")?;
        self.subject.get(&download(&mxc), token).await?.gives_nothing("the download")?;
        Ok(String::new())
    }
}

fn old_download(mxc: &Mxc) -> String {
    format!("/_matrix/media/v3/download/{}/{}", mxc.server_name, mxc.media_id)
}
