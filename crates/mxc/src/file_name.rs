//! A name for a file, out of a name that a stranger chose.
//!
//! The name may try to leave the folder, to hide, to look like another, to be taken for an option by the next command,
//! or to be longer than a file system takes. What is left of it is safe to create, or nothing is left.

/// The longest name that common file systems take, in bytes.
const LONGEST: usize = 255;

/// The longest extension that is kept when a name is cut, in bytes.
const LONGEST_EXTENSION: usize = 16;

/// The name without anything dangerous; `None` if nothing is left.
pub fn safe(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let visible = last.chars().filter(|character| !is_hidden(*character)).collect::<String>();
    let name = visible.trim_start_matches(|c: char| c == '.' || c == '-' || c.is_whitespace());
    let name = name.trim_end_matches(|c: char| c == '.' || c.is_whitespace());
    (!name.is_empty()).then(|| cut(name))
}

/// Control characters, and those that turn the direction of what follows or have no width: with them `exe.jpg` can be
/// shown for `gpj.exe`.
fn is_hidden(character: char) -> bool {
    let turns_or_hides = '\u{200b}'..='\u{200f}';
    let embeds = '\u{202a}'..='\u{202e}';
    let isolates = '\u{2060}'..='\u{206f}';
    character.is_control()
        || turns_or_hides.contains(&character)
        || embeds.contains(&character)
        || isolates.contains(&character)
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{61c}' | '\u{feff}')
}

fn cut(name: &str) -> String {
    if name.len() <= LONGEST {
        return name.to_owned();
    }
    let dot = name.rfind('.').filter(|dot| name.len() - dot <= LONGEST_EXTENSION).unwrap_or(name.len());
    let (stem, extension) = name.split_at(dot);
    let end = stem.floor_char_boundary(LONGEST - extension.len());
    format!("{}{extension}", &stem[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_names_stay_as_they_are() {
        for name in ["a.txt", "Ein schönes Bild.jpeg", "archive.tar.gz", "no extension", "日本語.png", "a-b_c (1).pdf"]
        {
            assert_eq!(safe(name).as_deref(), Some(name));
        }
    }

    #[test]
    fn dangerous_parts_are_taken_out() {
        for (name, left) in [
            ("../../etc/passwd", "passwd"),
            ("/etc/passwd", "passwd"),
            ("C:\\Windows\\system.ini", "system.ini"),
            (".bashrc", "bashrc"),
            ("...hidden", "hidden"),
            (". .x", "x"),
            ("-rf", "rf"),
            ("a\nb\tc\u{1b}[31m.txt", "abc[31m.txt"),
            ("a\0.txt", "a.txt"),
            ("invoice\u{202e}gpj.exe", "invoicegpj.exe"),
            ("\u{feff}\u{200b}.profile", "profile"),
            ("trailing. .", "trailing"),
        ] {
            assert_eq!(safe(name).as_deref(), Some(left), "{name:?}");
        }
    }

    #[test]
    fn of_some_names_nothing_is_left() {
        for name in ["", ".", "..", "/", "a/", "..\\..", "\n", "   ", "---", "\u{202e}"] {
            assert_eq!(safe(name), None, "{name:?}");
        }
    }

    #[test]
    fn long_names_are_cut_before_their_extension() {
        let long = format!("{}.jpeg", "ü".repeat(200));
        let cut = safe(&long).unwrap();
        assert!(cut.len() <= LONGEST && cut.len() > LONGEST - 4, "{}", cut.len());
        assert!(cut.starts_with("üü") && cut.ends_with("ü.jpeg"));

        let dotted = format!("a.{}", "x".repeat(300));
        assert_eq!(safe(&dotted).unwrap().len(), LONGEST);
    }
}
