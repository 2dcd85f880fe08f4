//! Client messages that the gate must understand, read in place.

use bytes::Bytes;

use super::Error;

/// A reader over one message body; every method fails on a short body.
struct Reader<'a> {
    tag: char,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(tag: u8, body: &'a [u8]) -> Reader<'a> {
        Reader {
            tag: char::from(tag),
            rest: body,
        }
    }

    fn malformed(&self) -> Error {
        Error::Malformed(self.tag)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let end = memchr::memchr(0, self.rest).ok_or_else(|| self.malformed())?;
        let text = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Ok(text)
    }

    fn text(&mut self) -> Result<&'a str, Error> {
        let tag = self.tag;
        std::str::from_utf8(self.bytes()?).map_err(|_| Error::Encoding(tag))
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Error> {
        if self.rest.len() < n {
            return Err(self.malformed());
        }
        let (head, tail) = self.rest.split_at(n);
        self.rest = tail;
        Ok(head)
    }

    fn u8(&mut self) -> Result<u8, Error> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16, Error> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn i32(&mut self) -> Result<i32, Error> {
        let bytes = self.take(4)?;
        Ok(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn end(&self) -> Result<(), Error> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.malformed())
        }
    }
}

/// Query: the text without its terminator, not yet known to be UTF-8.
pub fn query(body: &[u8]) -> Result<&[u8], Error> {
    let mut reader = Reader::new(b'Q', body);
    let text = reader.bytes()?;
    reader.end()?;
    Ok(text)
}

/// Parse.
#[derive(Debug, PartialEq, Eq)]
pub struct Parse<'a> {
    /// Statement name; empty for the unnamed one.
    pub name: &'a [u8],
    /// The text, not yet known to be UTF-8.
    pub text: &'a [u8],
    /// Parameter types as big-endian OIDs, four bytes each.
    pub types: &'a [u8],
}

impl Parse<'_> {
    /// Declared parameter types; 0 leaves the type to the server.
    pub fn type_oids(&self) -> impl Iterator<Item = u32> + '_ {
        self.types
            .chunks_exact(4)
            .map(|c| u32::from_be_bytes([c[0], c[1], c[2], c[3]]))
    }
}

/// Reads Parse.
pub fn parse(body: &[u8]) -> Result<Parse<'_>, Error> {
    let mut reader = Reader::new(b'P', body);
    let name = reader.bytes()?;
    let text = reader.bytes()?;
    let count = reader.u16()?;
    let types = reader.take(usize::from(count) * 4)?;
    reader.end()?;
    Ok(Parse { name, text, types })
}

/// The names at the front of Bind.
#[derive(Debug, PartialEq, Eq)]
pub struct Bind<'a> {
    /// Portal name; empty for the unnamed one.
    pub portal: &'a [u8],
    /// Statement name; empty for the unnamed one.
    pub statement: &'a [u8],
    /// Everything behind the names: formats, values, result formats.
    pub rest: &'a [u8],
}

/// Reads the names of Bind; the values are read only by [`Bind::values`].
pub fn bind(body: &[u8]) -> Result<Bind<'_>, Error> {
    let mut reader = Reader::new(b'B', body);
    let portal = reader.bytes()?;
    let statement = reader.bytes()?;
    Ok(Bind {
        portal,
        statement,
        rest: reader.rest,
    })
}

/// FunctionCall, its values copied out.
#[derive(Debug, PartialEq, Eq)]
pub struct FunctionCall {
    /// Number of the function.
    pub function: u32,
    /// Its arguments.
    pub values: Vec<Value>,
}

/// Reads a FunctionCall.
pub fn function_call(body: &[u8]) -> Result<FunctionCall, Error> {
    let (number, rest) = body.split_first_chunk::<4>().ok_or(Error::Malformed('F'))?;
    // Formats and arguments stand as in a Bind.
    let arguments = Bind {
        portal: b"",
        statement: b"",
        rest,
    };
    Ok(FunctionCall {
        function: u32::from_be_bytes(*number),
        values: arguments.values()?,
    })
}

/// One bind value as it stands in the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Binary format.
    pub binary: bool,
    /// Bytes; none for NULL.
    pub bytes: Option<Bytes>,
}

impl Bind<'_> {
    /// The values, copied out.
    pub fn values(&self) -> Result<Vec<Value>, Error> {
        let mut reader = Reader::new(b'B', self.rest);
        let formats = usize::from(reader.u16()?);
        let formats = reader.take(formats * 2)?;
        let count = usize::from(reader.u16()?);
        let mut values = Vec::with_capacity(count);
        for i in 0..count {
            let format = match formats.len() / 2 {
                0 => 0,
                1 => formats[1],
                n if i < n => formats[i * 2 + 1],
                _ => return Err(reader.malformed()),
            };
            let length = reader.i32()?;
            let bytes = if length < 0 {
                None
            } else {
                Some(Bytes::copy_from_slice(reader.take(length as usize)?))
            };
            values.push(Value {
                binary: format == 1,
                bytes,
            });
        }
        Ok(values)
    }
}

