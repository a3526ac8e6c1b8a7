//! Requests and replies on the wire, RESP3.

use bytes::{Buf as _, BytesMut};

/// A reply to a command, or a push.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// `+OK`.
    Ok,
    /// A simple string.
    Simple(&'static str),
    /// An error: its code and its text.
    Error(String),
    /// A number.
    Int(i64),
    /// A bulk string.
    Bulk(Vec<u8>),
    /// A null.
    Nil,
    /// An array.
    Array(Vec<Reply>),
    /// A map.
    Map(Vec<(Reply, Reply)>),
    /// A push.
    Push(Vec<Reply>),
}

impl Reply {
    /// The reply to `HELLO`.
    pub(crate) fn hello(is_master: bool) -> Self {
        let role = if is_master { "master" } else { "replica" };
        let entries =
            [("server", "redis"), ("version", "7.2.0"), ("mode", "standalone"), ("role", role)];
        let entries = entries.map(|(key, value)| (Self::text(key), Self::text(value)));
        Self::Map(entries.into_iter().chain([(Self::text("proto"), Self::Int(3))]).collect())
    }

    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Bulk(text.into().into_bytes())
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let line = |out: &mut Vec<u8>, kind: char, text: &str| {
            out.extend(format!("{kind}{text}\r\n").into_bytes());
        };
        match self {
            Self::Ok => line(out, '+', "OK"),
            Self::Simple(text) => line(out, '+', text),
            Self::Error(text) => line(out, '-', text),
            Self::Int(number) => line(out, ':', &number.to_string()),
            Self::Nil => line(out, '_', ""),
            Self::Bulk(bytes) => {
                line(out, '$', &bytes.len().to_string());
                out.extend(bytes);
                out.extend(b"\r\n");
            }
            Self::Array(items) | Self::Push(items) => {
                let kind = if matches!(self, Self::Push(_)) { '>' } else { '*' };
                line(out, kind, &items.len().to_string());
                for item in items {
                    item.encode(out);
                }
            }
            Self::Map(items) => {
                line(out, '%', &items.len().to_string());
                for (key, value) in items {
                    key.encode(out);
                    value.encode(out);
                }
            }
        }
    }
}

/// Takes a complete command from `buffer`: its name and arguments. `None` if more bytes have to
/// arrive.
pub(crate) fn take_command(buffer: &mut BytesMut) -> Option<Vec<Vec<u8>>> {
    let mut rest = &buffer[..];
    let count = number(&mut rest, b'*')?;
    let mut arguments = Vec::with_capacity(count);
    for _ in 0..count {
        let length = number(&mut rest, b'$')?;
        let argument = rest.get(..length)?;
        rest = rest.get(length + 2..)?;
        arguments.push(argument.to_vec());
    }
    let used = buffer.len() - rest.len();
    buffer.advance(used);
    Some(arguments)
}

fn number(rest: &mut &[u8], kind: u8) -> Option<usize> {
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let line = &rest[..end];
    assert_eq!(line.first(), Some(&kind), "clients send arrays of bulk strings");
    *rest = &rest[end + 2..];
    std::str::from_utf8(&line[1..]).ok()?.parse().ok()
}
