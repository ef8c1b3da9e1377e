//! `application/x-www-form-urlencoded`, for queries and form bodies.

/// A text that is not of this form: a broken escape, or not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Reads names and values in their order.
///
/// # Errors
/// [`Malformed`].
pub fn pairs(text: &[u8]) -> Result<Vec<(String, String)>, Malformed> {
    text.split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &[][..]),
            };
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

/// Writes a name or a value so that [`pairs`] reads it back.
pub fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

fn decode(text: &[u8]) -> Result<String, Malformed> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(*digit).to_digit(16)).ok_or(Malformed);
                (digit()? << 4 | digit()?) as u8
            }
            other => *other,
        });
    }
    String::from_utf8(bytes).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["", "+255 694&=%é\0/", "a.b-c_d~e"] {
            assert_eq!(pairs(format!("x={}", encode(text)).as_bytes()), Ok(vec![("x".to_owned(), text.to_owned())]));
        }
    }

    #[test]
    fn forms_are_read() {
        let read = |text: &str| pairs(text.as_bytes());
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            read("phone=%2B255+694&otp=1=2&x"),
            Ok(vec![pair("phone", "+255 694"), pair("otp", "1=2"), pair("x", "")])
        );
        assert_eq!(read(""), Ok(vec![]));
        assert_eq!(read("a=%C3%A9&&b=%00"), Ok(vec![pair("a", "é"), pair("b", "\0")]));
        for broken in ["a=%", "a=%1", "a=%zz", "a=%ff", "%f=1", "a=%+1"] {
            assert_eq!(read(broken), Err(Malformed), "{broken}");
        }
    }
}
