//! Reads one Rust file as the house rules need it: code without comments and strings, tokens with their lines, which
//! lines are tests, and every path that the code names, written out from the crate's root.
//!
//! It is a lexer, not a parser: enough to follow `use` trees, inline modules and braces, and small enough to trust.

use std::collections::BTreeSet;

/// One word or sign of code, with its line (counted from 0).
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

/// A path that the code names, written out: `["store", "tables", "Table"]` for `crate::store::tables::Table`.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    pub path: Vec<String>,
    pub line: usize,
}

/// A function with a body: its name, first line and number of lines.
pub struct Function {
    pub name: String,
    pub line: usize,
    pub lines: usize,
}

pub struct Source {
    /// Path from the project's root, with `/`.
    pub path: String,
    pub raw: Vec<String>,
    /// The same lines with comments and the insides of strings blanked.
    pub code: Vec<String>,
    /// Lines that hold a comment.
    pub comment: Vec<bool>,
    /// Lines inside `#[cfg(test)]` items.
    pub test: Vec<bool>,
    pub tokens: Vec<Token>,
    /// Modules declared as `#[cfg(test)] mod x;`: their files are tests as a whole.
    pub test_modules: BTreeSet<String>,
}

impl Source {
    pub fn read(path: String, text: &str) -> Source {
        let (code, comment) = blank(text);
        let raw: Vec<String> = text.lines().map(str::to_owned).collect();
        let code: Vec<String> = code.lines().map(str::to_owned).collect();
        let tokens = tokens(&code);
        let mut test = vec![false; raw.len()];
        let mut test_modules = BTreeSet::new();
        mark_tests(&tokens, &mut test, &mut test_modules);
        Source { path, raw, code, comment, test, tokens, test_modules }
    }

    /// The module path of a file under `src`: `src/store/tables.rs` → `["store", "tables"]`.
    pub fn module(&self) -> Vec<String> {
        let inner = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let mut parts: Vec<String> = inner.split('/').map(str::to_owned).collect();
        if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            parts.pop();
        }
        parts
    }

    /// Every path that starts at `crate`, `spine`, `super` or `self`, in `use` trees and in plain code; and every
    /// other `a::b` path as it stands (`std::fs::File`).
    pub fn named(&self) -> Vec<Named> {
        let mut walk = Walk { tokens: &self.tokens, at: 0, module: self.module(), found: vec![] };
        walk.run();
        walk.found
    }

    pub fn functions(&self) -> Vec<Function> {
        let t = &self.tokens;
        let mut found = vec![];
        for i in 0..t.len().saturating_sub(1) {
            if t[i].text != "fn" || !is_word(&t[i + 1].text) {
                continue;
            }
            if let Some(open) = body(t, i) {
                let close = matching(t, open);
                found.push(Function {
                    name: t[i + 1].text.clone(),
                    line: t[i].line,
                    lines: t[close].line - t[i].line + 1,
                });
            }
        }
        found
    }
}

/// Follows `use` trees and paths, keeping count of inline modules so that `super` means the right one.
struct Walk<'a> {
    tokens: &'a [Token],
    at: usize,
    module: Vec<String>,
    found: Vec<Named>,
}

