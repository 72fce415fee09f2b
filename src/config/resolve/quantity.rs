//! How long, how much, how often: texts with a unit.

use std::time::Duration;

use crate::config::raw::{DurationText, RateText, SizeText};
use crate::config::report::{At, Report};
use crate::route::Rate;

/// The longest that anything may be told to wait or last.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// A duration above zero, or `default` where the key is absent.
pub fn duration(text: Option<DurationText>, default: Duration, at: &At<'_>, report: &mut Report) -> Duration {
    let Some(DurationText(text)) = text else { return default };
    match humantime::parse_duration(text.trim()) {
        Ok(duration) if duration.is_zero() => {
            report.mend(at, "zero is no limit that anything could meet", "write more than zero, or remove the key for the default")
        }
        Ok(duration) if duration > LONGEST => report.mend(at, format!("`{text}` is longer than a year"), "write less"),
        Ok(duration) => return duration,
        Err(_) if text.trim().parse::<f64>().is_ok() => {
            report.mend(at, format!("`{text}` has no unit"), format!("write `{text}s` for seconds, or `ms`, `m`, `h`, `d`"));
        }
        Err(_) => report.mend(at, format!("`{text}` is not a duration"), "write it as `30s`, `10m` or `1h 30m`"),
    }
    default
}

/// Bytes above zero.
pub fn size(text: Option<SizeText>, default: usize, at: &At<'_>, report: &mut Report) -> usize {
    let Some(SizeText(text)) = text else { return default };
    match parse_size(text.trim()) {
        Some(0) => report.mend(at, "zero is no limit that anything could meet", "write more than zero, or remove the key for the default"),
        Some(size) => return size,
        None => report.mend(at, format!("`{text}` is not a size"), "write it as `4MiB`, `16KiB` or a number of bytes"),
    }
    default
}

fn parse_size(text: &str) -> Option<usize> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: usize = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(unit)
}

/// How many in a second, minute or hour.
pub fn rate(text: Option<RateText>, at: &At<'_>, report: &mut Report) -> Option<Rate> {
    let RateText(text) = text?;
    let rate = parse_rate(text.trim());
    match rate {
        Some(Rate { count: 0, .. }) => report.mend(at, "zero is no limit that anything could meet", "to refuse everyone, remove the rules"),
        Some(_) => {}
        None => report.mend(at, format!("`{text}` is not a rate"), "write it as `50/s`, `10/m` or `100/h`"),
    }
    rate
}

fn parse_rate(text: &str) -> Option<Rate> {
    let (count, unit) = text.split_once('/')?;
    let seconds = match unit.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    Some(Rate { count: count.trim().parse().ok()?, per: Duration::from_secs(seconds) })
}

/// A count above zero.
pub fn count(number: Option<usize>, default: usize, at: &At<'_>, report: &mut Report) -> usize {
    if number == Some(0) {
        report.mend(at, "zero is no limit that anything could meet", "write more than zero, or remove the key for the default");
    }
    number.unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_rates_have_units() {
        assert_eq!(parse_size("4MiB"), Some(4 << 20));
        assert_eq!(parse_size("16 KiB"), Some(16 << 10));
        assert_eq!(parse_size("100"), Some(100));
        for wrong in ["", "MiB", "4mib", "-1", "4MiB!", "99999999999999999999", "99999999999GiB"] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
        assert_eq!(parse_rate("10/m"), Some(Rate { count: 10, per: Duration::from_secs(60) }));
        for wrong in ["10", "/s", "x/s", "10/d", "-1/s", "1/2/s"] {
            assert_eq!(parse_rate(wrong), None, "{wrong}");
        }
    }
}
