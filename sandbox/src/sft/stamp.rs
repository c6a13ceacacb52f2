//! What SFT stamps its answers with: transaction id and time.

use std::time::{SystemTime, UNIX_EPOCH};

use rand::Rng as _;

/// 17 to 20 digits (documented by examples). Some exceed an i64, all fit a u64.
pub(super) fn response_id() -> String {
    let mut random = rand::rng();
    let digits = random.random_range(17..=20);
    match digits {
        20 => random.random_range(10_000_000_000_000_000_000..=u64::MAX),
        _ => random.random_range(10_u64.pow(digits - 1)..10_u64.pow(digits)),
    }
    .to_string()
}

/// `dd/mm/yyyy HH:MM:SS` (documented; the examples show 24 hours). The zone is not documented; here
/// it is UTC.
pub(super) fn timestamp(now: SystemTime) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (day, month, year) = date(seconds / 86_400);
    let of_day = seconds % 86_400;
    format!(
        "{day:02}/{month:02}/{year:04} {:02}:{:02}:{:02}",
        of_day / 3_600,
        of_day / 60 % 60,
        of_day % 60
    )
}

/// The Gregorian date of a day counted from 1 January 1970. Years are counted from March, so that
/// the leap day comes last.
fn date(days_since_1970: u64) -> (u64, u64, u64) {
    // From 1 March of the year 0.
    let days = days_since_1970 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (day, month, year)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn timestamps_are_day_first_and_24_hours() {
        for (unix, expected) in [
            (0, "01/01/1970 00:00:00"),
            (1_588_139_306, "29/04/2020 05:48:26"),
            (1_615_229_248, "08/03/2021 18:47:28"),
            (1_709_208_000, "29/02/2024 12:00:00"),
            (951_868_799, "29/02/2000 23:59:59"),
            (4_107_542_400, "01/03/2100 00:00:00"),
            (1_798_761_599, "31/12/2026 23:59:59"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(unix)), expected);
        }
    }

    #[test]
    fn response_ids_have_17_to_20_digits_and_fit_a_u64() {
        for _ in 0..2_000 {
            let id = response_id();
            assert!((17..=20).contains(&id.len()), "{id}");
            assert!(id.parse::<u64>().is_ok(), "{id}");
        }
    }
}
