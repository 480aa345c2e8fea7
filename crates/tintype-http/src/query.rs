//! Query strings: `application/x-www-form-urlencoded`, read strictly.
//!
//! The names and values are decoded once, here, and a pair that cannot be decoded is an error that
//! names its key: guessing would turn a client's mistake into another picture or another file name.
//! Values can be secrets (`access_token`), so neither the errors nor `Debug` show them.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::path::DecodeError;
use crate::percent;

/// The most pairs one query may hold. The endpoints know fewer than ten names.
pub const MAX_PAIRS: usize = 128;

/// The longest key that an error repeats, in characters.
const MAX_NAMED: usize = 64;

/// A query that cannot be used. The texts can be shown to the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// More than [`MAX_PAIRS`] pairs.
    #[error("the query has more than {MAX_PAIRS} parameters")]
    TooMany,
    /// A pair whose key or value cannot be decoded.
    #[error("the query parameter {name} {cause}")]
    Undecodable {
        /// The key, as it was sent if it is the key that cannot be decoded.
        name: String,
        /// What is wrong with it.
        cause: DecodeError,
    },
    /// A parameter that has to be there is not.
    #[error("the query parameter {name} is missing")]
    Missing {
        /// The key.
        name: String,
    },
    /// Not a whole number without a sign.
    #[error("the query parameter {name} is not a whole number of zero or more")]
    NotANumber {
        /// The key.
        name: String,
    },
    /// A whole number larger than any that makes sense.
    #[error("the query parameter {name} is too large")]
    TooLarge {
        /// The key.
        name: String,
    },
    /// Neither `true` nor `false`.
    #[error("the query parameter {name} is neither true nor false")]
    NotABoolean {
        /// The key.
        name: String,
    },
}

/// The pairs of a query string, in order.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Query<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Query<'a> {
    /// Reads what follows the `?` of a request target; no query is an empty one. `+` is a space, a
    /// key without `=` has the empty value, and empty pairs (`&&`) are skipped.
    ///
    /// # Errors
    /// [`QueryError::TooMany`] and [`QueryError::Undecodable`].
    pub fn parse(query: Option<&'a str>) -> Result<Self, QueryError> {
        let mut pairs = Vec::new();
        for pair in query.unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
            if pairs.len() == MAX_PAIRS {
                return Err(QueryError::TooMany);
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name, name)?;
            let value = decode(value, &name)?;
            pairs.push((name, value));
        }
        Ok(Self { pairs })
    }

    /// The first value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of `name`, in order.
    pub fn all<'q>(&'q self, name: &str) -> impl Iterator<Item = &'q str> {
        let pairs = self.pairs.iter().filter(move |(key, _)| key == name);
        pairs.map(|(_, value)| value.as_ref())
    }

    /// The first value of `name`.
    ///
    /// # Errors
    /// [`QueryError::Missing`].
    pub fn required(&self, name: &str) -> Result<&str, QueryError> {
        self.get(name).ok_or_else(|| missing(name))
    }

    /// The first value of `name` as a number; `None` if it is not there.
    ///
    /// # Errors
    /// [`QueryError::NotANumber`] and [`QueryError::TooLarge`].
    pub fn u32(&self, name: &str) -> Result<Option<u32>, QueryError> {
        let Some(number) = self.u64(name)? else {
            return Ok(None);
        };
        u32::try_from(number).map(Some).map_err(|_| too_large(name))
    }

    /// The first value of `name` as a number.
    ///
    /// # Errors
    /// [`QueryError::Missing`], [`QueryError::NotANumber`] and [`QueryError::TooLarge`].
    pub fn required_u32(&self, name: &str) -> Result<u32, QueryError> {
        self.u32(name)?.ok_or_else(|| missing(name))
    }

    /// The first value of `name` as `true` or `false`; `None` if it is not there.
    ///
    /// # Errors
    /// [`QueryError::NotABoolean`].
    pub fn bool(&self, name: &str) -> Result<Option<bool>, QueryError> {
        match self.get(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(QueryError::NotABoolean { name: name.to_owned() }),
        }
    }

    /// The first value of `name` as a number of milliseconds; `None` if it is not there.
    ///
    /// # Errors
    /// [`QueryError::NotANumber`] and [`QueryError::TooLarge`] (beyond 64 bits).
    pub fn duration_ms(&self, name: &str) -> Result<Option<Duration>, QueryError> {
        Ok(self.u64(name)?.map(Duration::from_millis))
    }

    fn u64(&self, name: &str) -> Result<Option<u64>, QueryError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        // `str::parse` would take a sign.
        if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(QueryError::NotANumber { name: name.to_owned() });
        }
        value.parse().map(Some).map_err(|_| too_large(name))
    }
}

impl fmt::Debug for Query<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.pairs.iter().map(|(name, _)| name);
        formatter.debug_list().entries(names).finish()
    }
}

/// The text of a key or value, or an error that names `name`.
fn decode<'a>(encoded: &'a str, name: &str) -> Result<Cow<'a, str>, QueryError> {
    let undecodable = |cause| QueryError::Undecodable { name: name.chars().take(MAX_NAMED).collect(), cause };
    if !encoded.contains('+') {
        return percent::decode(encoded).map_err(undecodable);
    }
    let spaced = encoded.replace('+', " ");
    let decoded = percent::decode(&spaced).map_err(undecodable)?;
    Ok(Cow::Owned(decoded.into_owned()))
}

fn missing(name: &str) -> QueryError {
    QueryError::Missing { name: name.to_owned() }
}

