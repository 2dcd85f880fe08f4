//! numeric: digits in groups of four on the wire, a number or text in SQLite.

use bytes::{Buf, BufMut, BytesMut};

use super::value::float_text;
use crate::backend::rows::{Type, Value};

/// Text of a stored number, with the digits after the point that the column was declared with.
pub fn text(value: &Value, kind: Type) -> String {
    let scale = (kind.modifier > 4).then(|| ((kind.modifier - 4) & 0xffff) as usize);
    match (value, scale) {
        (Value::Integer(n), None | Some(0)) => n.to_string(),
        (Value::Integer(n), Some(scale)) => format!("{n}.{}", "0".repeat(scale)),
        (Value::Real(n), Some(scale)) if n.is_finite() => format!("{n:.scale$}"),
        (Value::Real(n), _) if n.is_finite() => format!("{n}"),
        (Value::Real(n), _) => float_text(*n),
        (Value::Text(text), _) => text.clone(),
        _ => String::new(),
    }
}

/// What is stored for a number: exact where SQLite can.
pub fn value(text: &str) -> Option<Value> {
    if let Ok(n) = text.parse::<i64>() {
        return Some(Value::Integer(n));
    }
    if !text
        .bytes()
        .all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b))
    {
        return None;
    }
    let n: f64 = text.parse().ok()?;
    n.is_finite().then_some(Value::Real(n))
}

/// Header of four numbers, then groups of four decimal digits (PostgreSQL numeric.c, numeric_send).
pub fn write_binary(out: &mut BytesMut, text: &str) -> Option<()> {
    let text = text.trim();
    let (negative, plain) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
    if whole.is_empty() && fraction.is_empty()
        || !whole
            .bytes()
            .chain(fraction.bytes())
            .all(|b| b.is_ascii_digit())
    {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let lead = (4 - whole.len() % 4) % 4;
    let tail = (4 - fraction.len() % 4) % 4;
    let digits = format!("{}{whole}{fraction}{}", "0".repeat(lead), "0".repeat(tail));
    let mut groups: Vec<i16> = digits
        .as_bytes()
        .chunks(4)
        .filter_map(|c| std::str::from_utf8(c).ok()?.parse().ok())
        .collect();
    let mut weight = ((whole.len() + lead) / 4) as i16 - 1;
    while groups.first() == Some(&0) {
        groups.remove(0);
        weight -= 1;
    }
    while groups.last() == Some(&0) {
        groups.pop();
    }
    out.put_i16(groups.len().try_into().ok()?);
    out.put_i16(if groups.is_empty() { 0 } else { weight });
    out.put_u16(if negative && !groups.is_empty() {
        0x4000
    } else {
        0
    });
    out.put_u16(fraction.len().try_into().ok()?);
    groups.iter().for_each(|group| out.put_i16(*group));
    Some(())
}

/// The decimal text of a binary numeric; none for NaN and infinities, which SQLite cannot keep.
pub fn read_binary(bytes: &[u8]) -> Option<String> {
    let mut rest = bytes;
    if rest.len() < 8 {
        return None;
    }
    let (count, weight) = (rest.get_u16(), rest.get_i16());
    let (sign, scale) = (rest.get_u16(), usize::from(rest.get_u16()));
    if rest.len() != usize::from(count) * 2
        || !matches!(sign, 0 | 0x4000)
        || scale > 16383
        || weight > 10_000
    {
        return None;
    }
    let groups: Vec<u16> = rest
        .chunks_exact(2)
        .map(|c| u16::from_be_bytes([c[0], c[1]]))
        .collect();
    let group = |index: i32| {
        usize::try_from(index)
            .ok()
            .and_then(|i| groups.get(i))
            .copied()
            .unwrap_or(0)
    };
    let weight = i32::from(weight);
    let whole: String = (0..=weight).map(|i| format!("{:04}", group(i))).collect();
    let places = scale.div_ceil(4) as i32;
    let fraction: String = (1..=places)
        .map(|i| format!("{:04}", group(weight + i)))
        .collect();
    let whole = whole.trim_start_matches('0');
    let mut text = String::from(if sign == 0x4000 { "-" } else { "" });
    text.push_str(if whole.is_empty() { "0" } else { whole });
    if scale > 0 {
        text.push('.');
        text.push_str(fraction.get(..scale)?);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_form_reads_back() {
        for text in [
            "0",
            "1",
            "-1",
            "10000",
            "0.0001",
            "-1234567.8901",
            "99999999999999999999.5",
            "0.10",
            "123.450",
        ] {
            let mut out = BytesMut::new();
            write_binary(&mut out, text).unwrap();
            assert_eq!(read_binary(&out).unwrap(), text);
        }
    }
}
