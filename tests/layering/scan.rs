//! Just enough of Rust's grammar to find paths: tokens without strings and comments, and trees of `use`.

/// A path that a file names, without generic arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Import {
    pub line: usize,
    /// The path: below `crate` for an item of this crate, else from the name of the foreign crate on. `*` is a segment.
    pub segments: Vec<String>,
    /// Whether the module re-exports it (`pub use`).
    pub public: bool,
    /// Whether the import stands in an inline module, which means in tests.
    pub inline: bool,
}

/// One source file, as tokens.
pub struct Source {
    /// The module of the file, from the top of the crate.
    modules: Vec<String>,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    line: usize,
    /// A word, `::`, or one character of punctuation. A literal is `""`.
    text: String,
    /// A literal as it stands in the source.
    literal: String,
}

impl Source {
    /// Reads a file; its path is the one below src.
    pub fn new(path: &str, text: &str) -> Source {
        let mut modules: Vec<String> = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if modules.len() > 1 && modules.last().is_some_and(|last| last == "mod") {
            modules.pop();
        }
        Source { modules, tokens: tokens(text) }
    }

    /// The module of the file, from the top of the crate.
    pub fn path(&self) -> &[String] {
        &self.modules
    }

    /// The module at the top of the crate.
    pub fn module(&self) -> &str {
        &self.modules[0]
    }

    /// Paths into this crate, from its top on. A path that ends at the top has the one segment `*`.
    pub fn imports(&self) -> Vec<Import> {
        self.paths().into_iter().filter_map(|(inline, import)| self.resolved(&inline, import)).collect()
    }

    /// All paths, as if those of which the first segment is no module of this crate began in this file.
    pub fn paths_from_here(&self) -> Vec<Import> {
        let from_here = |(inline, import): (Vec<String>, Import)| {
            let own = ["crate", "quoit", "self", "super"].contains(&import.segments[0].as_str());
            let segments = if own {
                import.segments
            } else {
                ["self".to_owned()].into_iter().chain(import.segments).collect()
            };
            self.resolved(&inline, Import { segments, ..import })
        };
        self.paths().into_iter().filter_map(from_here).collect()
    }

    /// Paths of which the first segment may be a foreign crate.
    pub fn foreign(&self) -> Vec<Import> {
        let own = ["crate", "self", "super", "Self"];
        let paths = self.paths().into_iter().map(|(_, import)| import);
        paths.filter(|import| !own.contains(&import.segments[0].as_str())).collect()
    }

    /// Fields of this name that are reached through another value (`shared.flows.left`), by their lines.
    pub fn fields(&self, name: &str) -> Vec<usize> {
        let is_field =
            |three: &&[Token]| three[0].text == "." && three[1].text == name && three[2].text != "(";
        self.tokens.windows(3).filter(is_field).map(|three| three[1].line).collect()
    }

    /// The literals of the file with their lines, as they stand in it.
    pub fn literals(&self) -> impl Iterator<Item = (usize, &str)> {
        let literals = self.tokens.iter().filter(|token| !token.literal.is_empty());
        literals.map(|token| (token.line, token.literal.as_str()))
    }

    /// Whether one of these words stands anywhere in the file, except in strings and comments.
    pub fn names_any(&self, words: &[&str]) -> bool {
        self.tokens.iter().any(|token| words.contains(&token.text.as_str()))
    }

    /// Whether the first of the file's inner attributes are, or include, this one.
    pub fn begins_with_inner_attribute(&self, attribute: &str) -> bool {
        let wanted: Vec<String> = tokens(attribute).into_iter().map(|token| token.text).collect();
        let mut rest = &self.tokens[..];
        while let [hash, not, open, ..] = rest
            && (hash.text.as_str(), not.text.as_str(), open.text.as_str()) == ("#", "!", "[")
        {
            let end = rest.iter().position(|token| token.text == "]").unwrap_or(rest.len());
            if rest[3..end].iter().map(|token| &token.text).eq(&wanted) {
                return true;
            }
            rest = &rest[(end + 1).min(rest.len())..];
        }
        false
    }