impl Bind<'_> {
    /// Number of values.
    pub fn count(&self) -> Result<usize, Error> {
        let mut reader = Reader::new(b'B', self.rest);
        let formats = usize::from(reader.u16()?);
        reader.take(formats * 2)?;
        Ok(usize::from(reader.u16()?))
    }

    /// Formats of the result columns, true for binary: none, one for all, or one each.
    pub fn result_formats(&self) -> Result<Vec<bool>, Error> {
        let mut reader = Reader::new(b'B', self.rest);
        let formats = usize::from(reader.u16()?);
        reader.take(formats * 2)?;
        for _ in 0..reader.u16()? {
            let length = reader.i32()?;
            reader.take(usize::try_from(length).unwrap_or(0))?;
        }
        let count = reader.u16()?;
        let formats: Result<Vec<bool>, Error> =
            (0..count).map(|_| Ok(reader.u16()? == 1)).collect();
        reader.end()?;
        formats
    }
}

/// Formats and values of a Bind, with all results as text: for a statement
/// whose columns are others than the client's.
pub fn without_result_formats(rest: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader::new(b'B', rest);
    let formats = usize::from(reader.u16().ok()?);
    reader.take(formats * 2).ok()?;
    for _ in 0..reader.u16().ok()? {
        let length = reader.i32().ok()?;
        reader.take(usize::try_from(length).unwrap_or(0)).ok()?;
    }
    let mut values = rest[..rest.len() - reader.rest.len()].to_vec();
    values.extend_from_slice(&[0, 0]);
    Some(values)
}

/// Describe and Close name a statement or a portal.
#[derive(Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// True for a portal, false for a statement.
    pub portal: bool,
    /// The name; empty for the unnamed one.
    pub name: &'a [u8],
}

/// Reads Describe or Close.
pub fn target(tag: u8, body: &[u8]) -> Result<Target<'_>, Error> {
    let mut reader = Reader::new(tag, body);
    let portal = match reader.u8()? {
        b'P' => true,
        b'S' => false,
        _ => return Err(reader.malformed()),
    };
    let name = reader.bytes()?;
    reader.end()?;
    Ok(Target { portal, name })
}

/// Execute.
#[derive(Debug, PartialEq, Eq)]
pub struct Execute<'a> {
    /// Portal name.
    pub portal: &'a [u8],
    /// Rows wanted; zero or less for all.
    pub rows_max: i32,
}

/// Reads Execute.
pub fn execute(body: &[u8]) -> Result<Execute<'_>, Error> {
    let mut reader = Reader::new(b'E', body);
    let portal = reader.bytes()?;
    let rows_max = reader.i32()?;
    reader.end()?;
    Ok(Execute { portal, rows_max })
}

/// Name and value of a ParameterStatus.
pub fn parameter_status(body: &[u8]) -> Result<(&str, &str), Error> {
    let mut reader = Reader::new(b'S', body);
    let name = reader.text()?;
    let value = reader.text()?;
    Ok((name, value))
}

/// Values of a DataRow in order; none for NULL.
pub fn data_row(body: &[u8]) -> Result<Vec<Option<&[u8]>>, Error> {
    let mut reader = Reader::new(b'D', body);
    let count = usize::from(reader.u16()?);
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        let length = reader.i32()?;
        values.push(if length < 0 {
            None
        } else {
            Some(reader.take(length as usize)?)
        });
    }
    reader.end()?;
    Ok(values)
}

/// Process id and secret of BackendKeyData; the secret is up to 256 bytes since protocol 3.2.
pub fn key_data(body: &[u8]) -> Result<(i32, &[u8]), Error> {
    let mut reader = Reader::new(b'K', body);
    let pid = reader.i32()?;
    if reader.rest.len() < 4 || reader.rest.len() > 256 {
        return Err(reader.malformed());
    }
    Ok((pid, reader.rest))
}

/// Rows of a command tag that ends in a number, as in `DELETE 3`.
pub fn tag_rows(body: &[u8]) -> Option<u64> {
    let tag = body.strip_suffix(b"\0").unwrap_or(body);
    let digits = tag.rsplit(|b| *b == b' ').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_bind_values_with_one_format_for_all() {
        let body = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x01a\xff\xff\xff\xff\0\0";
        let bind = bind(body).unwrap();
        assert_eq!((bind.portal, bind.statement), (&b"p"[..], &b"s"[..]));
        let values = bind.values().unwrap();
        assert_eq!(
            values[0],
            Value {
                binary: true,
                bytes: Some(Bytes::from_static(b"a"))
            }
        );
        assert_eq!(
            values[1],
            Value {
                binary: true,
                bytes: None
            }
        );
    }

    #[test]
    fn refuses_bodies_that_end_early_or_late() {
        assert!(parse(b"a\0select 1\0\0\x01\0\0").is_err());
        assert!(parse(b"a\0select 1\0\0\0x").is_err());
        assert!(query(b"select 1").is_err());
        assert!(query(b"select 1\0drop\0").is_err());
        assert!(execute(b"\0\0\0").is_err());
        assert!(target(b'C', b"Xname\0").is_err());
        assert!(bind(b"p\0").is_err());
        assert!(
            bind(b"\0\0\0\x01\0\x01\0\x01\0\0\xff\xff")
                .unwrap()
                .values()
                .is_err()
        );
    }

    #[test]
    fn reads_rows_from_command_tags() {
        for (tag, rows) in [
            (&b"DELETE 3\0"[..], Some(3)),
            (b"INSERT 0 17\0", Some(17)),
            (b"COPY 5\0", Some(5)),
            (b"BEGIN\0", None),
            (b"SELECT 1\0", Some(1)),
        ] {
            assert_eq!(tag_rows(tag), rows, "{tag:?}");
        }
    }
}
