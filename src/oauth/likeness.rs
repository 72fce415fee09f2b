//! Would a person take one name for the other? Letters that look alike are folded, for the comparison only.
//!
//! The table of letters is that of Unicode (UTS #39); on top of it come case, spaces and what people overlook.

/// The words of a name, each as it looks.
fn words(name: &str) -> Vec<String> {
    let folded: String = unicode_security::confusable_detection::skeleton(name).flat_map(char::to_lowercase).collect();
    // A second time: small letters have other doubles than capitals have.
    let folded: String = unicode_security::confusable_detection::skeleton(&folded).collect();
    let folded = folded.replace("vv", "w");
    let words = folded.split(|letter: char| !letter.is_alphanumeric()).map(look).filter(|word| !word.is_empty());
    words.collect()
}

fn look(word: &str) -> String {
    let alike = |letter: char| match letter {
        'i' | '1' | 'l' => 'l',
        '0' => 'o',
        '3' => 'e',
        '5' => 's',
        other => other,
    };
    word.chars().flat_map(char::to_lowercase).map(alike).collect()
}

/// The same for all names that look the same.
pub fn fold(name: &str) -> String {
    words(name).concat()
}

/// Whether a name is the other, or has it among its words, spelled in one or in several.
pub fn holds(name: &str, other: &str) -> bool {
    let (name, wanted) = (words(name), fold(other));
    let from = |start: usize| {
        let mut joined = String::new();
        name.iter().skip(start).any(|word| {
            joined.push_str(word);
            joined == wanted
        })
    };
    !wanted.is_empty() && (0..name.len()).any(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn item_133_names_that_look_alike_are_alike() {
        for (one, other) in [
            ("Claude", "claude"),
            ("Claude", "CIaude"),
            ("Claude", "C1aude"),
            ("Claude", "Сlaude"),
            ("Claude", "Clаude"),
            ("Claude", "Ｃｌａｕｄｅ"),
            ("Claude", "Clau\u{200b}de"),
            ("Cursor", "Curs0r"),
            ("VS Code", "vs-code"),
            ("Inspector", "inspector"),
            ("Gemini", "Gernini"),
        ] {
            assert_eq!(fold(one), fold(other), "{one} {other}");
        }
        for (one, other) in [("Claude", "Claudia"), ("Acme", "Acne"), ("Cursor", "Precursor")] {
            assert_ne!(fold(one), fold(other), "{one} {other}");
        }
    }

    #[test]
    fn a_name_holds_another_among_its_words() {
        assert!(holds("The official Claude-Code app", "Claude Code"));
        assert!(holds("ClaudeCode", "Claude Code"));
        assert!(!holds("Precursor tools", "Cursor"));
        assert!(!holds("", "Cursor"));
        assert!(!holds("Cursor", "…"));
    }
}
