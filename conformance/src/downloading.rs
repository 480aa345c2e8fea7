//! The downloading server: what it keeps of ephemeral media of another one.

use serde_json::{Map, Value};
use tintype_domain::Mxc;

use crate::{
    Day, Names, checks,
    checks::Check,
    origin::Origin,
    report::{Report, Verdict, fail, skip},
    subject::{Sample, Subject, download, thumbnail},
};

/// Why nothing is checked here.
const NEEDED: &str = "needs a server of its own (--name, --listen, --certificate, --key)";

/// Why the last ones are not.
const NO_DAY: &str = "needs --day, which waits for 24 hours";

/// Where the server under test gives what it has fetched.
struct Fetched {
    names: Names,
    media: Option<String>,
    thumbnail: Option<String>,
}

/// Has media fetched, takes it away, and looks again, at once and after a day.
pub(crate) async fn check(
    origin: Option<&Origin>,
    subject: &Subject,
    token: &str,
    names: &[Names],
    day: Day,
    report: &mut Report,
) {
    let Some(origin) = origin else {
        let all = [
            checks::FETCH_EPHEMERAL,
            checks::FETCH_THUMBNAIL,
            checks::FETCH_ODD,
            checks::FETCH_DELETED,
            checks::DAY_MEDIA,
            checks::DAY_THUMBNAIL,
        ];
        for names in names {
            for check in all {
                report.add(check, *names, skip(NEEDED));
            }
        }
        return;
    };
    let downloader = Downloader { origin, subject, token };
    let mut fetched = Vec::new();
    for names in names {
        fetched.push(downloader.fetch(*names, report).await);
    }
    let has_passed = match day {
        Day::NotAwaited => false,
        Day::Awaited(day) => {
            day.await;
            true
        }
    };
    for Fetched { names, media, thumbnail } in fetched {
        for (check, fetched) in [(checks::DAY_MEDIA, media), (checks::DAY_THUMBNAIL, thumbnail)] {
            let verdict = match (has_passed, fetched) {
                (false, _) => skip(NO_DAY),
                (true, None) => skip("it was not fetched"),
                (true, Some(path)) => downloader.is_not_kept(&path).await,
            };
            report.add(check, names, verdict);
        }
    }
}

struct Downloader<'a> {
    origin: &'a Origin,
    subject: &'a Subject,
    token: &'a str,
}

impl Downloader<'_> {
    async fn fetch(&self, names: Names, report: &mut Report) -> Fetched {
        let mut add = |check: Check, verdict: Verdict| {
            let good = verdict.is_ok();
            report.add(check, names, verdict);
            good
        };
        let sample = Sample::picture();
        let media = self.offer(&sample, names, Value::Bool(true));
        let has_media = add(checks::FETCH_EPHEMERAL, self.subject.gives(&media, &sample, self.token).await);
        let of_thumbnail = self.offer(&Sample::picture(), names, Value::Bool(true));
        let has_thumbnail = add(checks::FETCH_THUMBNAIL, self.gives(&thumbnail(&of_thumbnail)).await);
        let odd = self.offer(&sample, names, Value::String("yes".to_owned()));
        add(checks::FETCH_ODD, self.subject.gives(&odd, &sample, self.token).await);
        for mxc in [&media, &of_thumbnail] {
            self.origin.withdraw(mxc);
        }
        add(checks::FETCH_DELETED, self.shows_what_it_keeps(&download(&media)).await);
        Fetched {
            names,
            media: has_media.then(|| download(&media)),
            thumbnail: has_thumbnail.then(|| thumbnail(&of_thumbnail)),
        }
    }

    fn offer(&self, sample: &Sample, names: Names, flag: Value) -> Mxc {
        self.origin.offer(sample.clone(), Map::from_iter([(names.flag().to_owned(), flag)]))
    }

    async fn gives(&self, path: &str) -> Verdict {
        let answer = self.subject.get(path, self.token).await?;
        if answer.status != 200 || answer.body.is_empty() {
            return fail(format!("{path} answered {} with {} bytes", answer.described(), answer.body.len()));
        }
        Ok(String::new())
    }

    /// Either is right, for a day.
    async fn shows_what_it_keeps(&self, path: &str) -> Verdict {
        let answer = self.subject.get(path, self.token).await?;
        Ok(match answer.status {
            200 => "its copy is still given, as it may be for a day".to_owned(),
            _ => format!("nothing is given any more: {}", answer.described()),
        })
    }

    async fn is_not_kept(&self, path: &str) -> Verdict {
        let answer = self.subject.get(path, self.token).await?;
        if answer.status < 400 {
            return fail(format!("{path} answered {} after a day", answer.described()));
        }
        Ok(String::new())
    }
}
