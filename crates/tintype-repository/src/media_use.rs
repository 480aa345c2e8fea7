//! Who asks for media on which endpoints, and what becomes of it: counted so that an operator can see whom a freeze of the
//! old endpoints would cut off, before it does.
//!
//! A counter for each combination, since there are only so many: counting is one addition, on every thread at once. Every
//! minute what was added goes to the records, summed by day.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder},
    metrics::{MetricType, counter::ConstCounter},
};
use tintype_domain::Timestamp;
use tintype_storage::records::{MediaAge, MediaEndpoint, MediaRequestOutcome, MediaRequests};
use tokio::sync::Mutex;

/// A family of clients, by what they call themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientFamily(usize);

/// Their names, in the order in which they are looked for. The last two are those of whom nothing is known.
const FAMILIES: [&str; 26] = [
    "element_x",
    "element_android",
    "element_ios",
    "element_desktop",
    "schildichat",
    "fluffychat",
    "cinny",
    "nheko",
    "neochat",
    "fractal",
    "quaternion",
    "gomuks",
    "hydrogen",
    "mautrix",
    "matrix_rust_sdk",
    "matrix_nio",
    "matrix_bot_sdk",
    "matrix_js_sdk",
    "trixnity",
    "synapse",
    "other_homeserver",
    "browser",
    "curl",
    "dart",
    "other",
    "none",
];

/// What of a `User-Agent`, in lower case, tells that it is of a family: of two that fit, the first counts.
const SIGNS: [(&str, &str); 40] = [
    ("element x", "element_x"),
    ("elementx", "element_x"),
    ("schildi", "schildichat"),
    ("riotx", "element_android"),
    ("riot.im/", "element_android"),
    ("matrixandroidsdk", "element_android"),
    ("matrixiossdk", "element_ios"),
    ("riot/", "element_ios"),
    ("element/", "element_desktop"),
    ("element-desktop", "element_desktop"),
    ("elementnightly", "element_desktop"),
    ("fluffychat", "fluffychat"),
    ("cinny", "cinny"),
    ("nheko", "nheko"),
    ("mtxclient", "nheko"),
    ("neochat", "neochat"),
    ("fractal", "fractal"),
    ("quaternion", "quaternion"),
    ("gomuks", "gomuks"),
    ("hydrogen", "hydrogen"),
    ("mautrix", "mautrix"),
    ("matrix-rust-sdk", "matrix_rust_sdk"),
    ("matrix_sdk", "matrix_rust_sdk"),
    ("matrix-nio", "matrix_nio"),
    ("aiohttp", "matrix_nio"),
    ("matrix-bot-sdk", "matrix_bot_sdk"),
    ("matrix-js-sdk", "matrix_js_sdk"),
    ("node", "matrix_js_sdk"),
    ("trixnity", "trixnity"),
    ("ktor", "trixnity"),
    ("synapse", "synapse"),
    ("dendrite", "other_homeserver"),
    ("conduit", "other_homeserver"),
    ("conduwuit", "other_homeserver"),
    ("tuwunel", "other_homeserver"),
    ("matrix-media-repo", "other_homeserver"),
    ("mozilla/", "browser"),
    ("curl/", "curl"),
    ("wget/", "curl"),
    ("dart/", "dart"),
];

impl ClientFamily {
    /// The family of a client that calls itself this. Mobile clients of Element name their platform.
    pub fn of(user_agent: Option<&str>) -> Self {
        let Some(text) = user_agent.map(str::to_ascii_lowercase).filter(|text| !text.trim().is_empty()) else {
            return Self::named("none");
        };
        let sign = SIGNS.iter().find(|(sign, _)| text.contains(sign));
        Self::named(match sign {
            Some((_, "element_desktop")) if text.contains("android") => "element_android",
            Some((_, "element_desktop")) if text.contains("ios") || text.contains("iphone") => "element_ios",
            Some((_, family)) => family,
            None => "other",
        })
    }