impl Walk<'_> {
    fn text(&self, ahead: usize) -> &str {
        self.tokens.get(self.at + ahead).map_or("", |t| &t.text)
    }

    fn run(&mut self) {
        let mut depth = 0usize;
        let mut inline: Vec<usize> = vec![];
        while self.at < self.tokens.len() {
            match self.text(0) {
                "mod" if is_word(self.text(1)) && self.text(2) == "{" => {
                    self.module.push(self.text(1).to_owned());
                    inline.push(depth);
                    depth += 1;
                    self.at += 3;
                }
                "{" => {
                    depth += 1;
                    self.at += 1;
                }
                "}" => {
                    depth = depth.saturating_sub(1);
                    if inline.last() == Some(&depth) {
                        inline.pop();
                        self.module.pop();
                    }
                    self.at += 1;
                }
                "use" => {
                    self.at += 1;
                    self.tree(vec![]);
                }
                word if is_word(word) && self.text(1) == "::" => self.plain(),
                _ => self.at += 1,
            }
        }
    }

    fn tree(&mut self, prefix: Vec<String>) {
        let mut path = prefix;
        loop {
            let line = self.tokens.get(self.at).map_or(0, |t| t.line);
            match self.text(0).to_owned().as_str() {
                "::" => self.at += 1,
                "{" => {
                    self.at += 1;
                    while !matches!(self.text(0), "}" | "") {
                        self.tree(path.clone());
                        if self.text(0) == "," {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                word if is_word(word) || word == "*" => {
                    path.push(word.to_owned());
                    self.at += 1;
                    if self.text(0) != "::" {
                        self.note(path, line);
                        // An alias names nothing new.
                        if self.text(0) == "as" {
                            self.at += 2;
                        }
                        return;
                    }
                }
                _ => {
                    self.at += 1;
                    return;
                }
            }
        }
    }

    fn plain(&mut self) {
        let line = self.tokens[self.at].line;
        let mut path = vec![self.text(0).to_owned()];
        self.at += 1;
        while self.text(0) == "::" && is_word(self.text(1)) {
            path.push(self.text(1).to_owned());
            self.at += 2;
        }
        if path.len() > 1 {
            self.note(path, line);
        }
    }

    fn note(&mut self, path: Vec<String>, line: usize) {
        let mut rest = path.as_slice();
        let mut from: Option<Vec<String>> = None;
        while let Some(first) = rest.first() {
            match first.as_str() {
                "crate" | "spine" => from = Some(vec![]),
                "self" if from.is_none() => from = Some(self.module.clone()),
                "super" => {
                    let mut up = from.unwrap_or_else(|| self.module.clone());
                    up.pop();
                    from = Some(up);
                }
                _ => break,
            }
            rest = &rest[1..];
        }
        // What starts elsewhere keeps a mark in front, so that `std::log` is never taken for our room `log`.
        let mut whole = from.unwrap_or_else(|| vec!["::".to_owned()]);
        whole.extend(rest.iter().cloned());
        self.found.push(Named { path: whole, line });
    }
}

/// Index of the body's `{` of the function at `i`, or nothing for one without a body.
fn body(t: &[Token], i: usize) -> Option<usize> {
    let mut round = 0i32;
    for (j, token) in t.iter().enumerate().skip(i) {
        match token.text.as_str() {
            "(" | "[" => round += 1,
            ")" | "]" => round -= 1,
            "{" if round == 0 => return Some(j),
            ";" if round == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Index of the `}` that closes the `{` at `open`.
fn matching(t: &[Token], open: usize) -> usize {
    let mut depth = 0i32;
    for (j, token) in t.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                if depth == 0 {
                    return j;
                }
            }
            _ => {}
        }
    }
    t.len() - 1
}

fn mark_tests(t: &[Token], test: &mut [bool], modules: &mut BTreeSet<String>) {
    let mut i = 0;
    while i + 4 < t.len() {
        let attribute = t[i].text == "#" && t[i + 1].text == "[" && t[i + 2].text == "cfg";
        if !attribute {
            i += 1;
            continue;
        }
        let mut end = i + 3;
        while end < t.len() && t[end].text != "]" {
            end += 1;
        }
        let inside: Vec<&str> = t[i + 3..end].iter().map(|x| x.text.as_str()).collect();
        let about_tests = inside.contains(&"test") && !inside.contains(&"not");
        i = end + 1;
        if !about_tests {
            continue;
        }
        // Over further attributes and visibility to the item.
        let mut j = i;
        while j < t.len() && !matches!(t[j].text.as_str(), "{" | ";") {
            j += 1;
        }
        if j == t.len() {
            return;
        }
        let module = t[i..j].windows(2).find(|w| w[0].text == "mod").map(|w| w[1].text.clone());
        if t[j].text == "{" {
            let close = matching(t, j);
            for line in &mut test[t[i].line.saturating_sub(1)..=t[close].line] {
                *line = true;
            }
            i = close + 1;
        } else if let Some(module) = module {
            modules.insert(module);
        }
    }
}

pub fn is_word(text: &str) -> bool {
    text.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_')
}

fn tokens(code: &[String]) -> Vec<Token> {
    let mut found = vec![];
    for (line, text) in code.iter().enumerate() {
        let chars: Vec<char> = text.chars().collect();
        let mut i = 0;
        while i < chars.len() {
            let start = i;
            let c = chars[i];
            if c.is_alphanumeric() || c == '_' {
                while i < chars.len() && (chars[i].is_alphanumeric() || chars[i] == '_') {
                    i += 1;
                }
            } else if c == ':' && chars.get(i + 1) == Some(&':') {
                i += 2;
            } else {
                i += 1;
                if c.is_whitespace() {
                    continue;
                }
            }
            found.push(Token { text: chars[start..i].iter().collect(), line });
        }
    }
    found
}

/// Blanks comments and the insides of strings and characters; also says which lines hold a comment.
fn blank(text: &str) -> (String, Vec<bool>) {
    let c: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut comment = vec![false; text.lines().count() + 1];
    let mut line = 0;
    let mut i = 0;
    let push = |out: &mut String, ch: char, keep: bool, line: &mut usize| {
        if ch == '\n' {
            *line += 1;
            out.push('\n');
        } else {
            out.push(if keep { ch } else { ' ' });
        }
    };
    while i < c.len() {
        let next = c.get(i + 1).copied().unwrap_or('\0');
        let end = match c[i] {
            '/' if next == '/' => line_comment(&c, i),
            '/' if next == '*' => block_comment(&c, i),
            '"' => string(&c, i),
            'r' if (next == '"' || next == '#') && !(i > 0 && (c[i - 1].is_alphanumeric() || c[i - 1] == '_')) => {
                raw_string(&c, i)
            }
            '\'' => character(&c, i),
            _ => i,
        };
        let is_comment = end > i && c[i] == '/';
        if end == i {
            push(&mut out, c[i], true, &mut line);
            i += 1;
            continue;
        }
        for (k, ch) in c.iter().enumerate().take(end).skip(i) {
            comment[line] |= is_comment;
            // The quotes stay, so that a string is still seen as one.
            push(&mut out, *ch, !is_comment && (k == i || k + 1 == end), &mut line);
        }
        i = end;
    }
    comment.truncate(text.lines().count());
    (out, comment)
}

fn line_comment(c: &[char], i: usize) -> usize {
    (i..c.len()).find(|k| c[*k] == '\n').unwrap_or(c.len())
}

fn block_comment(c: &[char], mut i: usize) -> usize {
    let mut depth = 0;
    while i < c.len() {
        if c[i] == '/' && c.get(i + 1) == Some(&'*') {
            depth += 1;
            i += 2;
        } else if c[i] == '*' && c.get(i + 1) == Some(&'/') {
            depth -= 1;
            i += 2;
            if depth == 0 {
                return i;
            }
        } else {
            i += 1;
        }
    }
    c.len()
}

fn string(c: &[char], mut i: usize) -> usize {
    i += 1;
    while i < c.len() {
        match c[i] {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    c.len()
}

fn raw_string(c: &[char], i: usize) -> usize {
    let hashes = c[i + 1..].iter().take_while(|x| **x == '#').count();
    if c.get(i + 1 + hashes) != Some(&'"') {
        return i;
    }
    let mut k = i + 2 + hashes;
    while k < c.len() {
        if c[k] == '"' && c[k + 1..].iter().take(hashes).filter(|x| **x == '#').count() == hashes {
            return k + 1 + hashes;
        }
        k += 1;
    }
    c.len()
}

/// End of a character literal, or `i` for a lifetime.
fn character(c: &[char], i: usize) -> usize {
    if c.get(i + 1) == Some(&'\\') {
        return (i + 3..c.len()).find(|k| c[*k] == '\'').map_or(c.len(), |k| k + 1);
    }
    if c.get(i + 2) == Some(&'\'') { i + 3 } else { i }
}
