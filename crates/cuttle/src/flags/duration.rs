//! Durations in the form of Go's `time.ParseDuration`: `60s`, `1m30s`, `1.5h`, `-2ms`, `0`.

/// Reads a duration in nanoseconds.
///
/// # Errors
/// The rule it breaks, for a message.
pub fn parse_duration(text: &str) -> Result<i64, &'static str> {
    const RULE: &str = "must be a duration such as 30s, 1m30s or 500ms";
    let (negative, mut rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(RULE);
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(RULE);
        }
        let (unit, after) = unit(after).ok_or(RULE)?;
        let part = scaled(whole, fraction, unit).ok_or("is longer than a duration can be")?;
        total = total
            .checked_add(part)
            .ok_or("is longer than a duration can be")?;
        rest = after;
    }
    Ok(if negative { -total } else { total })
}

fn digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// The unit at the start of the text, in nanoseconds. Longer names come first: "ms" before "m".
fn unit(text: &str) -> Option<(i64, &str)> {
    [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("μs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ]
    .into_iter()
    .find_map(|(name, nanos)| Some((nanos, text.strip_prefix(name)?)))
}

fn scaled(whole: &str, fraction: &str, unit: i64) -> Option<i64> {
    let whole: i64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut total = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.chars() {
        place /= 10;
        total = total.checked_add(i64::from(digit.to_digit(10)?).checked_mul(place)?)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_go() {
        for (text, nanos) in [
            ("0", 0),
            ("60s", 60_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("500ms", 500_000_000),
            ("1us", 1_000),
            ("1µs", 1_000),
            ("-2ms", -2_000_000),
            (".5s", 500_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(nanos), "{text}");
        }
        for text in [
            "",
            "1",
            "s",
            "1x",
            "-",
            "1.s.",
            "9999999999h",
            "99999999999999999999s",
            "ä",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