    fn named(name: &str) -> Self {
        Self(FAMILIES.iter().position(|family| *family == name).unwrap_or(FAMILIES.len() - 2))
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        FAMILIES[self.0]
    }
}

const ENDPOINTS: usize = MediaEndpoint::ALL.len();
const OUTCOMES: usize = MediaRequestOutcome::ALL.len();
const AGES: usize = MediaAge::ALL.len();
const COUNTERS: usize = FAMILIES.len() * ENDPOINTS * OUTCOMES * AGES;

/// One request for media.
#[derive(Debug, Clone, Copy)]
pub struct MediaUse {
    /// Who asked.
    pub client: ClientFamily,
    /// On which endpoints.
    pub endpoint: MediaEndpoint,
    /// What became of it.
    pub outcome: MediaRequestOutcome,
    /// How old the media was.
    pub age: MediaAge,
}

/// The age of media that was stored at this time.
pub(crate) fn age(stored: Timestamp, now: Timestamp) -> MediaAge {
    match now.since(stored).as_secs() / (24 * 60 * 60) {
        0 => MediaAge::Day,
        1..7 => MediaAge::Week,
        7..30 => MediaAge::Month,
        _ => MediaAge::Older,
    }
}

/// All requests for media since the start.
#[derive(Debug)]
pub(crate) struct MediaUses {
    counters: [AtomicU64; COUNTERS],
    /// What of them is in the records.
    recorded: Mutex<Vec<u64>>,
}

impl Default for MediaUses {
    fn default() -> Self {
        Self { counters: [const { AtomicU64::new(0) }; COUNTERS], recorded: Mutex::new(vec![0; COUNTERS]) }
    }
}

