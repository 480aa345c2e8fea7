use super::*;

fn read(value: &str) -> (Disposition, Option<String>) {
    let ContentDisposition { disposition, filename } = parse(value.as_bytes());
    (disposition, filename)
}

fn named(value: &str) -> Option<String> {
    parse(value.as_bytes()).filename
}

#[test]
fn only_listed_types_are_inline() {
    for inline in INLINE {
        assert_eq!(disposition_for(inline.as_bytes()), Disposition::Inline, "{inline}");
    }
    for attachment in [
        "image/svg+xml",
        "text/html",
        "text/javascript",
        "application/javascript",
        "application/pdf",
        "application/xhtml+xml",
        "application/octet-stream",
        "image/svg",
        "image",
        "",
        "image/",
        "image/png2",
        "image/*",
        "*/*",
        "text/plaintext",
        "img/png",
    ] {
        assert_eq!(disposition_for(attachment.as_bytes()), Disposition::Attachment, "{attachment}");
    }
}

#[test]
fn only_the_essence_of_a_type_counts_without_regard_to_case() {
    for inline in ["IMAGE/PNG", " image/png\t", "Text/Plain; charset=utf-8", "text/plain;", "image/png ;text/html"] {
        assert_eq!(disposition_for(inline.as_bytes()), Disposition::Inline, "{inline}");
    }
    for attachment in [
        "text/html; image/png",
        ";image/png",
        "image/png, text/html",
        "image/png text/html",
        "image /png",
        "image/png\0",
    ] {
        assert_eq!(disposition_for(attachment.as_bytes()), Disposition::Attachment, "{attachment}");
    }
    assert_eq!(disposition_for(b"image/png\xff"), Disposition::Attachment);
    assert_eq!(disposition_for(b"image/png; name=\xff"), Disposition::Inline);
}

#[test]
fn a_plain_name_is_quoted_and_any_other_encoded() {
    let table = [
        (None, "inline"),
        (Some(""), "inline"),
        (Some("photo.jpg"), "inline; filename=\"photo.jpg\""),
        (Some("it's_1+1~`|^.-!#$&*"), "inline; filename=\"it's_1+1~`|^.-!#$&*\""),
        (Some("my photo.jpg"), "inline; filename*=utf-8''my%20photo.jpg"),
        (Some("name;with;semicolons"), "inline; filename*=utf-8''name%3Bwith%3Bsemicolons"),
        (Some("a%41"), "inline; filename*=utf-8''a%2541"),
        (Some("it's 'x'*"), "inline; filename*=utf-8''it%27s%20%27x%27%2A"),
        (Some("a\"b\\c"), "inline; filename*=utf-8''a%22b%5Cc"),
        (Some("a\r\nSet-Cookie: x=y"), "inline; filename*=utf-8''a%0D%0ASet-Cookie%3A%20x%3Dy"),
        (Some("a\0b\u{7f}"), "inline; filename*=utf-8''a%00b%7F"),
        (Some("../etc/passwd"), "inline; filename*=utf-8''..%2Fetc%2Fpasswd"),
        (Some("☃"), "inline; filename*=utf-8''%E2%98%83"),
        (Some("\u{202e}gpj.exe"), "inline; filename*=utf-8''%E2%80%AEgpj.exe"),
        (Some("🐈"), "inline; filename*=utf-8''%F0%9F%90%88"),
    ];
    for (name, expected) in table {
        assert_eq!(format(Disposition::Inline, name), expected);
    }
    assert_eq!(format(Disposition::Attachment, Some("a")), "attachment; filename=\"a\"");
    assert_eq!(format(Disposition::Attachment, None), "attachment");
}

#[test]
fn the_examples_of_rfc_6266_are_understood() {
    let example = Some("example.html".to_owned());
    assert_eq!(read("Attachment; filename=example.html"), (Disposition::Attachment, example));
    assert_eq!(
        read("INLINE; FILENAME= \"an example.html\""),
        (Disposition::Inline, Some("an example.html".to_owned()))
    );
    assert_eq!(
        read("attachment; filename*= UTF-8''%e2%82%ac%20rates"),
        (Disposition::Attachment, Some("€ rates".to_owned()))
    );
    assert_eq!(
        read("attachment; filename=\"EURO rates\"; filename*=utf-8''%e2%82%ac%20rates"),
        (Disposition::Attachment, Some("€ rates".to_owned()))
    );
}

#[test]
fn anything_but_inline_is_an_attachment() {
    for value in ["", ";", "form-data; name=x", "foo", "inlined", "\"inline\"", "in line", "filename=inline"] {
        assert_eq!(read(value).0, Disposition::Attachment, "{value}");
    }
    assert_eq!(read(" Inline ").0, Disposition::Inline);
    assert_eq!(read("inline;").0, Disposition::Inline);
}

#[test]
fn the_extended_name_is_preferred_wherever_it_stands() {
    assert_eq!(named("inline; filename*=utf-8'en'a; filename=b").as_deref(), Some("a"));
    assert_eq!(named("inline; filename=b; filename*=iso-8859-1''%e4").as_deref(), Some("ä"));
}

#[test]
fn an_extended_name_that_cannot_be_read_gives_way_to_the_plain_one() {
    for extended in ["utf-8''%ff", "koi8-r''%C1", "nonsense", "utf-8'a", "utf-8''", ""] {
        let value = format!("inline; filename*={extended}; filename=plain");
        assert_eq!(named(&value).as_deref(), Some("plain"), "{extended}");
    }
}

#[test]
fn quotes_and_escapes_are_undone() {
    let table = [
        (r#"inline; filename="a;b""#, "a;b"),
        (r#"inline; filename="a\"b\\c""#, r#"a"b\c"#),
        (r#"inline; filename="a"junk; x=y"#, "a"),
        (r#"inline; filename="unfinished"#, "unfinished"),
        (r#"inline; filename="a\"#, r"a\"),
        (r#"inline; x="; filename=trap"; filename=real"#, "real"),
        (r#"inline; filename*="utf-8''a%20b""#, "a b"),
        ("inline; filename=two words ; x=y", "two words"),
        ("inline;filename = spaced", "spaced"),
        ("inline; ; x; filename=late", "late"),
        ("inline; filename=first; filename=second", "first"),
        ("inline; filename=; filename=second", "second"),
        ("inline; filename=a%20b", "a%20b"),
        ("inline; filename=../../etc/passwd", "../../etc/passwd"),
        ("inline; filename=\"ä\"", "ä"),
    ];
    for (value, expected) in table {
        assert_eq!(named(value).as_deref(), Some(expected), "{value}");
    }
    assert_eq!(parse(b"inline; filename=\"\xe4\"").filename.as_deref(), Some("ä"));
}

#[test]
fn a_value_without_a_usable_name_has_none() {
    for value in
        ["inline", "inline; filename", "inline; filename=\"\"", "inline; name=x", "inline filename=x", "filename=x"]
    {
        assert_eq!(named(value), None, "{value}");
    }
}

#[test]
fn reading_is_bounded() {
    let long = format!("inline; filename={}", "a".repeat(MAX_LENGTH));
    let crowded = format!("inline{}; filename=a", "; x=y".repeat(MAX_PARAMETERS));

    assert_eq!(read(&long), (Disposition::Attachment, None));
    assert_eq!(read(&crowded), (Disposition::Inline, None));
}
