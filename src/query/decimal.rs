//! Decimal numbers of any length, compared exactly.
//!
//! Identifiers in this industry have 15 to 22 digits; a double holds 15.

use std::cmp::Ordering;

/// A number as its significant digits. Two are equal exactly if their values are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decimal {
    negative: bool,
    /// Where the decimal point is, counted from before the first digit.
    point: i64,
    /// Without zeros at either end; empty for zero.
    digits: String,
}

impl Decimal {
    /// A number as JSON writes it; it may also begin with zeros.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (negative, size) = match text.strip_prefix('-') {
            Some(size) => (true, size),
            None => (false, text),
        };
        let (mantissa, exponent) = match size.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (size, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
            return None;
        }
        let all = format!("{whole}{fraction}");
        let short = all.trim_start_matches('0');
        let zeros = i64::try_from(all.len() - short.len()).ok()?;
        let digits = short.trim_end_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Self { negative: false, point: 0, digits });
        }
        let point = i64::try_from(whole.len()).ok()? - zeros + i64::from(exponent);
        Some(Self { negative, point, digits })
    }

    /// A double, as the shortest number that is read as it.
    pub(super) fn of(value: f64) -> Option<Self> {
        Self::parse(&format!("{value:e}"))
    }

    /// Compares sizes without the sign. Without zeros at their ends, digits compare as text.
    fn size(&self, other: &Self) -> Ordering {
        match (self.digits.is_empty(), other.digits.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => (self.point, &self.digits).cmp(&(other.point, &other.digits)),
        }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.size(other),
            (true, true) => other.size(self),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> Decimal {
        Decimal::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn numbers_of_any_length_are_told_apart() {
        let ascending = [
            "-1e400",
            "-89310800190734900002",
            "-1.5",
            "-1",
            "-0.0001",
            "0",
            "1e-400",
            "0.5",
            "1",
            "1.0000000000000000000001",
            "9007199254740992",
            "9007199254740993",
            "89310800190734900001",
            "89310800190734900002",
            "1e30",
            "1e400",
        ];
        for (n, left) in ascending.iter().enumerate() {
            for (m, right) in ascending.iter().enumerate() {
                assert_eq!(number(left).cmp(&number(right)), n.cmp(&m), "{left} {right}");
            }
        }
        for (left, right) in [
            ("0007", "7"),
            ("7.0", "7"),
            ("70e-1", "7"),
            ("0.7E+1", "7"),
            ("-0", "0.00"),
            ("1e2", "100"),
            ("0.10", "0.1"),
        ] {
            assert_eq!(number(left), number(right), "{left} {right}");
        }
        for text in
            ["", "-", ".5", "7.", "+7", "0x7", "inf", "nan", "1e", "1e99999999999", "7 ", "٣"]
        {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn doubles_keep_their_order(a in any::<i64>(), b in any::<i64>(), scale in 0_i32..9) {
            #[expect(clippy::cast_precision_loss, reason = "any doubles will do")]
            let (a, b) = (a as f64 / 10_f64.powi(scale), b as f64 / 10_f64.powi(scale));
            let (left, right) = (Decimal::of(a).unwrap(), Decimal::of(b).unwrap());
            prop_assert_eq!(Some(left.cmp(&right)), a.partial_cmp(&b));
        }
    }
}
