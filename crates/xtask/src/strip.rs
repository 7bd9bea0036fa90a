//! Rust source without its comments and literals, so that a search for a keyword finds only code.

/// The source with every comment, string and character literal replaced by a space; line numbers stay.
pub(crate) fn code_only(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    let mut previous = ' ';
    while let Some(next) = rest.chars().next() {
        let length = skipped_bytes(rest, previous);
        let (token, after) = rest.split_at(length.unwrap_or(next.len_utf8()));
        if length.is_some() {
            code.push(' ');
            code.extend(token.chars().filter(|c| *c == '\n'));
            previous = ' ';
        } else {
            code.push(next);
            previous = next;
        }
        rest = after;
    }
    code
}

/// Whether `word` stands in the text as a whole word.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    text.split(|c| !is_word(c))
        .any(|candidate| candidate == word)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length in bytes of the comment or literal that `rest` begins with, if it begins with one.
fn skipped_bytes(rest: &str, previous: char) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment_bytes(rest));
    }
    match rest.chars().next()? {
        '"' => Some(quoted_bytes(rest, '"')),
        '\'' => character_bytes(rest),
        'r' | 'b' | 'c' if !is_word(previous) => raw_string_bytes(rest),
        _ => None,
    }
}

/// Block comments nest.
fn block_comment_bytes(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut before = ' ';
    for (at, c) in rest.char_indices() {
        match (before, c) {
            ('/', '*') => depth += 1,
            ('*', '/') if depth <= 1 => return at + 1,
            ('*', '/') => depth -= 1,
            _ => {
                before = c;
                continue;
            }
        }
        // A mark's second character does not begin another one.
        before = ' ';
    }
    rest.len()
}

fn quoted_bytes(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + quote.len_utf8();
        }
    }
    rest.len()
}

/// A character literal; nothing when the quote begins a lifetime.
fn character_bytes(rest: &str) -> Option<usize> {
    let mut after = rest.chars().skip(1);
    let content = after.next()?;
    if content == '\\' {
        return Some(quoted_bytes(rest, '\''));
    }
    (after.next() == Some('\'')).then_some(2 + content.len_utf8())
}

/// A raw string with its prefix; nothing when it is an identifier such as `r#type`.
fn raw_string_bytes(rest: &str) -> Option<usize> {
    let marks = rest.trim_start_matches(['b', 'c']).strip_prefix('r')?;
    let body = marks.trim_start_matches('#');
    let hashes = marks.len() - body.len();
    let content = body.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let tail = content
        .find(&end)
        .map_or("", |at| content.split_at(at + end.len()).1);
    Some(rest.len() - tail.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_go_and_code_stays() {
        let source = "let a = \"unsafe \\\" x\"; // unsafe\n/* unsafe /* nested */ */ fn b() {}\n";
        let code = code_only(source);
        assert!(!has_word(&code, "unsafe"), "{code}");
        assert!(has_word(&code, "fn") && has_word(&code, "b"), "{code}");
        assert_eq!(code.lines().count(), source.lines().count());
    }

    #[test]
    fn raw_strings_end_at_their_own_number_of_hashes() {
        let code = code_only("let a = r#\"say \"unsafe\" now\"#; let r#type = br\"x\"; keep");
        assert!(!has_word(&code, "unsafe"), "{code}");
        assert!(has_word(&code, "type") && has_word(&code, "keep"), "{code}");
    }

    #[test]
    fn quotes_of_characters_and_lifetimes_hide_no_code() {
        let code = code_only("f('\"', '\\'', b'\"'); fn g<'a>(x: &'a str) { unsafe { h() } }");
        assert!(has_word(&code, "unsafe"), "{code}");
        assert!(has_word(&code, "str"), "{code}");
    }

    #[test]
    fn a_word_is_found_whole_only() {
        assert!(has_word("#[unsafe(no_mangle)]", "unsafe"));
        assert!(!has_word("expect(unsafe_code)", "unsafe"));
    }
}
