//! The grammar of AIP-160, with the position of everything that can be wrong.
//!
//! Knows nothing of fields and types. It has a parser of its own because the syntax trees of the
//! published ones (`aip-160` 0.2 among them) keep no positions, so that an error about a field
//! could not say where the field is, and resolve `\*` before a caller can tell it from a wildcard.

use crate::{
    query::{
        fault::{Fault, Read},
        filter::{operator::Operator, pattern::Pattern},
    },
    text,
};

/// How deep parentheses may be nested.
pub(super) const MAX_DEPTH: usize = 32;
/// How many terms there may be.
pub(super) const MAX_TERMS: usize = 128;

const KEYWORDS: [&str; 3] = ["AND", "OR", "NOT"];

/// Signs of other languages. Read as text, they would leave out nearly all profiles without a word.
const FOREIGN: [(&str, &str); 2] = [
    ("||", "write OR between two terms, or quote a text that contains ||"),
    ("&&", "write AND between two terms, or quote a text that contains &&"),
];
const NO_MATCHES: &str = "~ is not an operator: use = with * as a wildcard, as in \
                          `display_name = \"a*\"`, or quote a text that begins with ~";

/// A parsed filter.
#[derive(Debug)]
pub(super) enum Expression {
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Not(Box<Expression>),
    Restriction(Restriction),
    /// A search for text, without a field.
    Search(Literal),
}

/// A field compared with a value.
#[derive(Debug)]
pub(super) struct Restriction {
    pub field_at: usize,
    pub path: Vec<String>,
    pub operator_at: usize,
    pub operator: Operator,
    pub value: Literal,
}

/// A value as the filter has it.
#[derive(Debug)]
pub(super) struct Literal {
    pub at: usize,
    pub quoted: bool,
    pub pattern: Pattern,
}

/// Longer ones first, so that `<=` is not read as `<`.
const OPERATORS: [(&str, Operator); 7] = [
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
    (":", Operator::Has),
];