fn too_large(name: &str) -> QueryError {
    QueryError::TooLarge { name: name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query<'_> {
        Query::parse(Some(text)).expect("a test reads a valid query")
    }

    #[test]
    fn no_query_and_an_empty_one_have_no_pairs() {
        for none in [None, Some(""), Some("&"), Some("&&&")] {
            assert_eq!(Query::parse(none), Ok(Query::default()));
        }
    }

    #[test]
    fn names_and_values_are_decoded() {
        let query = query("filename=my+photo%2B1%26.jpg&%66oo=b%C3%A4r&flag&empty=&a=b=c&=nameless");

        assert_eq!(query.get("filename"), Some("my photo+1&.jpg"));
        assert_eq!(query.get("foo"), Some("bär"));
        assert_eq!(query.get("flag"), Some(""));
        assert_eq!(query.get("empty"), Some(""));
        assert_eq!(query.get("a"), Some("b=c"));
        assert_eq!(query.get(""), Some("nameless"));
        assert_eq!(query.get("absent"), None);
    }

    #[test]
    fn the_first_of_several_values_counts_and_all_can_be_had() {
        let query = query("via=a&x=1&via=b&via=a");

        assert_eq!(query.get("via"), Some("a"));
        assert_eq!(query.all("via").collect::<Vec<_>>(), ["a", "b", "a"]);
        assert_eq!(query.all("y").count(), 0);
    }

    #[test]
    fn what_cannot_be_decoded_is_an_error_that_names_the_key() {
        let table = [
            ("a=1&filename=100%", "filename", DecodeError::Malformed),
            ("filename=%ff", "filename", DecodeError::NotUtf8),
            ("file%6eame=+%C3+", "filename", DecodeError::NotUtf8),
            ("file%6name=x", "file%6name", DecodeError::Malformed),
            ("a%ff=x", "a%ff", DecodeError::NotUtf8),
        ];
        for (text, name, cause) in table {
            let name = name.to_owned();
            assert_eq!(Query::parse(Some(text)), Err(QueryError::Undecodable { name, cause }), "{text}");
        }
    }

    #[test]
    fn an_error_repeats_a_bounded_part_of_the_key() {
        let text = format!("{}=%", "☃".repeat(1000));

        let error = Query::parse(Some(&text)).unwrap_err();

        assert!(matches!(error, QueryError::Undecodable { name, .. } if name == "☃".repeat(64)));
    }

    #[test]
    fn a_value_is_shown_neither_in_errors_nor_for_debugging() {
        let error = Query::parse(Some("access_token=secret%")).unwrap_err();
        let query = query("access_token=secret&width=secret");

        assert!(!format!("{error} {error:?}").contains("secret"));
        assert!(!format!("{:?}", query.u32("width")).contains("secret"));
        assert_eq!(format!("{query:?}"), r#"["access_token", "width"]"#);
    }

    #[test]
    fn the_number_of_pairs_is_bounded() {
        let pairs = |count| vec!["a=1"; count].join("&");

        assert_eq!(query(&pairs(MAX_PAIRS)).all("a").count(), MAX_PAIRS);
        assert_eq!(Query::parse(Some(&pairs(MAX_PAIRS + 1))), Err(QueryError::TooMany));
    }

    #[test]
    fn numbers_are_digits_only() {
        let query = query("w=320&zero=0&long=000000000000000000000007&big=4294967296&huge=99999999999999999999999");
        let name = |name: &str| name.to_owned();

        assert_eq!(query.u32("w"), Ok(Some(320)));
        assert_eq!(query.u32("zero"), Ok(Some(0)));
        assert_eq!(query.u32("long"), Ok(Some(7)));
        assert_eq!(query.u32("absent"), Ok(None));
        assert_eq!(query.required_u32("w"), Ok(320));
        assert_eq!(query.required_u32("absent"), Err(QueryError::Missing { name: name("absent") }));
        assert_eq!(query.u32("big"), Err(QueryError::TooLarge { name: name("big") }));
        assert_eq!(query.u32("huge"), Err(QueryError::TooLarge { name: name("huge") }));
    }

    #[test]
    fn signs_fractions_spaces_and_other_scripts_are_not_numbers() {
        for value in ["", "-1", "%2B1", "+1", "1+", "1.0", "0x10", "1e3", "a", "%D9%A3", "%EF%BC%91"] {
            let text = format!("w={value}");
            let expected = QueryError::NotANumber { name: "w".to_owned() };
            assert_eq!(query(&text).u32("w"), Err(expected), "{value}");
        }
    }

    #[test]
    fn booleans_are_spelled_out() {
        let query = query("a=true&b=false&c=True&d=1&e=");

        assert_eq!(query.bool("a"), Ok(Some(true)));
        assert_eq!(query.bool("b"), Ok(Some(false)));
        assert_eq!(query.bool("absent"), Ok(None));
        for name in ["c", "d", "e"] {
            assert_eq!(query.bool(name), Err(QueryError::NotABoolean { name: name.to_owned() }));
        }
    }

    #[test]
    fn durations_are_in_milliseconds() {
        let query = query("timeout_ms=20000&most=18446744073709551615&beyond=18446744073709551616&bad=-1");

        assert_eq!(query.duration_ms("timeout_ms"), Ok(Some(Duration::from_secs(20))));
        assert_eq!(query.duration_ms("most"), Ok(Some(Duration::from_millis(u64::MAX))));
        assert_eq!(query.duration_ms("absent"), Ok(None));
        assert!(matches!(query.duration_ms("beyond"), Err(QueryError::TooLarge { .. })));
        assert!(matches!(query.duration_ms("bad"), Err(QueryError::NotANumber { .. })));
    }

    #[test]
    fn a_required_value_may_be_empty_but_not_absent() {
        let query = query("method=");

        assert_eq!(query.required("method"), Ok(""));
        assert_eq!(query.required("x"), Err(QueryError::Missing { name: "x".to_owned() }));
    }
}
