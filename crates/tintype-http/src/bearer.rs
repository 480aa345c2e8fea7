//! The access token of a request: `Authorization: Bearer …` (RFC 6750 §2.1).
//!
//! Tokens are opaque and issued by others, so any visible ASCII is taken. What is refused is what two
//! readers could take for different things: several headers, an empty token, spaces inside.

use http::{HeaderMap, header};

/// Why there is no token although there is an `Authorization` header. The texts name no part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BearerError {
    /// More than one `Authorization` header.
    #[error("there is more than one Authorization header")]
    Repeated,
    /// Another scheme, such as `Basic` or `X-Matrix`.
    #[error("the Authorization header is not of the Bearer scheme")]
    OtherScheme,
    /// The token is missing, or holds white space, controls or something outside ASCII.
    #[error("the Authorization header is malformed")]
    Malformed,
}

/// The token of the request; `None` if it has no `Authorization` header.
///
/// # Errors
/// If there is such a header and it does not hold exactly one bearer token.
pub fn bearer_token(headers: &HeaderMap) -> Result<Option<&str>, BearerError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(BearerError::Repeated);
    }
    let value = value.to_str().map_err(|_| BearerError::Malformed)?.trim_ascii();
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(BearerError::OtherScheme);
    }
    let token = token.trim_start_matches(' ');
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(BearerError::Malformed);
    }
    Ok(Some(token))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(lines: &[&'static [u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(line).expect("a test sends a valid header"));
        }
        headers
    }

    #[test]
    fn no_header_is_no_token() {
        assert_eq!(bearer_token(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn the_scheme_is_case_insensitive_and_the_token_taken_as_it_is() {
        let table: &[(&[u8], &str)] = &[
            (b"Bearer mF_9.B5f-4.1JqM", "mF_9.B5f-4.1JqM"),
            (b"bearer syt_YWxpY2U_x_1", "syt_YWxpY2U_x_1"),
            (b"BEARER   a==", "a=="),
            (b"Bearer a/b+c~d==", "a/b+c~d=="),
            (b"Bearer !\"#,;{}", "!\"#,;{}"),
            (b" Bearer a ", "a"),
        ];
        for (value, expected) in table {
            assert_eq!(bearer_token(&headers(&[value])), Ok(Some(*expected)));
        }
    }

    #[test]
    fn an_empty_or_broken_token_is_malformed() {
        for value in [
            &b"Bearer"[..],
            b"Bearer ",
            b"Bearer    ",
            b"Bearer a b",
            b"Bearer a\tb",
            b"Bearer \ta",
            b"Bearer \xc3\xa4",
        ] {
            assert_eq!(bearer_token(&headers(&[value])), Err(BearerError::Malformed), "{}", value.escape_ascii());
        }
    }

    #[test]
    fn another_scheme_is_not_a_token() {
        for value in [&b"Basic YTpi"[..], b"X-Matrix origin=a", b"", b"Bearer\ta", b"Bearera", b"a"] {
            assert_eq!(bearer_token(&headers(&[value])), Err(BearerError::OtherScheme), "{}", value.escape_ascii());
        }
    }

    #[test]
    fn two_headers_are_refused_even_if_they_agree() {
        assert_eq!(bearer_token(&headers(&[b"Bearer a", b"Bearer a"])), Err(BearerError::Repeated));
        assert_eq!(bearer_token(&headers(&[b"Bearer a", b"Basic b"])), Err(BearerError::Repeated));
    }
}
