//! The parameter that names media to attach to an event (MSC3911), and what is left of a target without it.

use std::collections::BTreeSet;

use axum::http::Uri;
use tintype_domain::Mxc;
use tintype_http::query::Query;

use crate::{ProposalNames, error::MatrixError};

/// The parameter, until the proposal is accepted.
const UNSTABLE: &str = "org.matrix.msc3911.attach_media";

/// The same afterwards.
const STABLE: &str = "attach_media";

/// What makes a delayed event of an event (MSC4140), under all the names it has had.
const DELAYS: [&str; 6] = [
    "org.matrix.msc4140.delay",
    "org.matrix.msc4140.delay_id",
    "org.matrix.msc4140.parent_delay_id",
    "delay",
    "delay_id",
    "parent_delay_id",
];

/// What a request asks to be attached.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) media: BTreeSet<Mxc>,
    /// Path and query of the request without what asks for that, and else byte for byte.
    pub(crate) target: String,
}

/// Whether what the request sends is a delayed event.
pub(crate) fn is_delayed(uri: &Uri) -> bool {
    let names = uri.query().into_iter().flat_map(|query| query.split('&')).map(name_of);
    names.into_iter().any(|name| is_one_of(&name, &DELAYS))
}

/// The name of a parameter. Whatever cannot be decoded is none of ours.
fn name_of(pair: &str) -> Query<'_> {
    Query::parse(Some(pair.split_once('=').map_or(pair, |(name, _)| name))).unwrap_or_default()
}

fn is_one_of(name: &Query<'_>, names: &[&str]) -> bool {
    names.iter().any(|known| name.get(known).is_some())
}

impl ProposalNames {
    /// What the query asks to be attached; none if nothing.
    ///
    /// # Errors
    /// 400 `M_INVALID_PARAM` for what names no media, and for delayed events.
    pub(crate) fn attachments_asked(self, uri: &Uri) -> Result<Option<Asked>, MatrixError> {
        let Some(query) = uri.query() else { return Ok(None) };
        let names: &[&str] = if self == Self::Stable { &[UNSTABLE, STABLE] } else { &[UNSTABLE] };
        let mut media = BTreeSet::new();
        let mut others = Vec::new();
        for pair in query.split('&') {
            if !is_one_of(&name_of(pair), names) {
                others.push(pair);
                continue;
            }
            let value = Query::parse(Some(pair))?;
            let value = names.iter().find_map(|name| value.get(name)).unwrap_or_default();
            let no_media = |error| MatrixError::invalid_param(format!("attach_media names no media: {error}"));
            media.insert(value.parse().map_err(no_media)?);
        }
        if media.is_empty() {
            return Ok(None);
        }
        if is_delayed(uri) {
            return Err(MatrixError::invalid_param("Media cannot be attached to a delayed event"));
        }
        let query = if others.is_empty() { String::new() } else { format!("?{}", others.join("&")) };
        Ok(Some(Asked { media, target: format!("{}{query}", uri.path()) }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked(names: ProposalNames, target: &str) -> Result<Option<Asked>, Option<String>> {
        let uri = target.parse::<Uri>().expect("a test asks for a target");
        names.attachments_asked(&uri).map_err(|error| error.errcode().map(str::to_owned))
    }

    fn invalid() -> Result<Option<Asked>, Option<String>> {
        Err(Some("M_INVALID_PARAM".to_owned()))
    }

    fn to_attach(media: &[&str], target: &str) -> Asked {
        let media = media.iter().map(|uri| uri.parse().expect("it is an MXC URI")).collect();
        Asked { media, target: target.to_owned() }
    }

    #[test]
    fn what_is_to_be_attached_is_taken_out_of_the_target_and_nothing_else_changes() {
        let table = [
            ("/p?org.matrix.msc3911.attach_media=mxc://a/1", &["mxc://a/1"][..], "/p"),
            ("/p?org.matrix.msc3911.attach_media=mxc%3A%2F%2Fa%2F1&x=%41+b", &["mxc://a/1"], "/p?x=%41+b"),
            (
                "/%70//?a&&b=&org.matrix.msc3911.attach_media=mxc://a/1&%c3=%&org.matrix.msc3911.attach_media=mxc://a/2&",
                &["mxc://a/1", "mxc://a/2"],
                "/%70//?a&&b=&%c3=%&",
            ),
            (
                "/p?org.matrix.msc3911.attach_media=mxc://a/1&org%2Ematrix.msc3911.attach_media=mxc://a/1",
                &["mxc://a/1"],
                "/p",
            ),
            ("/p?org.matrix.msc3911.attach_media=mxc://a/1&attach_media=x", &["mxc://a/1"], "/p?attach_media=x"),
        ];
        for (target, media, left) in table {
            assert_eq!(asked(ProposalNames::Unstable, target), Ok(Some(to_attach(media, left))), "{target}");
        }
        let both = "/p?org.matrix.msc3911.attach_media=mxc://a/1&attach_media=mxc://a/2";
        assert_eq!(asked(ProposalNames::Stable, both), Ok(Some(to_attach(&["mxc://a/1", "mxc://a/2"], "/p"))));
    }

    #[test]
    fn what_asks_for_nothing_is_left_alone() {
        for target in
            ["/p", "/p?", "/p?a=b", "/p?attach_media=mxc://a/1", "/p?org.matrix.msc3911.attach_medi=x", "/p?%zz=%"]
        {
            assert_eq!(asked(ProposalNames::Unstable, target), Ok(None), "{target}");
        }
    }

    #[test]
    fn what_names_no_media_is_refused() {
        for value in ["", "=", "=x", "=a/1", "=mxc://a", "=mxc://a/", "=mxc://a/b/c", "=http://a/b", "=%zz", "=%ff"] {
            let target = format!("/p?org.matrix.msc3911.attach_media{value}");
            assert_eq!(asked(ProposalNames::Unstable, &target), invalid(), "{target}");
        }
    }

    #[test]
    fn nothing_is_attached_to_a_delayed_event() {
        for name in DELAYS {
            for target in [
                format!("/p?org.matrix.msc3911.attach_media=mxc://a/1&{name}=1000"),
                format!("/p?{}=1000&org.matrix.msc3911.attach_media=mxc://a/1", name.replace('d', "%64")),
            ] {
                assert_eq!(asked(ProposalNames::Unstable, &target), invalid(), "{target}");
            }
            assert_eq!(asked(ProposalNames::Unstable, &format!("/p?{name}=1000")), Ok(None));
        }
    }

    proptest! {
        #[test]
        fn whatever_else_a_query_has_stays_as_it_is(
            before in prop::collection::vec("[a-z%=.+0-9]{0,8}", 0..4),
            after in prop::collection::vec("[a-z%=.+0-9]{0,8}", 0..4),
        ) {
            let ours = "org.matrix.msc3911.attach_media=mxc://a/1".to_owned();
            let left = before.iter().chain(&after).map(String::as_str).collect::<Vec<_>>();
            let left = if left.is_empty() { "/p".to_owned() } else { format!("/p?{}", left.join("&")) };
            let target = before.into_iter().chain([ours]).chain(after).collect::<Vec<_>>();

            let asked = asked(ProposalNames::Unstable, &format!("/p?{}", target.join("&")));

            prop_assert_eq!(asked, Ok(Some(to_attach(&["mxc://a/1"], &left))));
        }
    }
}