    /// Resolves `crate`, `self`, `super` and this crate's own name; `None` for foreign and local paths.
    fn resolved(&self, inline: &[String], import: Import) -> Option<Import> {
        let Import { line, segments, public, .. } = import;
        let is_root_file = matches!(self.modules[0].as_str(), "lib" | "main");
        let mut here: Vec<String> = if is_root_file { Vec::new() } else { self.modules.clone() };
        here.extend_from_slice(inline);
        let mut rest = segments.iter();
        match segments[0].as_str() {
            "crate" | "quoit" => {
                here.clear();
                rest.next();
            }
            "self" | "super" => {}
            _ => return None,
        }
        for segment in rest {
            match segment.as_str() {
                "self" => {}
                "super" => drop(here.pop()),
                other => here.push(other.to_owned()),
            }
        }
        if here.is_empty() {
            here.push("*".to_owned());
        }
        Some(Import { line, segments: here, public, inline: !inline.is_empty() })
    }

    /// All paths of two segments or more, and all that are imported; each with the inline modules around it.
    fn paths(&self) -> Vec<(Vec<String>, Import)> {
        let mut paths = Vec::new();
        let mut depth = 0;
        let mut inline: Vec<(usize, String)> = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            let text = |at: usize| self.tokens.get(at).map_or("", |token| token.text.as_str());
            let around = || inline.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>();
            let after_path = at > 0 && text(at - 1) == "::" && at > 1 && is_word(text(at - 2));
            match text(at) {
                "use" => {
                    let mut found = Vec::new();
                    let public = at > 0 && ["pub", ")"].contains(&text(at - 1));
                    at = self.tree(at + 1, &[], &mut found);
                    paths.extend(found.into_iter().map(|import| (around(), Import { public, ..import })));
                    continue;
                }
                "crate" if at > 0 && text(at - 1) == "extern" => {
                    let segments = vec![text(at + 1).into()];
                    let import = Import { line: self.tokens[at].line, segments, ..Import::default() };
                    paths.push((around(), import));
                    at += 1;
                }
                "mod" if text(at + 2) == "{" => {
                    inline.push((depth, text(at + 1).to_owned()));
                    at += 1;
                }
                "{" => depth += 1,
                "}" => {
                    depth = depth.saturating_sub(1);
                    inline.retain(|(outer, _)| *outer < depth);
                }
                word if is_word(word) && text(at + 1) == "::" && !after_path && !is_field(text, at) => {
                    let line = self.tokens[at].line;
                    let mut segments = vec![word.to_owned()];
                    while text(at + 1) == "::" && is_word(text(at + 2)) {
                        segments.push(text(at + 2).to_owned());
                        at += 2;
                    }
                    paths.push((around(), Import { line, segments, ..Import::default() }));
                }
                _ => {}
            }
            at += 1;
        }
        paths
    }

    /// Reads one tree of `use` and returns where it ends.
    fn tree(&self, mut at: usize, prefix: &[String], found: &mut Vec<Import>) -> usize {
        let mut segments = prefix.to_vec();
        let line = self.tokens.get(at).map_or(0, |token| token.line);
        while let Some(token) = self.tokens.get(at) {
            match token.text.as_str() {
                "::" => at += 1,
                "{" => {
                    at += 1;
                    while self.tokens.get(at).is_some_and(|token| token.text != "}") {
                        at = self.tree(at, &segments, found);
                        at += usize::from(self.tokens.get(at).is_some_and(|token| token.text == ","));
                    }
                    return at + 1;
                }
                "as" => {
                    at += 2;
                    break;
                }
                word if word == "*" || is_word(word) => {
                    segments.push(word.to_owned());
                    at += 1;
                }
                _ => break,
            }
        }
        if !segments.is_empty() {
            found.push(Import { line, segments, ..Import::default() });
        }
        // The scanner does not read this token twice, whatever it is.
        let ends = self.tokens.get(at).is_none_or(|token| [",", "}", ";"].contains(&token.text.as_str()));
        if ends { at } else { at + 1 }
    }
}

fn is_word(text: &str) -> bool {
    text.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_')
}

/// Whether this word is a field or method: it follows a dot, and not two of them.
fn is_field<'a>(text: impl Fn(usize) -> &'a str, at: usize) -> bool {
    at > 0 && text(at - 1) == "." && !(at > 1 && text(at - 2) == ".")
}

fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let begin = at;
        let rest = &chars[at..];
        let token = match rest {
            ['/', '/', ..] => {
                at += rest.iter().position(|c| *c == '\n').unwrap_or(rest.len());
                None
            }
            ['/', '*', ..] => {
                at += comment(rest);
                None
            }
            [c, ..] if c.is_whitespace() => {
                at += 1;
                None
            }
            ['"', ..] => {
                at += string(rest);
                Some(String::from("\"\""))
            }
            ['\'', ..] => {
                at += character_or_lifetime(rest);
                Some(String::from("\"\""))
            }
            [':', ':', ..] => {
                at += 2;
                Some(String::from("::"))
            }
            [c, ..] if c.is_alphanumeric() || *c == '_' => Some(match raw_string(rest) {
                Some(length) => {
                    at += length;
                    String::from("\"\"")
                }
                None => {
                    let length = rest.iter().position(|c| !c.is_alphanumeric() && *c != '_');
                    let mut length = length.unwrap_or(rest.len());
                    let mut word: String = rest[..length].iter().collect();
                    if word == "r" && rest.get(1) == Some(&'#') {
                        // A raw identifier is read as the identifier.
                        word.clear();
                        length = 2;
                    }
                    at += length;
                    word
                }
            }),
            _ => {
                at += 1;
                Some(rest[0].to_string())
            }
        };
        tokens.extend(token.filter(|text| !text.is_empty()).map(|text| {
            let literal = if text == "\"\"" {
                chars[begin..at.min(chars.len())].iter().collect()
            } else {
                String::new()
            };
            Token { line, text, literal }
        }));
        line += chars[begin..at.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

/// The length of a block comment; they nest.
fn comment(rest: &[char]) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (at, depth) = (at + 2, depth + 1),
            ['*', '/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at.min(rest.len())
}

/// The length of a string with escapes.
fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// The length of `r"…"`, `br#"…"#` and the like, and of the prefix of `b"…"` with its string.
fn raw_string(rest: &[char]) -> Option<usize> {
    let prefix = rest.iter().take_while(|c| c.is_alphabetic()).count();
    let word: String = rest[..prefix].iter().collect();
    if ["b", "c"].contains(&word.as_str()) && rest.get(prefix) == Some(&'"') {
        return Some(prefix + string(&rest[prefix..]));
    }
    if !["r", "br", "cr"].contains(&word.as_str()) {
        return None;
    }
    let hashes = rest[prefix..].iter().take_while(|c| **c == '#').count();
    if rest.get(prefix + hashes) != Some(&'"') {
        return None;
    }
    let mut at = prefix + hashes + 1;
    while at < rest.len() {
        if rest[at] == '"' && rest[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes {
            return Some(at + 1 + hashes);
        }
        at += 1;
    }
    Some(rest.len())
}

/// The length of `'x'` or `'\n'`; of a lifetime only that of its quote.
fn character_or_lifetime(rest: &[char]) -> usize {
    match rest {
        ['\'', '\\', ..] => {
            let end = rest.iter().skip(3).position(|c| *c == '\'');
            end.map_or(rest.len(), |end| end + 4)
        }
        ['\'', _, '\'', ..] => 3,
        _ => 1,
    }
}

#[test]
fn trees_of_use_are_read() {
    let source =
        Source::new("chord/node.rs", "use crate::{id::{self, Position as P}, time::*};\nuse a::{b, c};");
    let imports: Vec<String> = source.imports().iter().map(|import| import.segments.join("::")).collect();
    assert_eq!(imports, ["id", "id::Position", "time::*"]);
    let foreign: Vec<_> = source.foreign().iter().map(|i| (i.line, i.segments.join("::"))).collect();
    assert_eq!(foreign, [(2, "a::b".to_owned()), (2, "a::c".to_owned())]);
}

#[test]
fn strings_and_comments_are_no_tokens() {
    let words = |text| tokens(text).into_iter().map(|token| token.text).collect::<Vec<_>>().join(" ");
    assert_eq!(words("a /* b /* c */ d */ e // f\ng"), "a e g");
    assert_eq!(
        words(r##"a "b \" c" r"d\" e r#"f " g"# b"h" 'i' '\'' 'j: k"##),
        "a \"\" \"\" e \"\" \"\" \"\" \"\" \"\" j : k"
    );
}