/// Parses a filter. An empty one matches every profile.
pub(super) fn parse(text: &str) -> Read<Expression> {
    let mut parser = Parser { text, at: 0, depth: 0, terms: 0 };
    parser.space();
    if parser.peek().is_none() {
        return Ok(Expression::All(Vec::new()));
    }
    let expression = parser.expression()?;
    match parser.peek() {
        None => Ok(expression),
        Some(_) => Err(parser.fault("unmatched )")),
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
    terms: usize,
}

impl<'t> Parser<'t> {
    /// `sequence {AND sequence}`; a sequence is factors side by side, which also means AND.
    fn expression(&mut self) -> Read<Expression> {
        let mut all = vec![self.factor()?];
        loop {
            let spaced = self.space();
            match self.peek() {
                None | Some(')') => return Ok(one_or(all, Expression::All)),
                // Without a space it is more likely a typo than two terms.
                Some(next) if !spaced && next != '(' && !self.before().ends_with(')') => {
                    return Err(self.fault(format!(
                        "unexpected {}: quote a value that contains this character, and put a \
                         space between terms",
                        text::quoted(&next.to_string())
                    )));
                }
                Some(_) => {}
            }
            self.keyword("AND");
            all.push(self.factor()?);
        }
    }

    /// `term {OR term}`: OR binds tighter than AND.
    fn factor(&mut self) -> Read<Expression> {
        let mut any = vec![self.term()?];
        loop {
            let end = self.at;
            self.space();
            if !self.keyword("OR") {
                self.at = end;
                return Ok(one_or(any, Expression::Any));
            }
            any.push(self.term()?);
        }
    }

    /// `[NOT | -] simple`
    fn term(&mut self) -> Read<Expression> {
        self.space();
        let negated = self.keyword("NOT") || self.take("-");
        if negated {
            self.space();
        }
        let simple = if self.peek() == Some('(') { self.composite()? } else { self.simple()? };
        Ok(if negated { Expression::Not(Box::new(simple)) } else { simple })
    }

    fn composite(&mut self) -> Read<Expression> {
        let opening = self.at;
        if self.depth == MAX_DEPTH {
            return Err(self.fault(format!("nested deeper than {MAX_DEPTH} parentheses")));
        }
        self.take("(");
        self.depth += 1;
        let inner = self.expression()?;
        self.depth -= 1;
        if self.take(")") { Ok(inner) } else { Err(Fault::new(opening, "unmatched (")) }
    }

    /// A restriction, or a text to search for.
    fn simple(&mut self) -> Read<Expression> {
        if self.terms == MAX_TERMS {
            return Err(self.fault(format!("more than {MAX_TERMS} terms")));
        }
        self.terms += 1;
        let field_at = self.at;
        if self.quote().is_some() {
            let value = self.quoted()?;
            let end = self.at;
            self.space();
            if self.peek() == Some('.') || self.operator().is_some() {
                return Err(Fault::new(field_at, "a field must not be quoted"));
            }
            self.at = end;
            return Ok(Expression::Search(value));
        }
        let path = self.path()?;
        let end = self.at;
        self.space();
        let operator_at = self.at;
        let Some(operator) = self.operator() else {
            self.at = end;
            let written = self.text.get(field_at..end).unwrap_or_default();
            // Read as a text, it would leave out nearly all profiles without a word.
            if let Some(keyword) = KEYWORDS.iter().find(|word| word.eq_ignore_ascii_case(written)) {
                let message = format!(
                    "write {keyword} in upper case, or \"{written}\" in quotes to search for the \
                     word"
                );
                return Err(Fault::new(field_at, message));
            }
            return Ok(Expression::Search(bare(field_at, written)));
        };
        self.space();
        let value = self.value()?;
        Ok(Expression::Restriction(Restriction { field_at, path, operator_at, operator, value }))
    }

    /// `segment {. segment}`; segments after the first may be quoted, for members of a Struct.
    fn path(&mut self) -> Read<Vec<String>> {
        let mut path = vec![self.word(|c| c == '.' || c == ':', "a field or a text")?.to_owned()];
        while self.take(".") {
            if self.quote().is_none() {
                let segment = self.while_text(|c| c == '.' || c == ':');
                path.push(segment.to_owned());
            } else {
                let at = self.at;
                let segment = self.quoted()?;
                let plain = segment.pattern.plain();
                path.push(plain.ok_or_else(|| Fault::new(at, WILD_NAME))?.to_owned());
            }
            if path.last().is_some_and(String::is_empty) {
                return Err(self.fault("expected a name after the dot"));
            }
        }
        self.no_call()?;
        Ok(path)
    }

    fn value(&mut self) -> Read<Literal> {
        let at = self.at;
        match self.peek() {
            Some('(') => Err(self.fault(
                "values in parentheses are not supported; repeat the field, as in \
                 `state = ACTIVE OR state = INACTIVE`",
            )),
            Some('"' | '\'') => self.quoted(),
            _ => {
                let written = self.word(|_| false, "a value")?;
                self.no_call()?;
                Ok(bare(at, written))
            }
        }
    }

    /// Text without quotes that is neither empty nor a keyword.
    fn word(&mut self, also_ends: impl Fn(char) -> bool, expected: &str) -> Read<&'t str> {
        let at = self.at;
        let word = self.while_text(also_ends);
        if word.is_empty() {
            let found = match self.peek() {
                Some(c) => text::quoted(&c.to_string()),
                None => "the end".to_owned(),
            };
            return Err(self.fault(format!("expected {expected}, found {found}")));
        }
        if KEYWORDS.contains(&word) {
            let message =
                format!("expected {expected}, found {word}; quote it if you mean the word");
            return Err(Fault::new(at, message));
        }
        match FOREIGN.iter().find_map(|(sign, says)| Some((word.find(sign)?, says))) {
            Some((offset, says)) => Err(Fault::new(at + offset, *says)),
            None if word.starts_with('~') => Err(Fault::new(at, NO_MATCHES)),
            None => Ok(word),
        }
    }

    fn while_text(&mut self, also_ends: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|c: char| ends_text(c) || also_ends(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    /// A quoted string, in which `\` escapes a quote, `*`, and itself.
    fn quoted(&mut self) -> Read<Literal> {
        let at = self.at;
        let quote = self.quote();
        let (mut pieces, mut piece) = (Vec::new(), String::new());
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((offset, c)) = chars.next() {
            match c {
                c if Some(c) == quote => {
                    self.at += offset + c.len_utf8();
                    pieces.push(piece);
                    return Ok(Literal { at, quoted: true, pattern: Pattern::new(pieces) });
                }
                '*' => pieces.push(std::mem::take(&mut piece)),
                '\\' => match chars.next() {
                    Some((_, c @ ('\\' | '*' | '"' | '\''))) => piece.push(c),
                    _ => {
                        let message = r#"\ must be followed by one of \ * " '"#;
                        return Err(Fault::new(at + offset, message));
                    }
                },
                c => piece.push(c),
            }
        }
        Err(Fault::new(at, "unmatched quote"))
    }

    fn no_call(&self) -> Read<()> {
        match self.peek() {
            Some('(') => Err(self.fault("functions are not supported")),
            _ => Ok(()),
        }
    }

    fn operator(&mut self) -> Option<Operator> {
        OPERATORS.iter().find(|(written, _)| self.take(written)).map(|(_, operator)| *operator)
    }

    /// Takes a keyword that is a whole word: `ANDROID` is not one.
    fn keyword(&mut self, keyword: &str) -> bool {
        let after = self.rest().strip_prefix(keyword).map(|after| after.chars().next());
        let alone = match after {
            Some(next) => next.is_none_or(|c| c.is_whitespace() || c == '(' || c == ')'),
            None => false,
        };
        alone && self.take(keyword)
    }

    fn take(&mut self, expected: &str) -> bool {
        let found = self.rest().starts_with(expected);
        if found {
            self.at += expected.len();
        }
        found
    }

    fn space(&mut self) -> bool {
        let rest = self.rest();
        let skipped = rest.len() - rest.trim_start().len();
        self.at += skipped;
        skipped > 0
    }

    fn quote(&self) -> Option<char> {
        self.peek().filter(|c| matches!(c, '"' | '\''))
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn before(&self) -> &'t str {
        self.text.get(..self.at).unwrap_or_default()
    }

    fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(self.at, message)
    }
}

const WILD_NAME: &str = r"a name cannot have wildcards; write \* for the character";

fn ends_text(c: char) -> bool {
    c.is_whitespace() || matches!(c, '(' | ')' | ',' | '"' | '\'' | '=' | '<' | '>' | '!')
}

fn bare(at: usize, written: &str) -> Literal {
    let pieces = written.split('*').map(str::to_owned).collect();
    Literal { at, quoted: false, pattern: Pattern::new(pieces) }
}

fn one_or(mut parts: Vec<Expression>, many: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            many(parts)
        }
    }
}
