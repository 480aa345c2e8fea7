//! The `boundary` in the `Content-Type` of a multipart answer (RFC 2046 §5.1.1).

use super::MixedError;

/// The longest boundary.
const MAX_BOUNDARY: usize = 70;

/// Reads the boundary from a `Content-Type`.
///
/// It may be quoted or not; unquoted, it may also hold characters that RFC 2045 wants quoted, since there is nothing
/// else they can mean.
///
/// # Errors
/// [`MixedError::OtherType`] and [`MixedError::Boundary`].
pub(super) fn boundary(content_type: &[u8]) -> Result<String, MixedError> {
    let content_type = str::from_utf8(content_type).map_err(|_| MixedError::OtherType)?;
    let (essence, mut rest) = content_type.split_once(';').unwrap_or((content_type, ""));
    if !essence.trim_ascii().eq_ignore_ascii_case("multipart/mixed") {
        return Err(MixedError::OtherType);
    }
    let mut boundary = None;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        if rest.is_empty() {
            break;
        }
        let (name, after) = rest.split_once('=').ok_or(MixedError::Boundary)?;
        let (value, after) = value(after)?;
        if name.trim_ascii().eq_ignore_ascii_case("boundary") && boundary.replace(value).is_some() {
            return Err(MixedError::Boundary);
        }
        rest = after;
    }
    boundary.filter(|boundary| is_boundary(boundary)).ok_or(MixedError::Boundary)
}

/// Splits a value from what follows it.
fn value(text: &str) -> Result<(String, &str), MixedError> {
    let text = text.trim_start_matches([' ', '\t']);
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find(';').unwrap_or(text.len()));
        return Ok((value.trim_ascii_end().to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                let rest = quoted[at + 1..].trim_start_matches([' ', '\t']);
                return if rest.is_empty() || rest.starts_with(';') {
                    Ok((value, rest))
                } else {
                    Err(MixedError::Boundary)
                };
            }
            '\\' => value.push(characters.next().ok_or(MixedError::Boundary)?.1),
            _ => value.push(character),
        }
    }
    Err(MixedError::Boundary)
}

fn is_boundary(text: &str) -> bool {
    (1..=MAX_BOUNDARY).contains(&text.len())
        && !text.ends_with(' ')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_is_read_quoted_and_unquoted_among_other_parameters() {
        for (content_type, expected) in [
            ("multipart/mixed; boundary=abc", "abc"),
            ("multipart/mixed;boundary=abc", "abc"),
            ("Multipart/MIXED ; Boundary = abc ; charset=utf-8", "abc"),
            ("multipart/mixed; boundary=\"a b\"", "a b"),
            (r#"multipart/mixed; x="a;boundary=b\""; boundary="c\d""#, "cd"),
            ("multipart/mixed; boundary=gc0p4Jq0M2Yt08jU534c0p;", "gc0p4Jq0M2Yt08jU534c0p"),
            ("multipart/mixed; boundary=a:b=c?/d", "a:b=c?/d"),
        ] {
            assert_eq!(boundary(content_type.as_bytes()).as_deref(), Ok(expected), "{content_type}");
        }
        let longest = "b".repeat(70);
        assert_eq!(boundary(format!("multipart/mixed; boundary={longest}").as_bytes()), Ok(longest));
    }

    #[test]
    fn an_answer_of_another_type_or_without_a_valid_boundary_is_refused() {
        for content_type in ["", "multipart/mixedx; boundary=a", "multipart/form-data; boundary=a", "boundary=a"] {
            assert_eq!(boundary(content_type.as_bytes()), Err(MixedError::OtherType), "{content_type}");
        }
        assert_eq!(boundary(b"multipart/mixed; boundary=\xff"), Err(MixedError::OtherType));
        let too_long = format!("multipart/mixed; boundary={}", "b".repeat(71));
        for content_type in [
            "multipart/mixed",
            "multipart/mixed; boundary",
            "multipart/mixed; boundary=",
            "multipart/mixed; boundary=\"\"",
            "multipart/mixed; boundary=\"a",
            "multipart/mixed; boundary=\"a \"",
            "multipart/mixed; boundary=\"a\"b",
            "multipart/mixed; boundary=a\u{e4}",
            "multipart/mixed; boundary=a*b",
            "multipart/mixed; boundary=\"a\r\nb\"",
            "multipart/mixed; boundary=a; boundary=a",
            &too_long,
        ] {
            assert_eq!(boundary(content_type.as_bytes()), Err(MixedError::Boundary), "{content_type}");
        }
    }
}