impl MediaUses {
    pub(crate) fn count(&self, used: MediaUse) {
        let endpoint = index(&MediaEndpoint::ALL, used.endpoint);
        let outcome = index(&MediaRequestOutcome::ALL, used.outcome);
        let age = index(&MediaAge::ALL, used.age);
        let at = ((used.client.0 * ENDPOINTS + endpoint) * OUTCOMES + outcome) * AGES + age;
        self.counters[at].fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted since this was last asked, as requests of this day. Given to `keep`, which says whether it is
    /// recorded: what is not is given again.
    pub(crate) async fn record<E>(
        &self,
        now: Timestamp,
        keep: impl AsyncFnOnce(Vec<MediaRequests>) -> Result<(), E>,
    ) -> Result<(), E> {
        let day = now.as_millis().div_euclid(24 * 60 * 60 * 1000);
        // Held until it is kept: two at once would both keep the same.
        let mut recorded = self.recorded.lock().await;
        let counted = self.counters.iter().map(|counter| counter.load(Ordering::Relaxed)).collect::<Vec<_>>();
        let rows = (0..COUNTERS).filter(|at| counted[*at] > recorded[*at]);
        let rows = rows.map(|at| MediaRequests { day, requests: counted[at] - recorded[at], ..kind(at) });
        let rows = rows.collect::<Vec<_>>();
        if !rows.is_empty() {
            keep(rows).await?;
            *recorded = counted;
        }
        Ok(())
    }
}

fn index<T: PartialEq + Copy>(all: &[T], one: T) -> usize {
    all.iter().position(|other| *other == one).expect("all variants are listed")
}

/// What the counter at this place counts.
fn kind(at: usize) -> MediaRequests {
    let (rest, age) = (at / AGES, at % AGES);
    let (rest, outcome) = (rest / OUTCOMES, rest % OUTCOMES);
    let (client, endpoint) = (rest / ENDPOINTS, rest % ENDPOINTS);
    MediaRequests {
        day: 0,
        endpoint: MediaEndpoint::ALL[endpoint],
        client: FAMILIES[client].to_owned(),
        outcome: MediaRequestOutcome::ALL[outcome],
        age: MediaAge::ALL[age],
        requests: 0,
    }
}

/// Shows the counters among the metrics, without their ages.
#[derive(Debug)]
pub(crate) struct MediaUseCollector(pub(crate) std::sync::Arc<MediaUses>);

impl Collector for MediaUseCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut metric: MetricEncoder<'_> = encoder.encode_descriptor(
            "media_requests",
            "Requests for media and thumbnails, by endpoints (old or new), client and outcome",
            None,
            MetricType::Counter,
        )?;
        for (group, counters) in self.0.counters.chunks(AGES).enumerate() {
            let requests = counters.iter().map(|counter| counter.load(Ordering::Relaxed)).sum::<u64>();
            if requests > 0 {
                let MediaRequests { endpoint, client, outcome, .. } = kind(group * AGES);
                let labels =
                    [("endpoint", endpoint.as_str()), ("client", client.as_str()), ("outcome", outcome.as_str())];
                ConstCounter::new(requests).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_known_by_what_they_call_themselves() {
        for (user_agent, family) in [
            ("Element X/25.3 (iPhone 14; iOS 18.3)", "element_x"),
            ("Element/1.6.34 (Google Pixel 8; Android 15; Flavour GooglePlay)", "element_android"),
            ("Element/1.11.27 (iPhone; iOS 17.5; Scale/3.00)", "element_ios"),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Element/1.11.96 Chrome/134 Electron/35",
                "element_desktop",
            ),
            ("SchildiChat/1.6 (Android 14)", "schildichat"),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "browser"),
            ("mautrix-python/0.21 aiohttp/3.9 Python/3.11", "mautrix"),
            ("matrix-nio/0.26", "matrix_nio"),
            ("Synapse/1.163.0", "synapse"),
            ("conduwuit/0.5", "other_homeserver"),
            ("curl/8.5.0", "curl"),
            ("something else", "other"),
            ("  ", "none"),
        ] {
            assert_eq!(ClientFamily::of(Some(user_agent)).as_str(), family, "{user_agent}");
        }
        assert_eq!(ClientFamily::of(None).as_str(), "none");
    }

    #[test]
    fn every_sign_is_of_a_family_that_is_counted() {
        for (sign, family) in SIGNS {
            assert!(FAMILIES.contains(&family), "{sign}");
        }
    }

    #[tokio::test]
    async fn what_was_counted_is_recorded_once_and_again_only_where_that_failed() {
        let uses = MediaUses::default();
        let download = MediaUse {
            client: ClientFamily::of(Some("curl/8")),
            endpoint: MediaEndpoint::Old,
            outcome: MediaRequestOutcome::Served,
            age: MediaAge::Week,
        };
        uses.count(download);
        uses.count(download);
        let now = Timestamp(3 * 24 * 60 * 60 * 1000 + 1);

        let failed = uses.record(now, async |_| Err(())).await;
        let mut rows = Vec::new();
        for _ in 0..2 {
            let recorded = uses.record(now, async |new| {
                rows.extend(new);
                Ok::<_, ()>(())
            });
            recorded.await.unwrap();
        }

        assert_eq!(failed, Err(()));
        let expected = MediaRequests {
            day: 3,
            endpoint: MediaEndpoint::Old,
            client: "curl".to_owned(),
            outcome: MediaRequestOutcome::Served,
            age: MediaAge::Week,
            requests: 2,
        };
        assert_eq!(rows, [expected]);
    }

    #[test]
    fn the_age_of_media_is_told_in_days() {
        let days = |days: i64| Timestamp(days * 24 * 60 * 60 * 1000);
        let of = |stored| age(days(stored), days(100));

        assert_eq!(
            [of(101), of(100), of(99), of(94), of(93), of(71), of(70), of(0)],
            [
                MediaAge::Day,
                MediaAge::Day,
                MediaAge::Week,
                MediaAge::Week,
                MediaAge::Month,
                MediaAge::Month,
                MediaAge::Older,
                MediaAge::Older
            ]
        );
    }
}
